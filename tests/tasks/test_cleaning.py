from hypothesis import given
from hypothesis import strategies as st

from autoprune.tasks.cleaning import clean_split, clean_splits, find_scorable_rows
from autoprune.tasks.task import CleaningReport, RawSplit


def raw(*rows, columns=("text", "label")):
    texts, labels = zip(*rows, strict=True)
    return RawSplit("rows.csv", texts, labels, None, *columns)


def test_clean_splits_gives_known_answers():
    splits = {
        "train": raw(("a", "x"), ("Text", "Label"), ("", "x"), ("b", "y"), ("a", "y"), ("a", "x")),
        "validation": raw(("c", "x"), ("a", "x"), ("a", "x"), ("c", "x"), ("d", "")),
        "test": raw(("Texts", "labels"), ("c", "x"), ("b", "x"), ("e", "y"), ("e", "y")),
    }
    cleaned = clean_splits(splits, keep_duplicates=False)
    assert [split.report for split in cleaned.values()] == [
        CleaningReport("train", read=6, headers=1, empty=1, duplicates=2, leaked=0, left=2),
        CleaningReport("validation", read=5, headers=0, empty=1, duplicates=2, leaked=1, left=1),
        CleaningReport("test", read=5, headers=1, empty=0, duplicates=1, leaked=2, left=1),
    ]
    assert [split.kept_rows().texts for split in cleaned.values()] == [("a", "b"), ("c",), ("e",)]
    assert cleaned["train"].kept_rows().labels == ("x", "y")
    assert cleaned["test"].raw.texts == ("c", "b", "e", "e")
    assert cleaned["test"].kept == (False, False, True, False)


def test_keep_duplicates_keeps_all_scorable_rows():
    split = clean_split(
        "test", raw(("a", "x"), ("a", "x"), ("", "x"), ("title", "Label")), {("a", None)}, True
    )
    assert split.report == CleaningReport(
        "test", 4, headers=1, empty=1, duplicates=0, leaked=0, left=2
    )
    assert split.kept == (True, True)


def test_second_text_distinguishes_rows():
    rows = RawSplit("f", ("a", "a", "a"), ("x", "x", "x"), ("b", "c", "b"), "text", "label")
    assert clean_split("train", rows, set(), False).kept == (True, True, False)
    assert clean_split("train", rows, {("a", None)}, False).kept == (True, True, False)
    assert clean_split("train", rows, {("a", "c")}, False).kept == (True, False, False)


def test_label_like_its_column_is_a_header_only_beside_the_text_column():
    rows = raw(("hi", "spam"), ("message", "Spam"), ("message", "ham"), columns=("Message", "spam"))
    assert find_scorable_rows(rows) == ([0, 2], 1, 0)
    rows = raw(("hi", "Label"), ("text", "Figure"), ("\ufeffText", "Label"))
    assert find_scorable_rows(rows) == ([0, 1], 1, 0)


WORDS = st.sampled_from(["", "a", "b", "c", "text", "Text"])
ROWS = st.lists(st.tuples(WORDS, st.sampled_from(["", "x", "y", "Label"])), min_size=1, max_size=12)


@given(splits=st.lists(ROWS, min_size=3, max_size=3))
def test_cleaning_is_idempotent_and_counts_every_row(splits):
    named = dict(zip(("train", "validation", "test"), (raw(*r) for r in splits), strict=True))
    once = clean_splits(named, keep_duplicates=False)
    for split in once.values():
        c = split.report
        assert c.read == c.headers + c.empty + c.duplicates + c.leaked + c.left
        assert c.left == len(split.kept_rows()) == sum(split.kept)
    texts = [text for split in once.values() for text in split.kept_rows().texts]
    assert len(texts) == len(set(texts))
    again = clean_splits({name: split.kept_rows() for name, split in once.items()}, False)
    assert all(all(split.kept) for split in again.values())
    assert [s.kept_rows() for s in again.values()] == [s.kept_rows() for s in once.values()]
