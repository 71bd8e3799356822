"""Option --proxy: one full model scores several numbers of layers, each as if it was alone."""

import json

import pytest

from autoprune.training.proxies import PROXIES


@pytest.fixture
def command(model, task):
    return [
        *("search", "--model", model, "--task", task, "--trials", 1, "--epochs", 1),
        *("--full-epochs", 1, "--seeds", 1, "--workers", 1, "--strategy", "top"),
        *("--proxy", "leave-one-out", "--json"),
    ]


@pytest.fixture
def scored(monkeypatch):
    """Return a list of the numbers of layers that each call scores."""
    calls, proxy = [], PROXIES["leave-one-out"]

    def noted(evaluator, layouts, seed):
        calls.append(sorted({len(layout.keep) for layout in layouts}))
        return proxy(evaluator, layouts, seed)

    monkeypatch.setitem(PROXIES, "leave-one-out", noted)
    monkeypatch.setattr("autoprune.experiment.pareto.COST_ROUNDS", 6)
    return calls


def values(folder, keep):
    return json.loads((folder / f"studies/tiny-own-keep{keep}/proxy.json").read_text())["values"]


@pytest.mark.slow
def test_proxy_of_several_keeps_takes_one_full_model(run, command, tmp_path, scored):
    both, alone = tmp_path / "both", tmp_path / "alone"
    both.mkdir()
    alone.mkdir()
    answer = run(*command, "--keep", "2,3", folder=both)
    assert answer.code == 0, answer.err
    assert scored == [[2, 3]]
    assert run(*command, "--keep", 3, folder=alone).code == 0
    assert scored == [[2, 3], [3]]
    assert len(values(both, 2)) == len(values(both, 3)) == 10
    assert values(both, 3) == values(alone, 3)
    assert run(*command, "--keep", "2,3", folder=both).code == 0
    assert scored == [[2, 3], [3]]  # on file
    torn = both / "studies/tiny-own-keep2/proxy.json"
    torn.write_text(torn.read_text()[:-9])
    assert run(*command, "--keep", "2,3", folder=both).code == 0
    assert scored == [[2, 3], [3], [2]]  # a file that cannot be read is written again
