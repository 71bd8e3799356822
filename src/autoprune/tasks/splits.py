"""Splits: index the labels, hold out rows for missing splits (stratified), fingerprint the rows."""

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np

from autoprune.errors import DataError, join_names, quote
from autoprune.tasks.cleaning import CleanedSplit
from autoprune.tasks.task import LabelledRows, RawSplit

_HELD_OUT_DIVISOR = 5  # one fifth of the train rows for each split that is missing


def hold_out_rows(
    raw: RawSplit, scorable: list[int], splits: list[str], seed: int
) -> dict[str, RawSplit]:
    """Hold out a fifth of each label's train rows for each of `splits`; return all splits.

    With validation and test both missing, 60/20/20 % are left. Duplicates stay together, even with
    different labels, so nothing leaks; they count for the label of the first. A label with one or
    two distinct rows stays in train. Only the rows with the numbers `scorable` are held out; the
    others stay in train, where cleaning counts them. Rows keep their order. Raises `DataError`
    where nothing can be held out.
    """
    keys = raw.keys
    _check_two_labels(raw.origin, {raw.labels[row] for row in scorable})
    duplicates: dict[object, list[int]] = {}
    for row in scorable:
        duplicates.setdefault(keys[row], []).append(row)
    groups_of_label: dict[str, list[list[int]]] = {}
    for rows in duplicates.values():
        groups_of_label.setdefault(raw.labels[rows[0]], []).append(rows)
    rng = np.random.default_rng(seed)
    held_out: dict[str, list[int]] = {split: [] for split in splits}
    for label in sorted(groups_of_label):
        groups = groups_of_label[label]
        order = rng.permutation(len(groups))
        size = round(len(groups) / _HELD_OUT_DIVISOR)
        for number, split in enumerate(splits):
            for group in order[number * size : (number + 1) * size]:
                held_out[split].extend(groups[group])
    for split, rows in held_out.items():
        if not rows:
            raise DataError(
                f"{raw.origin} must have at least 3 different rows of some label, so that "
                f"{split} rows can be held out; it has {len(scorable)} rows"
            )
    gone = {row for rows in held_out.values() for row in rows}
    return {
        "train": raw.take([row for row in range(len(raw)) if row not in gone]),
        **{split: raw.take(sorted(rows)) for split, rows in held_out.items()},
    }


def label_names(known: tuple[str, ...] | None, splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return the labels in index order: `known`, else those of the train split, sorted.

    Raises `DataError` unless the train split has two labels, no two labels differ only in case,
    spaces or Unicode form, and each label of validation and test occurs in train.
    """
    train = splits["train"].raw
    for split in splits.values():
        _check_distinguishable(split.raw, (*(known or ()), *train.labels))
    names = known or tuple(sorted(set(train.labels)))
    unknown = sorted(set(train.labels) - set(names))
    if unknown:
        raise DataError(
            f"labels of this task are {', '.join(names)}; "
            f"{train.origin} has {join_names(unknown, 3)}"
        )
    present = set(splits["train"].kept_rows().labels)
    _check_two_labels(train.origin, present)
    for name, split in splits.items():
        unseen = sorted(set(split.raw.labels) - present)
        if unseen and name != "train":
            raise DataError(
                f"each label must occur in train, {join_names(unseen, 3)} occurs only in {name} "
                f"({split.raw.origin}): add train rows of it, or remove it"
            )
    return names


def index_labels(raw: RawSplit, names: tuple[str, ...]) -> LabelledRows:
    """Return the rows with each label replaced by its index in `names`."""
    index = {name: number for number, name in enumerate(names)}
    return LabelledRows(raw.texts, tuple(index[label] for label in raw.labels), raw.pairs)


def fingerprint(names: Iterable[str], *splits: LabelledRows) -> str:
    """Return the SHA-256, in hex, of the label names and the rows of each split.

    Each text is preceded by its length in bytes, so different lists of rows give different bytes.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        content = text.encode()
        digest.update(b"%d:" % len(content) + content)

    labels = tuple(names)
    digest.update(b"names %d;" % len(labels))
    for label in labels:
        add(label)
    for rows in splits:
        digest.update(b"rows %d pairs %d;" % (len(rows), rows.pairs is not None))
        for row, (text, index) in enumerate(zip(rows.texts, rows.labels, strict=True)):
            digest.update(b"%d;" % index)
            add(text)
            if rows.pairs is not None:
                add(rows.pairs[row])
    return digest.hexdigest()


def _check_two_labels(origin: str, labels: set[str]) -> None:
    if len(labels) < 2:
        raise DataError(
            f"a task needs at least two labels, {origin} has only {join_names(sorted(labels))}: "
            "name their column by --label"
        )


def _check_distinguishable(raw: RawSplit, others: tuple[str, ...]) -> None:
    first: dict[str, str] = {}
    for label in dict.fromkeys((*others, *raw.labels)):
        similar = first.setdefault(_visible(label), label)
        if similar != label:
            difference = ""  # named where the two look the same in a message
            if unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", similar):
                difference = " in another Unicode form"
            elif label.split() == similar.split():
                difference = " with other spaces"
            raise DataError(
                f"labels must not differ only in case or spaces, {raw.origin} has {quote(label)} "
                f"where {quote(similar)} is a label too{difference}: write them alike"
            )


def _visible(label: str) -> str:
    """Return what a person sees of a label: letters of one case, single spaces.

    Characters without width (Cf) are removed, among them the joiners of Indic scripts.
    """
    folded = unicodedata.normalize("NFC", label).casefold()
    visible = "".join(char for char in folded if unicodedata.category(char) != "Cf")
    return " ".join(visible.split())
