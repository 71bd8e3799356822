"""Hub data sets, in a child process: `datasets` reads its settings when it is imported."""

import json
import os
import subprocess
import sys

import pytest
from datasets import ClassLabel, Dataset, Features, Value

CHILD = """
import json, sys
from autoprune.errors import AutopruneError
from autoprune.tasks.loading import read_test
from autoprune.tasks.loading import read_splits
from autoprune.tasks.registry import find_task
try:
    task = find_task(sys.argv[1])
    splits, test = read_splits(task), read_test(task)
    parts = {"train": splits.train, "validation": splits.validation, "test": test.rows}
    names = splits.names if splits.problem_type != "regression" else None
    rows = {
        n: [[t, names[i] if names else i] for t, i in zip(r.texts, r.labels)]
        for n, r in parts.items()
    }
    print(json.dumps({"names": splits.names, "held_out": splits.held_out, **rows}))
except AutopruneError as error:
    print(json.dumps({"refused": str(error)}))
"""
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["good", "bad"])})


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
    """Read a data set in a process of its own that uses the local hub."""

    def run(task="org/news", **settings):
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-c", CHILD, task],
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
    assert answer["names"] == ["good", "bad"]  # not sorted: the class label's own order
    assert answer["held_out"] == []
    assert answer["train"] == [[f"train {i}", ["good", "bad"][i % 2]] for i in range(10)]
    assert answer["validation"] == [["validation 0", "bad"], ["validation 1", "good"]]
    assert answer["test"] == [["test 0", "bad"], ["test 1", "good"], ["test 2", "good"]]
    asked = len(hub.log)
    assert child(HF_HUB_OFFLINE="1") == answer
    assert len(hub.log) == asked


@pytest.mark.slow
def test_split_with_hidden_labels_is_held_out_of_train(hub, folder, child):
    hub.add("org/news", folder, kind="datasets")
    answer = child()
    assert answer["held_out"] == ["test"]
    assert sorted(label for _, label in answer["test"]) == ["bad", "good"]
    assert {text for text, _ in answer["test"]} < {f"train {i}" for i in range(10)}
    assert len(answer["train"]) == 8


@pytest.mark.slow
def test_split_with_hidden_numbers_is_held_out_of_train(hub, folder, child):
    for split, numbers in (
        ("train", [i / 4 for i in range(20)]),
        ("validation", [0.5, 1.5]),
        ("test", [-1.0, -1.0]),
    ):
        rows = {"text": [f"{split} {i}" for i in range(len(numbers))], "label": numbers}
        Dataset.from_dict(rows).to_parquet(folder / f"{split}.parquet")
    hub.add("org/news", folder, kind="datasets")
    answer = child()
    assert answer["held_out"] == ["test"]
    assert [len(answer[split]) for split in ("train", "validation", "test")] == [16, 2, 4]
    assert {text for text, _ in answer["test"]} < {f"train {i}" for i in range(20)}


def refusal(child, task="org/news", **settings):
    message = child(task, **settings)["refused"]
    assert "\n" not in message
    return message


@pytest.mark.slow
def test_missing_hub_data_set_is_an_error_of_one_line(child):
    assert "has no data set org/news, or it is private: check the name" in refusal(child)
    assert "unset HF_HUB_OFFLINE once" in refusal(child, HF_HUB_OFFLINE="1")


@pytest.mark.slow
def test_connection_that_always_breaks_is_an_error_of_one_line(hub, folder, child):
    hub.add("org/news", folder, kind="datasets")
    hub.cut("train.parquet", after=100, times=99)
    assert "peer closed connection" in refusal(child)


@pytest.mark.slow
def test_gated_data_set_is_an_error_that_says_so(hub, folder, child):
    hub.add("org/news", folder, kind="datasets")
    hub.repos["datasets", "org/news"].gated = True
    assert refusal(child).startswith("data set org/news is gated: ask for access")


@pytest.mark.slow
def test_hub_data_set_with_a_script_or_a_broken_file_names_it(hub, tmp_path, child):
    (tmp_path / "script").mkdir()
    (tmp_path / "script/news.py").write_text("raise SystemExit(7)")
    hub.add("org/news", tmp_path / "script", kind="datasets")
    assert "scripts are no longer supported, but found news.py" in refusal(child)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/train.csv").write_text("text,label\na,b\n1,2,3\n")
    hub.add("org/broken", tmp_path / "csv", kind="datasets")
    assert "Expected 2 fields in line 3, saw 3" in refusal(child, "org/broken")


@pytest.fixture
def languages(hub, tmp_path):
    """A data set on the hub with a configuration for each of two languages."""
    card = "---\nconfigs:\n"
    for language in ("mr", "hi"):
        folder = tmp_path / "languages" / language
        folder.mkdir(parents=True)
        write_split(folder, "train", [1, 0] * 5)
        card += f"- config_name: {language}\n  data_files: {language}/train.parquet\n"
    (tmp_path / "languages/README.md").write_text(f"{card}---\n")
    hub.add("org/languages", tmp_path / "languages", kind="datasets")
    return tmp_path / "languages"


@pytest.mark.slow
def test_configuration_of_a_hub_data_set_is_read(hub, languages, child):
    answer = child("org/languages:hi")
    assert (answer["names"], len(answer["train"])) == (["good", "bad"], 6)
    assert not [path for _, path in hub.log if "mr/train.parquet" in path and "/resolve/" in path]
    assert child("org/languages:hi", HF_HUB_OFFLINE="1") == answer


@pytest.mark.slow
def test_configurations_are_listed_where_none_or_a_wrong_one_is_named(languages, child):
    assert refusal(child, "org/languages") == (
        "hub data set org/languages has several configurations: give one of them, such as "
        "org/languages:mr; they are 'mr', 'hi'"
    )
    assert refusal(child, "org/languages:ta").startswith(
        "hub data set org/languages has no configuration 'ta': give one of them, such as"
    )
    message = refusal(child, "org/languages:ta", HF_HUB_OFFLINE="1")
    assert "unset HF_HUB_OFFLINE" in message or "not cached" in message
