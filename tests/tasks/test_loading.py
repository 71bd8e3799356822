"""Loading: from a task to its cleaned splits, and what can be wrong with them."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoprune.errors import DataError
from autoprune.tasks.cleaning import fingerprint
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import TASKS, find_task
from autoprune.tasks.task import CleaningReport, Columns, LabelledRows

X, Y = ("x", "y")


def refused(task, match, **options):
    """Both readers refuse the task, so that the search is not begun in vain."""
    for reader in (read_splits, read_test):
        with pytest.raises(DataError, match=match) as caught:
            reader(task, **options)
        assert "\n" not in str(caught.value)


def test_official_files_are_read_and_cleaned(official):
    splits = read_splits(TASKS["shc"], official)
    assert splits.names == TASKS["shc"].labels
    assert splits.train.texts == ("a", "b", "c")
    assert splits.train.labels == (0, 10, 0)
    assert splits.validation.texts == ("d", "e")
    assert splits.cleaned == (
        CleaningReport("train", read=5, headers=1, empty=0, duplicates=1, leaked=0, left=3),
        CleaningReport("validation", read=5, headers=0, empty=1, duplicates=1, leaked=1, left=2),
    )
    test = read_test(TASKS["shc"], official)
    assert test.rows.texts == ("f", "a", "d", "f")
    assert test.rows.labels == (0, 0, 10, 10)
    assert test.kept == (True, False, False, False)
    assert test.cleaned == CleaningReport(
        "test", 5, headers=1, empty=0, duplicates=1, leaked=2, left=1
    )


def test_keep_duplicates_keeps_them(official):
    splits = read_splits(TASKS["shc"], official, keep_duplicates=True)
    assert splits.train.texts == ("a", "b", "a", "c")
    assert splits.validation.texts == ("d", "d", "b", "e")
    assert read_test(TASKS["shc"], official, keep_duplicates=True).kept == (True,) * 4


def test_data_folder_may_come_from_the_environment(official, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_DATA_DIR", str(official))
    assert read_splits(TASKS["shc"]) == read_splits(TASKS["shc"], official)


def test_data_folder_without_the_task_is_an_error_with_the_path(official, tmp_path):
    refused(TASKS["ldc"], r"there is nothing at data/LDC$", data_dir=official)
    refused(TASKS["shc"], r"there is nothing at nowhere$", data_dir=tmp_path / "nowhere")
    (official / "SHC" / "SHC_Test.csv").unlink()
    refused(TASKS["shc"], r"there is nothing at data/SHC/SHC_Test.csv$", data_dir=official)


def test_own_files_that_moved_are_found_in_the_data_folder(write, tmp_path):
    rows = [(f"t{i}", [X, Y][i % 2]) for i in range(40)]
    write("own.csv", rows)
    moved = tmp_path / "moved"
    before = read_splits(find_task("own.csv")).fingerprint
    moved.mkdir()
    Path("own.csv").rename(moved / "own.csv")
    assert read_splits(find_task("own.csv", data_dir=moved)).fingerprint == before
    write("own.csv", rows[::-1])  # another file has its name now
    assert read_splits(find_task("own.csv", data_dir=moved)).fingerprint == before
    assert read_splits(find_task("own.csv")).fingerprint != before
    with pytest.raises(DataError, match=r"--data-dir must be a folder, there is none at gone$"):
        find_task("own.csv", data_dir=Path("gone"))
    Path("gone").mkdir()
    with pytest.raises(DataError, match=r"there is nothing at other.csv$"):
        find_task("./other.csv", data_dir=Path("gone"))


def test_fingerprint_depends_on_every_row(write, tmp_path):
    def fingerprints(train, validation, test):
        for name, rows in (("train", train), ("dev", validation), ("test", test)):
            write(f"own/{name}.csv", rows)
        task = find_task("./own")
        return read_splits(task).fingerprint, read_test(task).fingerprint

    base = [("a", X), ("b", Y), ("c", X)], [("d", X), ("e", Y)], [("f", X), ("g", Y)]
    first = fingerprints(*base)
    assert fingerprints(*base) == first
    seen = {first}
    for train in (
        [("b", Y), ("a", X), ("c", X)],
        [("a", X), ("b", Y), ("c", Y)],
        [("a", X), ("b", Y), ("C", X)],
        [("a", X), ("b", Y)],
        [("a", X), ("b", Y), ("c", X), ("d1:x", X)],
    ):
        read_print, test_print = fingerprints(train, *base[1:])
        assert test_print == first[1]
        seen.add((read_print, test_print))
    seen.add(fingerprints(base[0], [("d", X), ("e", X)], base[2]))
    assert len({read_print for read_print, _ in seen}) == 7
    assert fingerprints(*base[:2], [("f", Y), ("g", Y)])[1] != first[1]


def test_fingerprint_of_texts_with_separators_differs():
    one = LabelledRows(("a1;", "b"), (0, 1))
    assert fingerprint((X, Y), one) != fingerprint((X, Y), LabelledRows(("a", "1;b"), (0, 1)))
    twin = LabelledRows(("x1;y", "z"), (0, 1)), LabelledRows(("x", "y1;z"), (0, 1))
    assert fingerprint((X, Y), twin[0]) != fingerprint((X, Y), twin[1])
    assert fingerprint((X, Y), one) != fingerprint((Y, X), one)
    assert fingerprint((X, Y), one) != fingerprint((X, Y), one, LabelledRows((), ()))


def test_single_file_is_split_in_three(write):
    write("news.csv", [(f"t{i}", "xyz"[i % 3]) for i in range(60)])
    task = find_task("news.csv")
    splits, test = read_splits(task, seed=3), read_test(task, seed=3)
    assert splits.names == ("x", "y", "z")
    assert (len(splits.train), len(splits.validation), len(test.rows)) == (36, 12, 12)
    texts = {*splits.train.texts, *splits.validation.texts, *test.rows.texts}
    assert len(texts) == 60
    assert read_splits(task, seed=4).train != splits.train
    assert read_splits(task).held_out == ("test", "validation")


def test_missing_split_is_held_out_of_train(write):
    write("own/news_TRAIN.csv", [(f"t{i}", "xy"[i % 2]) for i in range(50)])
    write("own/news_Test.csv", [("u", X), ("v", Y)])
    splits, test = read_splits(find_task("own/")), read_test(find_task("own/"))
    assert (len(splits.train), len(splits.validation), len(test.rows)) == (40, 10, 2)
    assert read_splits(find_task("own/")).held_out == ("validation",)


def test_columns_and_second_texts_by_name(write):
    header = ("id", "question", "answer", "verdict")
    for name in ("train", "val", "test"):
        write(
            f"own/{name}.tsv.csv".replace(".tsv", ""),
            [("1", f"q{name}", "a", X), ("2", f"q{name}", "b", Y)],
            header,
        )
    columns = Columns("question", "answer", "verdict")
    splits = read_splits(find_task("./own", columns))
    assert splits.train.texts == ("qtrain", "qtrain")
    assert splits.train.pairs == ("a", "b")
    other = replace(find_task("./own", columns), columns=Columns("question", "id", "verdict"))
    assert read_splits(other).fingerprint != splits.fingerprint


def write_own(write, train, validation=(("d", X), ("e", Y)), test=(("f", X), ("g", Y))):
    write("own/train.csv", train)
    write("own/validation.csv", validation)
    write("own/test.csv", test)
    return find_task("./own")


GOOD = (("a", X), ("b", Y), ("c", X))


def test_labels_are_checked_over_all_splits(write):
    assert read_splits(write_own(write, GOOD)).names == (X, Y)
    refused(
        write_own(write, [("a", X), ("b", X)]), r"at least two labels, .*train.csv has only 'x'"
    )
    refused(write_own(write, [("a", X), ("a", Y)]), r"at least two labels")
    refused(write_own(write, GOOD, [("d", "z\n1")]), r"'z\\n1' occurs only in validation .*valid")
    refused(
        write_own(write, GOOD, test=[("q", "z"), ("r", X)]),
        r"'z' occurs only in test \(own/test.csv, 1 of 2 rows\), train has 'x', 'y': correct those",
    )
    refused(
        write_own(write, GOOD, [("d", "X")]), r"validation.csv has 'X' where 'x' is a label too"
    )
    refused(write_own(write, [*GOOD, ("h", "Y")]), r"train.csv has 'Y' where 'y' is a label too")
    assert read_splits(
        write_own(write, GOOD, [("d", " x "), ("Text", "label")])
    ).validation.labels == (0,)


def test_texts_that_are_numbers_are_told(write):
    numbers = [("1", X), ("2.5", Y), ("-3", X)]
    [warning] = read_splits(write_own(write, numbers)).warnings
    assert "'text' of train has only numbers" in warning and "--text" in warning
    assert read_splits(write_own(write, [*numbers, ("4 ways", Y)])).warnings == ()


def test_unknown_label_of_an_official_task_is_refused(official, write):
    write("data/SHC/SHC_Train.csv", [("a", "Auto"), ("b", "Tech"), ("c", "Weather")])
    refused(
        TASKS["shc"],
        r"labels of this task are Auto, .*SHC_Train.csv has 'Weather'",
        data_dir=official,
    )
    write("data/SHC/SHC_Train.csv", [("a", "Auto"), ("b", "tech")])
    refused(TASKS["shc"], r"has 'tech' where 'Tech' is a label too", data_dir=official)


def test_split_that_cleaning_empties_is_refused(write):
    task = write_own(write, GOOD, [("a", X), ("b", Y)])
    refused(task, r"some validation rows, of 2 .* it left none \(--keep-duplicates")
    assert read_splits(task, keep_duplicates=True).validation.texts == ("a", "b")
    refused(write_own(write, GOOD, test=[("", X)]), "some test rows, of 1", keep_duplicates=True)


def test_folder_without_train_or_with_two_is_refused(write, tmp_path):
    (tmp_path / "own").mkdir()
    refused(find_task("./own"), r"own must have a train file .* it has nothing$")
    write("own/test.csv", GOOD)
    write("own/constrain.csv", GOOD)
    refused(find_task("./own"), r"it has 'constrain.csv', 'test.csv'$")
    write("own/train.csv", GOOD)
    write("own/news-train.tsv", GOOD)
    refused(find_task("./own"), r"one file for train, got 'news-train.tsv', 'train.csv'")
    task = find_task("./own")
    (tmp_path / "own").rename(tmp_path / "gone")
    refused(task, "there is nothing at own")


def test_demo_task_is_complete_and_clean():
    splits, test = read_splits(TASKS["demo"]), read_test(TASKS["demo"])
    assert (len(splits.train), len(splits.validation), len(test.rows)) == (180, 120, 240)
    assert all(c.read == c.left for c in (*splits.cleaned, test.cleaned))
    for rows, each in ((splits.train, 15), (splits.validation, 10), (test.rows, 20)):
        assert [rows.labels.count(label) for label in range(12)] == [each] * 12


def test_columns_taken_are_noted(write):
    def notes(task):
        return [note for note in read_splits(task).notes if "column" in note]

    task = write_own(write, GOOD)
    assert notes(task) == ["text from column 'text', label from column 'label'"]
    write("own/test.csv", [("f", X)], header=("Headline", "Class"))
    assert notes(task) == [
        "train and validation: text from column 'text', label from column 'label'",
        "test: text from column 'Headline', label from column 'Class'",
    ]
    header = ("title", "content", "label")
    for name in ("train", "validation", "test"):
        write(f"own/{name}.csv", [(name, "a", X), (name, "b", Y)], header)
    refused(find_task("./own"), "text columns 'title', 'content', name one by --text")
    pairs = find_task("./own", Columns(pair="content"))
    assert notes(pairs) == [
        "text from column 'title', label from column 'label', second text from column 'content'",
    ]
    write("own/test.csv", [("test", "", X), ("test", "b", Y), ("", "", Y)], header)
    assert "test: rows without a second text, which stay: 1" in read_splits(pairs).notes


def test_cleaning_that_removes_more_than_a_third_is_a_warning(write):
    train = [("a", X), ("b", Y), ("c", X), ("a", X)]
    test = [("f", X), ("a", X), ("b", Y), ("g", ""), ("Text", "Label")]
    splits = read_splits(write_own(write, train, test=test))
    assert splits.warnings == (
        "cleaning removed 4 of the 5 rows of test, of which 2 are also in an earlier split: "
        "are the splits apart?",
    )
    write("own/train.csv", [*train, ("b", X)])
    assert read_splits(find_task("./own")).warnings[0] == (
        "cleaning removed 2 of the 5 rows of train, of which 2 are duplicates: "
        "is this the column of the texts?"
    )
    assert read_splits(write_own(write, [*GOOD, ("c", X)])).warnings == ()
