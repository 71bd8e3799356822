"""DataFrames: columns that nobody asks for are no error, those in use are named in one line."""

from pathlib import Path

import pandas
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from autoprune.errors import DataError
from autoprune.tasks.in_memory import save_rows
from autoprune.tasks.loading import read_splits
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Columns

TEXTS = [f"t{i}" for i in range(40)]
LABELS = ["x", "y"] * 20

OTHERS = {
    "mixed": [{1}, "z"] * 20,
    "sets": [{1}, {2}] * 20,
    "empty dicts": [{}] * 40,
    "complex": [1j] * 40,
    "objects": [object()] * 40,
    "large": [2**70] * 40,
}


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("name", ["other", "tags"])
def test_column_that_nobody_asks_for_is_left_out(tmp_path, case, name):
    frame = pandas.DataFrame({"text": TEXTS, name: OTHERS[case], "label": LABELS})
    splits = read_splits(find_task(str(save_rows(tmp_path, "own", {"train": frame}))))
    assert (splits.names, len(splits.train)) == (("x", "y"), 24)


def test_columns_of_one_name_are_left_out_where_they_are_not_in_use(tmp_path):
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS, "a": LABELS, "b": LABELS})
    frame.columns = ["text", "label", "a", "a"]
    assert read_splits(find_task(str(save_rows(tmp_path, "own", frame)))).names == ("x", "y")
    frame.columns = ["text", "label", "text", "a"]
    with pytest.raises(DataError, match="the DataFrame train has two columns 'text': rename one"):
        save_rows(tmp_path, "own", frame)


@pytest.mark.parametrize("columns", [Columns(), Columns("text", label="verdict")])
def test_column_in_use_is_named(tmp_path, columns):
    label = columns.label or "label"
    frame = pandas.DataFrame({"text": TEXTS, label: ["x", 1] * 20, "category": LABELS})
    if not columns.label:
        frame = frame.drop(columns="category")
    with pytest.raises(DataError) as caught:
        save_rows(tmp_path, "own", frame, columns)
    assert str(caught.value) == (
        f"column '{label}' of the DataFrame train cannot be stored: Expected bytes, got a 'int' "
        "object; make its values valid texts, such as by .astype(str), or numbers"
    )
    assert not list(tmp_path.iterdir())


def test_rows_keep_the_folder_that_they_had(tmp_path):
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS, "other": range(40)})
    first = save_rows(tmp_path, "own", frame)
    assert save_rows(tmp_path, "own", frame, Columns("text", label="label")) == first
    assert "other" in pandas.read_parquet(first / "train.parquet").columns


def test_names_of_classes_in_lists_are_kept(tmp_path):
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    lists = {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
    rows = {"tokens": [["a", "b", f"c{i}"] for i in range(40)], "ner_tags": [[3, 0, 1]] * 40}
    folder = save_rows(tmp_path, "tags", Dataset.from_dict(rows, Features(lists)))
    splits = read_splits(find_task(str(folder)))
    assert (splits.problem_type, splits.names) == (
        "token_classification", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"),
    )  # fmt: skip
    names[3:] = ["B-DATE", "I-DATE"]
    other = {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
    assert save_rows(tmp_path, "tags", Dataset.from_dict(rows, Features(other))) != folder
    several = {"text": Value("string"), "labels": List(ClassLabel(names=["good", "bad"]))}
    rows = {"text": TEXTS, "labels": [[0], [0, 1], [1], []] * 10}
    folder = save_rows(tmp_path, "several", Dataset.from_dict(rows, Features(several)))
    assert set(read_splits(find_task(str(folder))).names) == {"good", "bad"}


def test_two_splits_of_one_meaning_are_refused(tmp_path):
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS})
    with pytest.raises(DataError, match=r"one validation split, it has 'dev', 'validation'"):
        save_rows(tmp_path, "own", {"train": frame, "dev": frame, "validation": frame})


def test_rows_that_another_process_stores_meanwhile_are_used(tmp_path, monkeypatch):
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS})
    first = save_rows(tmp_path, "own", frame)
    answers = iter([False, True])  # not there at first
    monkeypatch.setattr(Path, "is_dir", lambda _: next(answers, True))
    assert save_rows(tmp_path, "own", frame) == first


@pytest.mark.parametrize("rows", [pandas.Series(TEXTS), iter([]), {"text": TEXTS}])
def test_what_is_no_table_is_refused(tmp_path, rows):
    with pytest.raises(DataError, match=r"rows must be a DataFrame|needs a split train"):
        save_rows(tmp_path, "own", rows)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\0b"])
def test_name_that_leaves_the_folder_is_refused(tmp_path, name):
    rows = pandas.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    with pytest.raises(DataError, match="task is a name for these rows"):
        save_rows(tmp_path / "data", name, rows)
    assert not list(tmp_path.iterdir())
