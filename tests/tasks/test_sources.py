"""Hub data sets, in a child process: `datasets` reads its settings when it is imported."""

import json
import os
import subprocess
import sys

import pytest
from datasets import ClassLabel, Dataset, Features, Value

CHILD = """
import json, sys
from autoprune.errors import DataError
from autoprune.tasks.loading import read_test
from autoprune.tasks.loading import read_splits
from autoprune.tasks.registry import find_task
try:
    task = find_task("org/news")
    splits, test = read_splits(task), read_test(task)
    parts = {"train": splits.train, "validation": splits.validation, "test": test.rows}
    rows = {n: [[t, splits.names[i]] for t, i in zip(r.texts, r.labels)] for n, r in parts.items()}
    print(json.dumps({"names": splits.names, "held_out": splits.held_out, **rows}))
except DataError as error:
    print(json.dumps({"refused": str(error)}))
"""
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})


def write_split(folder, split, labels):
    rows = {"text": [f"{split} {i}" for i in range(len(labels))], "label": labels}
    Dataset.from_dict(rows, features=FEATURES).to_parquet(folder / f"{split}.parquet")


@pytest.fixture
def folder(tmp_path):
    """A data set of three splits, described by a card as on the hub; test labels are kept back."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for split, labels in (("train", [0, 1] * 5), ("validation", [1, 0]), ("test", [-1, -1])):
        write_split(folder, split, labels)
    files = "".join(
        f"  - split: {split}\n    path: {split}.parquet\n"
        for split in ("train", "validation", "test")
    )
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    (folder / "README.md").write_text(card)
    return folder


@pytest.fixture
def child(hub, tmp_path):
    """Read the data set `org/news` in a process of its own that uses the local hub."""

    def run(**settings):
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def test_hub_data_set_is_read_and_cached(hub, folder, child):
    write_split(folder, "test", [1, 0, 0])
    hub.add("org/news", folder, kind="datasets")
    hub.cut("train.parquet", after=100, times=1)
    answer = child()
    assert answer["names"] == ["bad", "good"]
    assert answer["held_out"] == []
    assert answer["train"] == [[f"train {i}", ["bad", "good"][i % 2]] for i in range(10)]
    assert answer["validation"] == [["validation 0", "good"], ["validation 1", "bad"]]
    assert answer["test"] == [["test 0", "good"], ["test 1", "bad"], ["test 2", "bad"]]
    asked = len(hub.log)
    assert child(HF_HUB_OFFLINE="1") == answer
    assert len(hub.log) == asked


def test_split_with_hidden_labels_is_held_out_of_train(hub, folder, child):
    hub.add("org/news", folder, kind="datasets")
    answer = child()
    assert answer["held_out"] == ["test"]
    assert sorted(label for _, label in answer["test"]) == ["bad", "good"]
    assert {text for text, _ in answer["test"]} < {f"train {i}" for i in range(10)}
    assert len(answer["train"]) == 8


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "doesn't exist on the Hub"), ({"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled")],
)
def test_missing_hub_data_set_is_an_error_of_one_line(child, settings, reason):
    message = child(**settings)["refused"]
    assert message.startswith("cannot read the hub data set org/news: ")
    assert reason in message
    assert message.endswith("download its files and give their folder")
    assert "\n" not in message


def test_connection_that_always_breaks_is_an_error_of_one_line(hub, folder, child):
    hub.add("org/news", folder, kind="datasets")
    hub.cut("train.parquet", after=100, times=99)
    message = child()["refused"]
    assert "peer closed connection" in message
    assert "\n" not in message
