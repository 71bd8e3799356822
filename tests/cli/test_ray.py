"""Option --ray: runs are tasks of a Ray cluster, and a node that dies costs only time."""

import json
import os
import sys
import time

import pytest

from autoprune.errors import OptionError, TrialError
from autoprune.training.ray_workers import RayWorkerPool

STUDY = "tiny-own-keep2"
OPTIONS = ("search", "--model", "demo", "--task", "demo", "--keep", 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gpus-per-worker", 1), "add --ray auto"),
        (("--ray", "auto"), "--ray needs --workers"),
        (("--ray", "auto", "--workers", 2, "--pruner", "median"), "leave out --ray or --pruner"),
    ],
)
def test_ray_with_options_that_exclude_it_is_refused(run, tmp_path, options, words):
    assert words in run(*OPTIONS, *options).refusal()
    assert list(tmp_path.iterdir()) == []


def test_ray_without_the_package_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    line = run(*OPTIONS, "--ray", "auto", "--workers", 2).refusal()
    assert 'pip install "autoprune[ray]"' in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster of three nodes on this machine, the first of which runs no tasks."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small}
    )
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, nodes
    cluster.shutdown()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ray_search_with_a_killed_node_measures_everything_once(
    cluster, start, run, model, task, tmp_path
):
    cluster, nodes = cluster
    command = [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 6, "--json"),
        *("--epochs", 100, "--full-epochs", 20, "--seeds", 2, "--batch", 8, "--strategy", "top"),
        *("--learning-rate", 0.01, "--workers", 2),
    ]
    (tmp_path / "whole").mkdir()
    whole = run(*command, folder=tmp_path / "whole").result
    with start(*command, "--ray", cluster.address, folder=tmp_path) as search:
        for line in search.stderr:
            if line.startswith("trial   4/6"):  # they run two at a time
                time.sleep(1)  # both nodes are in the middle of the next ones
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                break
        out, err = search.communicate(timeout=800)
    assert search.returncode == 0, err
    result = json.loads(out)
    del result["seconds"]
    assert result == whole
    lines = (tmp_path / "studies" / STUDY / "records.jsonl").read_text().splitlines()
    made = [(r["phase"], r["start"], r["layout"], r["seed"]) for r in map(json.loads, lines)]
    assert len(made) == len(set(made)) == result["trials"] + 2 * 4
    assert result["repeated"] == 0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_ray_task_that_ends_its_process_is_an_error(cluster):
    cluster, _ = cluster
    with RayWorkerPool(1, cluster.address, 0) as pool:
        waits = [pool.start(divmod, 7, 3), pool.start(os._exit, 1), pool.start(len, "up")]
        assert waits[2]() == 2
        assert waits[0]() == (2, 1)
        with pytest.raises(TrialError, match="Ray began it 3 times and gave it up"):
            waits[1]()
        with pytest.raises(ZeroDivisionError):
            pool.start(divmod, 1, 0)()
    with pytest.raises(
        OptionError, match=r"a task needs 2 GPU, the Ray cluster at .* has 0 in all"
    ):
        RayWorkerPool(1, cluster.address, 2).__enter__()
