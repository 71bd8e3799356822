"""Cleaning and splits: remove headers, empty texts, duplicates, leaked rows; hold out rows.

What each step of cleaning removes is counted. The rows that are left have a fingerprint.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from autoprune.errors import DataError, format_count, join_names, quote
from autoprune.tasks.table import TEXT_SPELLINGS
from autoprune.tasks.task import CleaningReport, LabelledRows, RawLabel, RawSplit, RowKey

# The body of MahaNews repeats its header as `Text,Label` even where the columns are `text,labels`.
_HEADER_LABELS = {"label", "labels"}


@dataclass(frozen=True, slots=True)
class CleanedSplit:
    """The rows of one split with a text and a label; `kept` marks those that cleaning keeps."""

    raw: RawSplit
    kept: tuple[bool, ...]
    report: CleaningReport

    def kept_rows(self) -> RawSplit:
        """Return the rows that cleaning keeps."""
        return self.raw.take([index for index, kept in enumerate(self.kept) if kept])


def clean_splits(splits: dict[str, RawSplit], keep_duplicates: bool) -> dict[str, CleanedSplit]:
    """Clean train, validation and test in that order, each compared with those before it."""
    earlier: set[RowKey] = set()
    cleaned = {}
    for name, raw in splits.items():
        cleaned[name] = clean_split(name, raw, earlier, keep_duplicates)
        earlier.update(cleaned[name].raw.keys)
    return cleaned


def clean_split(
    name: str, raw: RawSplit, earlier: set[RowKey], keep_duplicates: bool
) -> CleanedSplit:
    """Clean one split, given the keys of the rows in the splits before it.

    Of duplicates (the same text and second text, whatever the label) the first is kept; a row whose
    key is in `earlier` is leaked and removed. `keep_duplicates` keeps both.
    """
    scorable, headers, empty = find_scorable_rows(raw)
    rows = raw.take(scorable)
    seen: set[RowKey] = set()
    duplicates = leaked = 0
    kept = []
    for key in rows.keys:
        is_leaked = key in earlier and not keep_duplicates
        is_duplicate = key in seen and not keep_duplicates
        seen.add(key)
        duplicates += is_duplicate
        leaked += is_leaked and not is_duplicate
        kept.append(not (is_leaked or is_duplicate))
    report = CleaningReport(name, len(raw), headers, empty, duplicates, leaked, sum(kept))
    return CleanedSplit(rows, tuple(kept), report)


def find_scorable_rows(raw: RawSplit) -> tuple[list[int], int, int]:
    """Return the numbers of rows with a text and a label, and the counts of headers and empty rows.

    A stray header has a common name of a column of texts (in any case) as its text, and `label` or
    `labels` as its label; or the names of both columns. One alone may be a real text or label.
    """
    scorable, headers, empty = [], 0, 0
    names = (raw.text_column.strip().casefold(), raw.label_column.strip().casefold())
    for index, (text, label) in enumerate(zip(raw.texts, raw.labels, strict=True)):
        name = label.casefold() if isinstance(label, str) else ""
        word = text.strip("\ufeff ").casefold()  # with a mark where files were joined
        is_header = name in _HEADER_LABELS and word in {*TEXT_SPELLINGS, names[0]}
        if is_header or (word, name) == names:
            headers += 1
        elif not text or label == "":
            empty += 1
        else:
            scorable.append(index)
    return scorable, headers, empty


def warn_of_loss(split: CleanedSplit) -> str | None:
    """Return a warning where cleaning removes more than a third of a split's rows, else None."""
    report = split.report
    lost = report.read - report.left
    if lost * 3 <= report.read:
        return None
    count, reason = max(
        (report.duplicates, "are duplicates: is this the column of the texts?"),
        (report.leaked, "are also in an earlier split: are the splits apart?"),
        (report.empty, "have no text or no label"),
        (report.headers, "are repeated headers"),
        key=lambda pair: pair[0],
    )
    return (
        f"cleaning removed {lost:,} of the {report.read:,} rows of {report.split}, of which "
        f"{count:,} {reason}"
    )


def warn_of_numbers(split: CleanedSplit) -> str | None:
    """Return a warning where every text of a split is a number, else None."""
    if not all(map(_is_number, split.raw.texts)):
        return None
    return (
        f"column {quote(split.raw.text_column)} of {split.report.split} has only numbers: is this "
        "the column of the texts? --text names it"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_not_empty(raw: RawSplit) -> None:
    """Raise `DataError` where all texts are empty, or all labels."""
    columns = {"text": (raw.text_column, raw.texts), "label": (raw.label_column, raw.labels)}
    for option, (column, values) in columns.items():
        if all(value == "" for value in values):
            raise DataError(
                f"{raw.origin} has nothing in column {quote(column)}: name the column of the "
                f"{option}s by --{option}"
            )


def check_two_labels(origin: str, labels: set[str]) -> None:
    """Raise `DataError` where there are fewer than two labels."""
    if len(labels) < 2:
        raise DataError(
            f"a task needs at least two labels, {origin} has only {join_names(sorted(labels))}: "
            "give rows with other labels, or name their column by --label"
        )


_HELD_OUT_DIVISOR = 5  # one fifth of the train rows for each split that is missing
_MANY_ROWS = 20  # where of so many no label has three, the column does not hold labels


def hold_out_rows(
    raw: RawSplit,
    scorable: list[int],
    splits: list[str],
    seed: int,
    parts: Callable[[RawLabel], Collection[str]] | None = None,
) -> dict[str, RawSplit]:
    """Hold out a fifth of each label's train rows for each of `splits`; return all splits.

    With `parts`, which returns what of a label must occur in train, a fifth of all rows. A row that
    is held out stays in train after all where train would lack a part of its label.

    With validation and test both missing, 60/20/20 % are left. Duplicates stay together, even with
    different labels, so nothing leaks; they count for the label of the first. A label with one or
    two distinct rows stays in train. Only the rows with the numbers `scorable` are held out; the
    others stay in train, where cleaning counts them. Rows keep their order. Raises `DataError`
    where nothing can be held out.
    """
    keys = raw.keys
    stratified, parts = parts is None, parts or (lambda label: {str(label)})
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
    drawn: list[tuple[str, list[int]]] = []
    for label in sorted(groups_of_label):
        groups = groups_of_label[label]
        order = rng.permutation(len(groups))
        size = round(len(groups) / _HELD_OUT_DIVISOR)
        for number, split in enumerate(splits):
            for group in order[number * size : (number + 1) * size]:
                drawn.append((split, groups[group]))
    gone = {row for _, rows in drawn for row in rows}
    # Of duplicates cleaning keeps the first.
    first = [rows[0] for rows in duplicates.values() if rows[0] not in gone]
    known = {part for row in first for part in parts(raw.labels[row])}
    held_out: dict[str, list[int]] = {split: [] for split in splits}
    for split, rows in drawn:
        if all(known.issuperset(parts(raw.labels[row])) for row in rows):
            held_out[split].extend(rows)
    for split, rows in held_out.items():
        if not rows:
            labels = {part for row in scorable for part in parts(raw.labels[row])}
            unlike = labels and len(scorable) >= _MANY_ROWS
            raise DataError(
                f"{raw.origin} must have at least 3 different rows{' of some label' * bool(labels)}"
                f", so that {split} rows can be held out; it has "
                f"{format_count(len(scorable), 'row')}"
                + (f" with {format_count(len(labels), 'label')}" if labels else "")
                + (": is this the column of the labels? --label names it" if unlike else "")
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
