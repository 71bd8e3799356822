"""Splits: hold out rows for missing splits (stratified), fingerprint the rows."""

import hashlib
from collections.abc import Iterable

import numpy as np

from autoprune.errors import DataError
from autoprune.tasks.labels import check_two_labels
from autoprune.tasks.task import LabelledRows, RawSplit

_HELD_OUT_DIVISOR = 5  # one fifth of the train rows for each split that is missing


def hold_out_rows(
    raw: RawSplit, scorable: list[int], splits: list[str], seed: int, stratified: bool = True
) -> dict[str, RawSplit]:
    """Hold out a fifth of each label's train rows for each of `splits`; return all splits.

    Without `stratified`, a fifth of all rows.

    With validation and test both missing, 60/20/20 % are left. Duplicates stay together, even with
    different labels, so nothing leaks; they count for the label of the first. A label with one or
    two distinct rows stays in train. Only the rows with the numbers `scorable` are held out; the
    others stay in train, where cleaning counts them. Rows keep their order. Raises `DataError`
    where nothing can be held out.
    """
    keys = raw.keys
    if stratified:
        check_two_labels(raw.origin, {str(raw.labels[row]) for row in scorable})
    duplicates: dict[object, list[int]] = {}
    for row in scorable:
        duplicates.setdefault(keys[row], []).append(row)
    groups_of_label: dict[str, list[list[int]]] = {}
    for rows in duplicates.values():
        label = str(raw.labels[rows[0]]) if stratified else ""
        groups_of_label.setdefault(label, []).append(rows)
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
            digest.update(f"{index!r};".encode())
            add(text)
            if rows.pairs is not None:
                add(rows.pairs[row])
    return digest.hexdigest()
