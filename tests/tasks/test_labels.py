"""Labels: numbers, order, class labels, spellings."""

import json
from dataclasses import replace

import pandas
import pyarrow
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from pyarrow import parquet

from autoprune.errors import DataError
from autoprune.tasks.in_memory import save_rows
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.parquet_files import class_metadata
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Columns


def write_table(folder, split, labels, classes=(), kind=None):
    table = pyarrow.table(
        {
            "text": [f"{split} {i}" for i in range(len(labels))],
            "label": pyarrow.array(labels, kind),
        }
    )
    if classes:
        table = table.replace_schema_metadata(class_metadata({"label": classes}))
    folder.mkdir(exist_ok=True)
    parquet.write_table(table, folder / f"{split}.parquet")


def rows(*labels):
    return [(f"{label} {i}", label) for i, label in enumerate(labels)]


def write_splits(write, train, validation, test):
    for split, labels in (("train", train), ("validation", validation), ("test", test)):
        write(f"own/{split}.csv", [(f"{split} {i}", label) for i, label in enumerate(labels)])
    return find_task("./own")


def named(splits, rows):
    return [splits.names[label] for label in rows.labels]


def test_whole_numbers_have_numeric_order(write):
    numbers = [str(number) for number in range(12)]
    task = write_splits(write, [*reversed(numbers), "-1"], ["10"], ["2"])
    assert read_splits(task).names == ("-1", *numbers)


def test_texts_are_sorted_as_before(write):
    task = write_splits(write, ["b 10", "b 9", "A"], ["A"], ["A"])
    assert read_splits(task).names == ("A", "b 10", "b 9")


def test_floats_that_are_whole_are_read_as_numbers_in_any_split(write):
    task = write_splits(write, ["0.0", "10.0", "9.", "nan"], ["9", "10"], ["0", "NaN", "9.0"])
    splits, test = read_splits(task), read_test(task)
    assert splits.names == ("0", "9", "10")
    assert named(splits, splits.train) == ["0", "10", "9"]
    assert named(splits, splits.validation) == ["9", "10"]
    assert named(splits, test.rows) == ["0", "9"]
    assert (splits.cleaned[0].empty, test.cleaned.empty) == (1, 1)


def test_missing_label_among_several_is_no_class(write):
    rows = [(f"text {i}", labels) for i, labels in enumerate(["1;2", "2", "nan", "1"] * 5)]
    write("own.csv", rows, header=("text", "labels"))
    splits = read_splits(find_task("own.csv", Columns(separator=";")))
    assert (splits.names, splits.problem_type) == (("1", "2"), "multi_label_classification")
    assert (0, 0) not in splits.train.labels


def test_a_label_that_is_no_whole_number_leaves_all_as_they_are(write):
    task = write_splits(write, ["1.0", "1.5", "nan"], ["1.0"], ["1.0"])
    with pytest.raises(DataError, match=r"2 different numbers, .* give --problem-type"):
        read_splits(task)
    task = replace(task, problem_type="single_label_classification")
    assert read_splits(task).names == ("1.0", "1.5", "nan")


def test_float_columns_are_read_as_whole_numbers_and_nan_as_missing(tmp_path):
    write_table(tmp_path / "own", "train", [0.0, 10.0, 9.0, float("nan"), None] * 3)
    (tmp_path / "own/test.jsonl").write_text(
        "\n".join(json.dumps({"text": f"t{i}", "label": i % 2 * 9}) for i in range(4))
    )
    task = find_task(str(tmp_path / "own"))
    splits = read_splits(task)
    assert (splits.names, splits.cleaned[0].empty) == (("0", "9", "10"), 6)
    assert named(splits, read_test(task).rows) == ["0", "9", "0", "9"]


def test_float_that_is_not_whole_is_refused(tmp_path):
    write_table(tmp_path / "own", "train", [0.0, 0.5])
    with pytest.raises(DataError, match="may be classes or a scale: give --problem-type"):
        read_splits(find_task(str(tmp_path / "own")))


def test_class_label_in_the_metadata_of_parquet_gives_names_and_order(tmp_path):
    names = ["neutral", "good", "bad", "unused"]
    write_table(tmp_path / "own", "train", [2, 0, 1, None, -1, 2], names)
    write_table(tmp_path / "own", "validation", ["good", "bad"])
    write_table(tmp_path / "own", "test", [1, 1])
    parquet.write_table(
        parquet.read_table(tmp_path / "own/test.parquet").replace_schema_metadata(
            class_metadata({"label": ["bad", "neutral"]})
        ),
        tmp_path / "own/test.parquet",
    )
    task = find_task(str(tmp_path / "own"))
    splits = read_splits(task)
    assert splits.names == ("neutral", "good", "bad")
    assert named(splits, splits.train) == ["bad", "neutral", "good", "bad"]
    assert named(splits, splits.validation) == ["good", "bad"]
    assert named(splits, read_test(task).rows) == ["neutral", "neutral"]


def test_class_number_without_a_name_is_refused(tmp_path):
    write_table(tmp_path / "own", "train", [0, 1, 7], ["a", "b"])
    with pytest.raises(DataError, match="has the names of 2 labels, row 3 has number '7'"):
        read_splits(find_task(str(tmp_path / "own")))


@pytest.mark.parametrize(
    "content",
    ["[", "[]", "{}", '{"info": 3}', '{"info": {"features": []}}', "[" * 100_000]
    + [
        json.dumps({"info": {"features": {"label": feature}}})
        for feature in (
            {"_type": "ClassLabel"},
            {"_type": "ClassLabel", "names": 3},
            {"_type": "ClassLabel", "names": [1]},
            "ClassLabel",
        )
    ],
)
def test_metadata_of_another_form_names_nothing(tmp_path, content):
    write_table(tmp_path, "train", [0, 1] * 5)
    table = parquet.read_table(tmp_path / "train.parquet")
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": content}), tmp_path / "train.parquet"
    )
    assert read_splits(find_task(str(tmp_path / "train.parquet"))).names == ("0", "1")


def test_labels_that_differ_in_case_or_spaces_are_refused_and_can_be_merged(write):
    task = write_splits(write, ["Respect", "Anger"], ["respect", "AnGer"], ["Anger"])
    with pytest.raises(
        DataError,
        match=r"validation.csv has 'respect' where 'Respect' is a label too, 'AnGer' where 'Anger' "
        "is a label too: write them alike, or give --merge-labels",
    ):
        read_splits(task)
    task = write_splits(
        write, ["respect", "Anger", "Respect", "Respect"], ["respect", "Anger"], ["anger"]
    )
    splits = read_splits(task, merge_labels=True)
    test = read_test(task, merge_labels=True)
    assert splits.names == ("Anger", "Respect")
    assert named(splits, splits.train) == ["Respect", "Anger", "Respect", "Respect"]
    assert named(splits, splits.validation) == ["Respect", "Anger"]
    assert named(splits, test.rows) == ["Anger"]
    assert [note for note in splits.notes if "--merge-labels" in note] == [
        "train and validation: label 'respect' is read as 'Respect' in 1 row (--merge-labels)",
        "test: label 'anger' is read as 'Anger' in 1 row (--merge-labels)",
    ]


def test_merged_labels_of_unicode_forms_keep_what_most_train_rows_have(write):
    task = write_splits(write, ["cafe\u0301", "caf\xe9", "caf\xe9", "b"], ["Caf\xe9"], ["b"])
    splits = read_splits(task, merge_labels=True)
    assert splits.names == ("b", "caf\xe9")


def test_merging_changes_nothing_where_labels_are_distinct(write):
    task = write_splits(write, ["a", "b", "a"], ["a"], ["b"])
    assert read_splits(task, merge_labels=True) == read_splits(task)


def test_merged_labels_of_a_known_task_keep_its_spelling(official, write):
    write("data/SHC/SHC_Train.csv", [("a", "auto"), ("b", "auto"), ("c", "Tech")])
    task = find_task("shc")
    splits = read_splits(task, official, merge_labels=True)
    assert named(splits, splits.train) == ["Auto", "Auto", "Tech"]


def test_rows_in_memory_keep_the_order_of_their_class_label(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["good", "bad"])})
    rows = {"text": [f"t{i}" for i in range(10)], "label": [1, 0] * 5}
    train = Dataset.from_dict(rows, features=features)
    task = find_task(str(save_rows(tmp_path, "news", {"train": train})))
    assert read_splits(task).names == ("good", "bad")
    other = train.cast_column("label", ClassLabel(names=["bad", "good"]))
    assert save_rows(tmp_path, "news", {"train": other}) != save_rows(tmp_path, "news", train)


def test_rows_in_memory_with_float_labels_are_numbers(tmp_path):
    frame = pandas.DataFrame({"text": [f"t{i}" for i in range(12)], "label": [10.0, 9.0, None] * 4})
    splits = read_splits(find_task(str(save_rows(tmp_path, "news", frame))))
    assert splits.names == ("9", "10")
