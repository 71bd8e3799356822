from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.errors import DataError
from autoprune.tasks.cleaning import hold_out_rows
from autoprune.tasks.task import RawSplit


def rows(labels, texts=None):
    texts = texts or [f"t{i}" for i in range(len(labels))]
    return RawSplit("rows.csv", tuple(texts), tuple(labels), None, "text", "label")


def places(raw):
    return list(range(len(raw)))


def test_hold_out_rows_gives_60_20_20_percent_of_each_label():
    raw = rows(["x"] * 100 + ["y"] * 50 + ["z"] * 10)
    splits = hold_out_rows(raw, places(raw), ["test", "validation"], seed=0)
    assert Counter(splits["train"].labels) == {"x": 60, "y": 30, "z": 6}
    assert Counter(splits["validation"].labels) == {"x": 20, "y": 10, "z": 2}
    assert Counter(splits["test"].labels) == {"x": 20, "y": 10, "z": 2}


def test_hold_out_rows_of_one_split_is_a_fifth_and_depends_on_the_seed():
    raw = rows(["x", "y"] * 50)
    first = hold_out_rows(raw, places(raw), ["validation"], seed=1)
    assert (len(first["train"]), len(first["validation"])) == (80, 20)
    assert first == hold_out_rows(raw, places(raw), ["validation"], seed=1)
    assert first != hold_out_rows(raw, places(raw), ["validation"], seed=2)


def test_rare_labels_and_unscorable_rows_stay_in_train():
    raw = rows(["x"] * 10 + ["rare", "rare", "Label"])
    splits = hold_out_rows(raw, list(range(12)), ["test", "validation"], seed=0)
    assert Counter(splits["train"].labels) == {"x": 6, "rare": 2, "Label": 1}


def test_hold_out_rows_refuses_a_single_label():
    raw = rows(["x", "x", "Label"])
    with pytest.raises(DataError, match=r"at least two labels, rows\.csv has only 'x'"):
        hold_out_rows(raw, [0, 1], ["validation"], seed=0)


def test_hold_out_rows_refuses_too_few_rows():
    raw = rows(["x", "x", "y", "y"])
    with pytest.raises(DataError, match=r"rows\.csv must have at least 3 .* 4 rows with 2 labels$"):
        hold_out_rows(raw, places(raw), ["validation"], seed=0)


def test_hold_out_rows_names_the_option_where_each_row_has_a_label_of_its_own():
    raw = rows([f"row {number}" for number in range(20)])
    with pytest.raises(DataError, match=r"20 rows with 20 labels: is this the column .* --label"):
        hold_out_rows(raw, places(raw), ["validation"], seed=0)


def test_hold_out_rows_refuses_too_few_numbers():
    raw = rows(["0.5", "1.5"])
    with pytest.raises(DataError, match=r"at least 3 different rows, so that .* it has 2 rows$"):
        hold_out_rows(raw, places(raw), ["validation"], seed=0, parts=lambda _: ())


@pytest.mark.parametrize("seed", range(8))
def test_rows_with_a_rare_part_of_a_label_stay_in_train(seed):
    raw = rows([("a",), ("b",)] * 15 + [("a", "rare"), ("rare", "b"), ("rarest", "a")])
    splits = hold_out_rows(raw, places(raw), ["test", "validation"], seed, tuple)
    present = {name for label in splits["train"].labels for name in label}
    assert present == {"a", "b", "rare", "rarest"}
    assert sum(map(len, splits.values())) == len(raw)
    assert all(5 <= len(splits[split]) <= 7 for split in ("test", "validation"))


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_drawn_as_before_where_train_has_every_part(seed):
    raw = rows([("a",), ("b",), ("a", "b")] * 10)
    splits = hold_out_rows(raw, places(raw), ["test", "validation"], seed, tuple)
    order = np.random.default_rng(seed).permutation(30)
    assert splits["test"] == raw.take(sorted(order[:6]))
    assert splits["validation"] == raw.take(sorted(order[6:12]))


@pytest.mark.parametrize("seed", range(8))
def test_label_of_a_duplicate_alone_is_not_held_out(seed):
    raw = rows(["x", "y"] * 10 + ["rare"], [*(f"t{i}" for i in range(20)), "t0"])
    splits = hold_out_rows(raw, places(raw), ["test", "validation"], seed)
    assert "rare" in splits["train"].labels


@given(
    data=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xy")), min_size=8),
    seed=st.integers(0, 99),
)
def test_hold_out_rows_is_an_ordered_partition_that_keeps_duplicates_together(data, seed):
    data = [*data, *((t, "z") for t in "pqr")]
    raw = rows([label for _, label in data], [text for text, _ in data])
    splits = hold_out_rows(raw, places(raw), ["test", "validation"], seed)
    assert sum(
        (Counter(zip(s.texts, s.labels, strict=True)) for s in splits.values()), Counter()
    ) == (Counter(data))
    owners = [set(s.texts) for s in splits.values()]  # with whatever label
    assert len(set().union(*owners)) == sum(len(owner) for owner in owners)
    firsts = dict(reversed(data))  # of equal texts cleaning keeps the first
    assert set(splits["train"].labels) >= set(firsts.values())
    for split in splits.values():
        left = iter(data)
        assert all(row in left for row in zip(split.texts, split.labels, strict=True))
