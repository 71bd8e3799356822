"""Labels of every problem type: read, guessed, numbered, and refused in one line."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from autoprune.errors import DataError, OptionError
from autoprune.tasks.labels import LABEL_KINDS
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task
from autoprune.tasks.table import _LABEL_READERS
from autoprune.tasks.task import Columns
from autoprune.training.problem_types import PROBLEM_TYPES


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_every_problem_type_reads_its_labels():
    assert set(LABEL_KINDS) == set(PROBLEM_TYPES) == set(_LABEL_READERS)


LISTS = [{"text": f"t{i}", "labels": [["a"], ["a", "b"], [], ["b"]][i % 4]} for i in range(20)]


def test_lists_are_several_labels(tmp_path):
    splits = read_splits(find_task(write_rows(tmp_path / "x.jsonl", LISTS)))
    assert splits.problem_type == "multi_label_classification"
    assert splits.names == ("a", "b")
    assert set(splits.train.labels) == {(1, 0), (1, 1), (0, 0), (0, 1)}


def test_separator_and_columns_of_flags_are_several_labels(tmp_path):
    rows = "".join(f"t{i},{'a|b' if i % 2 else 'b'}\n" for i in range(20))
    (tmp_path / "x.csv").write_text(f"text,label\n{rows}")
    by_cell = read_splits(find_task(str(tmp_path / "x.csv"), Columns(separator="|")))
    flags = "".join(f"t{i},{i % 2},1\n" for i in range(20))
    (tmp_path / "y.csv").write_text(f"text,a,b\n{flags}")
    by_column = read_splits(find_task(str(tmp_path / "y.csv"), Columns(labels=("a", "b"))))
    assert by_cell.names == by_column.names == ("a", "b")
    assert by_cell.train == by_column.train


@pytest.mark.parametrize("separator", ["|", ";", ","])
def test_labels_that_look_like_several_are_a_warning(tmp_path, separator):
    labels = ["a", "b", "c", f"a{separator}b", f"a{separator} c"]
    path = tmp_path / "x.tsv"
    path.write_text("text\tlabel\n" + "".join(f"t{i}\t{labels[i % 5]}\n" for i in range(50)))
    [warning] = read_splits(find_task(str(path))).warnings
    assert f"labels such as 'a{separator} c' look like several in one" in warning
    assert f"give --label-separator '{separator}'" in warning
    for known in (
        find_task(str(path), problem_type="single_label_classification"),
        find_task(str(path), Columns(separator=separator)),
    ):
        assert read_splits(known).warnings == ()
    places = path.read_text().replace(f"a{separator}b", "Pune, MH").replace(f"a{separator} c", "d")
    path.write_text(places)
    assert read_splits(find_task(str(path))).warnings == ()


@pytest.mark.parametrize(
    ("header", "row", "no_label", "columns"),
    [
        ("text,label", "{text},{class_}", "{text},", {}),
        ("text,label", "{text},a|{class_}", "{text},", {"separator": "|"}),
        ("text,a,b", "{text},1,{number}", "{text},,", {"labels": ("a", "b")}),
        ("text,score", "{text},{fraction}", "{text},", {}),
    ],
)
def test_rows_without_text_or_label_are_counted(tmp_path, header, row, no_label, columns):
    def lines(count, name):
        return "".join(
            row.format(text=f"{name}{i}", class_="bc"[i % 2], number=i % 2, fraction=i / 4) + "\n"
            for i in range(count)
        )

    blank = no_label.format(text="x") + "\n" + row.format(text="", class_="b", number=0, fraction=1)
    (tmp_path / "one.csv").write_text(f"{header}\n{lines(40, 't')}{blank}\n{blank}\n")
    splits = read_splits(find_task(str(tmp_path / "one.csv"), Columns(**columns)))
    assert [report.empty for report in splits.cleaned] == [4, 0]
    (tmp_path / "all").mkdir()
    for name in ("train", "validation", "test"):
        file = tmp_path / "all" / f"{name}.csv"
        file.write_text(f"{header}\n{lines(30, name)}{blank}\n")
    task = find_task(str(tmp_path / "all"), Columns(**columns))
    reports = (*read_splits(task).cleaned, read_test(task).cleaned)
    assert [(report.read, report.empty, report.left) for report in reports] == [(32, 2, 30)] * 3


def test_numbers_with_fractions_are_regression(tmp_path):
    rows = "".join(f"t{i},{i / 4}\n" for i in range(30))
    (tmp_path / "x.csv").write_text(f"text,score\n{rows}")
    task = find_task(str(tmp_path / "x.csv"))
    splits, test = read_splits(task), read_test(task)
    assert (splits.problem_type, splits.names) == ("regression", ("score",))
    found = {*splits.train.labels, *splits.validation.labels, *test.rows.labels}
    assert found == {i / 4 for i in range(30)}


def test_order_of_the_rows_does_not_decide_the_problem_type(tmp_path):
    numbers = sorted(i / 4 for i in range(21) for _ in range(40))  # the first hundred are whole
    rows = [f"t{i},{number:g}\n" for i, number in enumerate([0.0] * 400 + numbers)]
    for name, order in (("sorted", rows), ("turned", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("text,score\n" + "".join(order))
        task = find_task(str(tmp_path / f"{name}.csv"))
        assert read_splits(task).problem_type == "regression"


def test_one_text_among_many_numbers_is_named(tmp_path):
    cells = [f"{i / 4:g}" for i in range(300)]
    cells[250] = "n/a"
    rows = "".join(f"t{i},{cell}\n" for i, cell in enumerate(cells))
    (tmp_path / "x.csv").write_text(f"text,score\n{rows}")
    with pytest.raises(DataError, match="must hold numbers, line 252 has 'n/a': correct it, or"):
        read_splits(find_task(str(tmp_path / "x.csv")))


def test_lists_of_words_and_tags_are_tags(tmp_path):
    rows = [{"tokens": ["अ", f"{i}"], "ner_tags": ["B-PER", "O"]} for i in range(20)]
    splits = read_splits(find_task(write_rows(tmp_path / "x.jsonl", rows)))
    assert splits.problem_type == "token_classification"
    assert set(splits.train.labels) == {(1, 0)} and splits.train.by_word


BAD = {
    "few numbers": (
        [{"text": f"t{i}", "label": i / 2 % 2} for i in range(9)], {},
        "may be classes or a scale: give --problem-type",
    ),
    "no number": (
        [{"text": "a", "label": 0.5}, {"text": "b", "label": "x"}], {"problem_type": "regression"},
        "must hold numbers, line 2 has 'x'",
    ),
    "out of range": (
        [{"text": "a", "label": 1e9}], {"problem_type": "regression"}, "line 1 has .* scale them",
    ),
    "equal numbers": (
        [{"text": f"t{i}", "label": 1} for i in range(9)], {"problem_type": "regression"},
        "regression needs different numbers",
    ),
    "tags and words": (
        [{"tokens": ["a", "b"], "ner_tags": ["O"]}], {}, "line 1 has 2 words and 1 tag$",
    ),
    "empty word": ([{"tokens": ["a", ""], "ner_tags": ["O", "O"]}], {}, "has an empty one"),
    "empty sets": (
        [{"text": f"t{i}", "labels": []} for i in range(9)], {}, "has only|at least two labels",
    ),
    "tags as numbers": (
        [{"tokens": ["a", "b"], "ner_tags": [0, 3]}], {}, "line 1 has numbers: write the names",
    ),
    "lists of flags": (
        [{"text": f"t{i}", "labels": [i % 2, 1, 0]} for i in range(9)], {},
        "has lists of 0 and 1, which are taken for names of classes",
    ),
    "flags": (
        [{"text": "t", "a": 2, "b": 0}], {"columns": Columns(labels=("a", "b"))},
        "column 'a' of .* must hold 0 or 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_labels_are_refused_in_one_line(tmp_path, case):
    rows, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        read_splits(find_task(write_rows(tmp_path / "x.jsonl", rows), **options))


def test_known_task_keeps_its_problem_type():
    with pytest.raises(OptionError, match="leave --problem-type out"):
        find_task("shc", problem_type="regression")


def write_numbers(folder, **splits):
    folder.mkdir(exist_ok=True)
    for name, numbers in splits.items():
        rows = [{"text": f"{name} {i}", "score": number} for i, number in enumerate(numbers)]
        write_rows(folder / f"{name}.jsonl", rows)
    return find_task(str(folder), problem_type="regression")


QUARTERS = [i / 4 for i in range(40)]


@pytest.mark.parametrize("hidden", [-1.0, -1, None])
def test_split_with_hidden_numbers_has_no_labels(tmp_path, hidden):
    task = write_numbers(tmp_path / "own", train=QUARTERS, test=[hidden] * 5)
    with pytest.raises(DataError, match=r"test.jsonl has no labels \(in column 'score' all are"):
        read_splits(task)
    task = write_numbers(tmp_path / "own", train=QUARTERS, test=[-1.0, 2.5])
    assert read_test(task).rows.labels == (-1.0, 2.5)


@pytest.mark.parametrize("hidden", [[], ["-1"], [-1, -1], None])
def test_split_with_hidden_lists_has_no_labels(tmp_path, hidden):
    write_rows(tmp_path / "train.jsonl", LISTS)
    write_rows(tmp_path / "test.jsonl", [{"text": f"u{i}", "labels": hidden} for i in range(5)])
    with pytest.raises(DataError, match=r"test\.jsonl has no labels"):
        read_splits(find_task(str(tmp_path)))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_split_with_one_number_is_refused(tmp_path, split):
    other = {"test": "validation", "validation": "test"}[split]
    splits = {split: [2.0] * 5, other: [1.0, 2.0]}
    with pytest.raises(DataError, match=f"different .* {split} .*{split}.jsonl. has only '2.0': t"):
        read_splits(write_numbers(tmp_path / "own", train=QUARTERS, **splits))
    same = [1.0] * 39 + [2.0]
    with pytest.raises(DataError, match=r"only '1\.0': give another --seed"):
        read_splits(write_numbers(tmp_path / "one", train=same))


@pytest.mark.parametrize("missing", ["nan", "NaN", "-nan", " ", ""])
def test_numbers_stay_regression_beside_missing_ones(tmp_path, missing):
    path = tmp_path / "x.csv"
    path.write_text(f"text,score\nx,{missing}\n" + "".join(f"t{i},{i / 4}\n" for i in range(40)))
    splits = read_splits(find_task(str(path)))
    assert (splits.problem_type, splits.cleaned[0].empty) == ("regression", 1)


@pytest.mark.parametrize("columns", [Columns(), Columns(label="score")])
def test_numbers_of_parquet_stay_regression_beside_nan_and_null(tmp_path, columns):
    table = {"text": [f"t{i}" for i in range(42)], "score": [*QUARTERS, float("nan"), None]}
    parquet.write_table(pyarrow.table(table), tmp_path / "x.parquet")
    splits = read_splits(find_task(str(tmp_path / "x.parquet"), columns))
    assert (splits.problem_type, splits.cleaned[0].empty) == ("regression", 2)


@pytest.mark.parametrize("seed", range(8))
def test_one_file_with_a_rare_label_or_type_is_read_by_any_seed(tmp_path, seed):
    lines = "".join(f"t{i},{'a|b' if i % 2 else 'b'}\n" for i in range(30))
    (tmp_path / "x.csv").write_text(f"text,label\n{lines}x,a|rare\n")
    splits = read_splits(find_task(str(tmp_path / "x.csv"), Columns(separator="|")), seed=seed)
    assert splits.names == ("a", "b", "rare")
    words = [{"tokens": ["अ", f"{i}"], "ner_tags": ["B-PER", "O"]} for i in range(30)]
    words.append({"tokens": ["x", "y"], "ner_tags": ["B-RARE", "I-RARE"]})
    splits = read_splits(find_task(write_rows(tmp_path / "x.jsonl", words)), seed=seed)
    assert splits.names == ("O", "B-PER", "I-PER", "B-RARE", "I-RARE")


def test_type_of_a_test_row_that_cleaning_removes_is_refused(tmp_path):
    rows = [{"tokens": ["अ", f"{i}"], "ner_tags": ["B-PER", "O"]} for i in range(20)]
    write_rows(tmp_path / "train.jsonl", rows)
    new = {"tokens": ["अ", "new"], "ner_tags": ["B-PER", "O"]}
    write_rows(tmp_path / "test.jsonl", [new, {**rows[0], "ner_tags": ["B-LOC", "O"]}])
    with pytest.raises(DataError, match=r"'LOC' occurs only in test"):
        read_test(find_task(str(tmp_path)))
