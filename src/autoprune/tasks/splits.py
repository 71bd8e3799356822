"""Cutting a split that the source lacks off the train rows, stratified, by seed."""

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np

from autoprune.errors import DataError, join_names, quote
from autoprune.tasks.cleaning import CleanedSplit
from autoprune.tasks.task import LabelledRows, RawSplit


def fingerprint(names: Iterable[str], *splits: LabelledRows) -> str:
    """Return the SHA-256, in hex, over the label names and the rows of each split.

    Every text goes in behind its length in bytes, so no two different lists of rows are written
    the same way.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        content = text.encode()
        digest.update(b"%d:" % len(content) + content)

    listed = tuple(names)
    digest.update(b"names %d;" % len(listed))
    for name in listed:
        add(name)
    for rows in splits:
        digest.update(b"rows %d pairs %d;" % (len(rows), rows.pairs is not None))
        for place, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
            digest.update(b"%d;" % label)
            add(text)
            if rows.pairs is not None:
                add(rows.pairs[place])
    return digest.hexdigest()


def label_names(known: tuple[str, ...] | None, splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return the label names in index order: `known`, else those of the train split, sorted.

    Raises `DataError` unless the train split has two labels, no two labels differ only in case,
    spaces or how Unicode writes them, and each label of validation and test stands in train.
    """
    train = splits["train"].raw
    for split in splits.values():
        _check_alike(split.raw, (*(known or ()), *train.labels))
    names = known or tuple(sorted(set(train.labels)))
    strange = sorted(set(train.labels) - set(names))
    if strange:
        raise DataError(
            f"labels of this task are {', '.join(names)}; {train.origin} has {join_names(strange, 3)}"
        )
    present = set(splits["train"].left().labels)
    if len(present) < 2:
        raise DataError(
            f"a task needs at least two labels, {train.origin} has only {join_names(sorted(present))}: "
            "name their column by --label"
        )
    for name, split in splits.items():
        unseen = sorted(set(split.raw.labels) - present)
        if unseen and name != "train":
            raise DataError(
                f"each label must stand in train, {join_names(unseen, 3)} stands only in {name} "
                f"({split.raw.origin}): add train rows of it, or take it out"
            )
    return names


def _check_alike(raw: RawSplit, others: tuple[str, ...]) -> None:
    first: dict[str, str] = {}
    for label in dict.fromkeys((*others, *raw.labels)):
        twin = first.setdefault(_seen(label), label)
        if twin != label:
            form = ""  # said where the two look alike in a message
            if _composed(label) == _composed(twin):
                form = " in another Unicode form"
            elif label.split() == twin.split():
                form = " with other spaces"
            raise DataError(
                f"labels must not differ only in case or spaces, {raw.origin} has {quote(label)} "
                f"where {quote(twin)} is a label too{form}: write them alike"
            )


def _seen(label: str) -> str:
    """Return what a person sees of a label: letters of one case, single spaces.

    Signs without width (Cf) are none, among them the joiners of Indic scripts.
    """
    folded = _composed(label).casefold()
    return " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())


def _composed(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def index_labels(raw: RawSplit, names: tuple[str, ...]) -> LabelledRows:
    """Return the rows with each label's place in `names`."""
    index = {name: place for place, name in enumerate(names)}
    return LabelledRows(raw.texts, tuple(index[label] for label in raw.labels), raw.pairs)


HELD_OUT_SHARE = 5  # one fifth of the train rows for each split that is missing


def hold_out_rows(
    raw: RawSplit, scorable: list[int], splits: list[str], seed: int
) -> dict[str, RawSplit]:
    """Cut a fifth of each label's rows off the train split `raw` for each of `splits`.

    With validation and test both missing 60/20/20 are left. Equal rows stay together, those with
    another label too, so a cut leaks nothing; they count for the label of the first of them. A
    label of one or two different rows stays in train whole. Only the rows at
    the places `scorable` are cut, the rest stays in train, where cleaning counts it. The rows
    keep their order. Raises `DataError` where nothing can be cut.
    """
    keys = raw.keys
    labels = {raw.labels[place] for place in scorable}
    if len(labels) < 2:
        raise DataError(
            f"a task needs at least two labels, {raw.origin} has only {join_names(sorted(labels))}: "
            "name their column by --label"
        )
    equal: dict[object, list[int]] = {}
    for place in scorable:
        equal.setdefault(keys[place], []).append(place)
    of_label: dict[str, list[list[int]]] = {}
    for places in equal.values():
        of_label.setdefault(raw.labels[places[0]], []).append(places)
    rng = np.random.default_rng(seed)
    taken: dict[str, list[int]] = {split: [] for split in splits}
    for label in sorted(of_label):
        groups = of_label[label]
        order = rng.permutation(len(groups))
        size = round(len(groups) / HELD_OUT_SHARE)
        for part, split in enumerate(splits):
            for group in order[part * size : (part + 1) * size]:
                taken[split].extend(groups[group])
    for split, places in taken.items():
        if not places:
            raise DataError(
                f"{raw.origin} must have at least 3 different rows of some label, so that "
                f"{split} rows can be cut off; it has {len(scorable)} rows"
            )
    gone = {place for places in taken.values() for place in places}
    rest = [place for place in range(len(raw)) if place not in gone]
    return {
        "train": raw.take(rest),
        **{split: raw.take(sorted(places)) for split, places in taken.items()},
    }
