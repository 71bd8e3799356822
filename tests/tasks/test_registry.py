import subprocess
import sys

import pytest

from autoprune.errors import DataError, UnknownNameError
from autoprune.tasks.registry import TASKS, find_task
from autoprune.tasks.sources import SOURCES
from autoprune.tasks.task import Columns


@pytest.mark.parametrize("name", TASKS)
def test_find_task_finds_every_name_and_its_source(name):
    task = find_task(name)
    assert task == TASKS[name]
    assert task.name == name
    assert task.source.partition(":")[0] in SOURCES
    assert task.labels is None or list(task.labels) == sorted(task.labels)
    assert task.labels is None or len(task.labels) == 12


@pytest.mark.parametrize("text", ["news.csv", "./news.csv", "news.jsonl", "a b.parquet"])
def test_find_task_names_a_task_after_its_file(text, tmp_path):
    (tmp_path / text).write_text("x")
    columns = Columns(label="topic")
    task = find_task(text, columns, metric="macro-f1")
    assert task.source == f"files:{(tmp_path / text).relative_to(tmp_path)}"
    assert (task.name, task.columns, task.metric, task.labels) == (
        text.removeprefix("./").rpartition(".")[0],
        columns,
        "macro-f1",
        None,
    )


def test_find_task_names_a_task_after_its_folder(tmp_path, monkeypatch):
    (tmp_path / "my" / "news").mkdir(parents=True)
    assert find_task("my/news").source == "files:my/news"
    monkeypatch.chdir(tmp_path / "my" / "news")
    assert find_task("./").name == "news"


def test_find_task_prefers_a_known_name_to_a_folder(tmp_path):
    (tmp_path / "shc").mkdir()
    assert find_task("shc").source == "official:SHC"
    assert find_task("./shc").source == "files:shc"


def test_find_task_takes_a_hub_id():
    task = find_task("org/some-news")
    assert (task.name, task.source) == ("some-news", "hub:org/some-news")


def test_find_task_takes_a_configuration_of_a_hub_data_set(tmp_path, monkeypatch):
    task = find_task("org/some-news:mr")
    assert (task.name, task.source) == ("some-news-mr", "hub:org/some-news:mr")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org/some-news").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is a folder here, .* such as org/some-news/mr$"):
        find_task("org/some-news:mr")


def test_find_task_replaces_columns_and_metric():
    task = find_task("shc", Columns(text="Headline"), "macro-f1")
    assert (task.columns.text, task.metric, task.source) == ("Headline", "macro-f1", "official:SHC")


@pytest.mark.parametrize(
    "text",
    ["./nowhere", "../nowhere", "/no/where", "~/nowhere", "~nobody-of-that-name/where", "n.tsv"],
)
def test_missing_path_is_a_data_error(text):
    with pytest.raises(DataError, match=r"must exist, there is nothing at .*(where|n\.tsv)$"):
        find_task(text)


@pytest.mark.parametrize("text", ["lcd", "", "a\nb", "x" * 5000, "a\0b", "a/b/c"])
def test_unknown_name_is_an_error_of_one_line(text):
    with pytest.raises(UnknownNameError) as caught:
        find_task(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'demo'"):
        find_task("dmo")


def test_registry_imports_no_heavy_library():
    code = (
        "import sys, autoprune.tasks.task; "
        "print({'torch', 'transformers', 'pandas', 'datasets', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
