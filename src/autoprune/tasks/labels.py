"""Labels: numbers are written alike, spellings are merged, names are put in order and checked."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import DataError, join_names, quote
from autoprune.tasks.cleaning import CleanedSplit, check_two_labels, find_scorable_rows
from autoprune.tasks.tags import OUTSIDE, unify_tags
from autoprune.tasks.task import LabelledRows, RawLabel, RawSplit

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")

_WHOLE_FLOAT = re.compile(r"([+-]?[0-9]{1,100})\.0*")


def is_hidden(raw: RawSplit) -> bool:
    """Return whether no row of a split has a label: all are empty, or -1 as in GLUE."""
    return {*_members(raw.labels)} <= {"", "-1", "-1.0"}


def unify_numbers(splits: dict[str, RawSplit]) -> dict[str, RawSplit]:
    """Return the splits with `1.0` written as `1` and `nan` as no label.

    Only where all labels of all splits are whole numbers; else nothing changes.
    """
    found = _scorable_labels(splits)
    floats = {label: match[1] for label in found if (match := _WHOLE_FLOAT.fullmatch(label))}
    missing = {label for label in found if label.casefold() == "nan"}
    rest = found - floats.keys() - missing
    if found == missing or not all(map(_WHOLE_NUMBER.fullmatch, rest)):
        return splits
    changed = {label: str(int(digits)) for label, digits in floats.items()}
    return _rename(splits, changed | dict.fromkeys(missing, ""))


def merge_spellings(
    splits: dict[str, RawSplit], known: tuple[str, ...] | None
) -> dict[str, RawSplit]:
    """Merge labels that differ only in case, spaces or Unicode form; the notes name each.

    A known label keeps its spelling; else the one that most train rows have is kept.
    """
    counts = Counter(_members(splits["train"].labels))
    order = [*(known or ()), *(label for label, _ in counts.most_common())]
    found = sorted(_scorable_labels(splits))
    kept: dict[str, str] = {}
    for label in (*order, *found):
        kept.setdefault(_visible(label), label)
    changed = {label: name for label in found if (name := kept[_visible(label)]) != label}
    merged = _rename(splits, changed)
    for split, raw in splits.items():
        rows = Counter(_members(raw.labels))
        notes = tuple(
            f"label {quote(label)} is read as {quote(name)} in {rows[label]} "
            f"{'row' if rows[label] == 1 else 'rows'} (--merge-labels)"
            for label, name in changed.items()
            if rows[label]
        )
        merged[split] = replace(merged[split], notes=(*raw.notes, *notes))
    return merged


def label_names(known: tuple[str, ...] | None, splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return the labels in index order: `known`, else those of the train split.

    The latter have the order of their `datasets.ClassLabel`; without one, whole numbers have
    numeric order, and texts are sorted. Raises `DataError` unless the train split has two labels,
    no two labels differ only in case, spaces or Unicode form, and each label of validation and test
    occurs in train.
    """
    train = splits["train"].raw
    found = set(_members(train.labels))
    for split in splits.values():
        _check_distinguishable(split.raw, (*(known or ()), *_members(train.labels)))
    names = known or order_labels(found, train.classes)
    unknown = sorted(found - set(names))
    if unknown:
        raise DataError(
            f"labels of this task are {', '.join(names)}; "
            f"{train.origin} has {join_names(unknown, 3)}"
        )
    present = set(_members(splits["train"].kept_rows().labels))
    check_two_labels(train.origin, present)
    for name, split in splits.items():
        _check_present(name, split.raw, present, names)
    return names


def order_labels(labels: Iterable[str], classes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return different labels in the order of `classes`; without it, numeric or sorted.

    >>> order_labels({"10", "9"}), order_labels({"b", "a"}), order_labels({"b", "a"}, "cba")
    (('9', '10'), ('a', 'b'), ('b', 'a'))
    """
    found = set(labels)
    if found <= set(classes):
        return tuple(name for name in dict.fromkeys(classes) if name in found)
    if all(map(_WHOLE_NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


_SEPARATORS = "|;,"


def warn_of_separator(names: Sequence[str]) -> str | None:
    """Return a warning where labels look like several in one, such as `a|b` beside `a|c`.

    That is where their parts are fewer than they are.
    """
    for separator in _SEPARATORS:
        joined = [name for name in names if separator in name]
        parts = {part.strip() for name in names for part in name.split(separator)}
        if joined and len(parts) < len(names):
            return (
                f"labels such as {quote(joined[0])} look like several in one: if a row may have "
                f"several, give --label-separator {quote(separator)}; if not, --problem-type "
                f"{PROBLEM_TYPE_NAMES[0]}"
            )
    return None


def _members(labels: Iterable[RawLabel]) -> Iterator[str]:
    """Yield each label, of several ones of a row each."""
    for label in labels:
        yield from (label,) if isinstance(label, str) else label


def _index_classes(raw: RawSplit, names: tuple[str, ...]) -> LabelledRows:
    index = {name: number for number, name in enumerate(names)}
    return LabelledRows(raw.texts, tuple(index[str(label)] for label in raw.labels), raw.pairs)


def _index_sets(raw: RawSplit, names: tuple[str, ...]) -> LabelledRows:
    rows = (tuple(int(name in label) for name in names) for label in raw.labels)
    return LabelledRows(raw.texts, tuple(rows), raw.pairs)


def _index_numbers(raw: RawSplit, _: tuple[str, ...]) -> LabelledRows:
    return LabelledRows(raw.texts, tuple(float(str(label)) for label in raw.labels), raw.pairs)


def _index_tags(raw: RawSplit, names: tuple[str, ...]) -> LabelledRows:
    index = {name: number for number, name in enumerate(names)}
    rows = (tuple(index[tag] for tag in label) for label in raw.labels)
    return LabelledRows(raw.texts, tuple(rows), by_word=True)


def _number_name(_: tuple[str, ...] | None, splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return the name of what is predicted; raises `DataError` where a split has one number."""
    train = splits["train"].raw
    for name, split in splits.items():
        found = {*split.kept_rows().labels}
        if len(found) > 1:
            continue
        remedy = f"take it out, and a fifth of train is held out as {name}"
        if split.raw.origin == train.origin:
            remedy = "name their column by --label" if name == "train" else "give another --seed"
        raise DataError(
            f"regression needs different numbers in each split, {name} ({split.raw.origin}) has "
            f"only {join_names(map(str, found))}: {remedy}"
        )
    return (train.label_column,)


def _entity_types(tags: Iterable[str]) -> set[str]:
    return {tag[2:] for tag in tags if tag != OUTSIDE}


def _tag_names(_: tuple[str, ...] | None, splits: dict[str, CleanedSplit]) -> tuple[str, ...]:
    """Return `O`, then B and I of each entity type of train; raises `DataError` for unknown ones.

    The order is what `training.metrics.find_entities` takes.
    """
    types = {
        # All test rows are scored once, also those that cleaning removes.
        name: _entity_types(_members((split.raw if name == "test" else split.kept_rows()).labels))
        for name, split in splits.items()
    }
    if not types["train"]:
        raise DataError(
            f"token classification needs entities, all words of {splits['train'].raw.origin} have "
            f"the tag {OUTSIDE}: name their column by --label"
        )
    for name, found in types.items():
        if unseen := sorted(found - types["train"]):
            raise DataError(
                f"each entity type must occur in train, {join_names(unseen, 3)} occurs only in "
                f"{name} ({splits[name].raw.origin}): correct those tags, take the rows out, or "
                "add train rows of that type"
            )
    ordered = (f"{prefix}-{kind}" for kind in sorted(types["train"]) for prefix in "BI")
    return (OUTSIDE, *ordered)


def _as_they_are(splits: dict[str, RawSplit]) -> dict[str, RawSplit]:
    return splits


def _check_present(name: str, raw: RawSplit, present: set[str], names: tuple[str, ...]) -> None:
    unseen = Counter(label for label in _members(raw.labels) if label not in present)
    if unseen and name != "train":
        known = join_names((label for label in names if label in present), 6)
        raise DataError(
            f"each label must occur in train, {join_names(sorted(unseen), 3)} occurs only in "
            f"{name} ({raw.origin}, {unseen.total()} of {len(raw)} rows), train has {known}: "
            "correct those rows, take them out, or add train rows of that label"
        )


def _scorable_labels(splits: Mapping[str, RawSplit]) -> set[str]:
    rows = (raw.labels[row] for raw in splits.values() for row in find_scorable_rows(raw)[0])
    return set(_members(rows))


def _rename(splits: dict[str, RawSplit], changed: Mapping[str, str]) -> dict[str, RawSplit]:
    def new_name(label: RawLabel) -> RawLabel:
        if isinstance(label, str):
            return changed.get(label, label)
        names = [changed.get(name, name) for name in label]
        kept = tuple(new for new, name in zip(names, label, strict=True) if new or not name)
        return kept or ("" if label else label)

    return {
        name: replace(
            raw,
            labels=tuple(map(new_name, raw.labels)),
            classes=tuple(changed.get(name, name) for name in raw.classes),
        )
        for name, raw in splits.items()
    }


def _check_distinguishable(raw: RawSplit, others: tuple[str, ...]) -> None:
    first: dict[str, str] = {}
    pairs = []
    for label in dict.fromkeys((*others, *_members(raw.labels))):
        similar = first.setdefault(_visible(label), label)
        if similar != label:
            difference = ""  # named where the two look the same in a message
            if unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", similar):
                difference = " in another Unicode form"
            elif label.split() == similar.split():
                difference = " with other spaces"
            elif _without_joiners(label) == _without_joiners(similar):
                difference = " with another joiner or sign without width"
            pairs.append(f"{quote(label)} where {quote(similar)} is a label too{difference}")
    if pairs:
        more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
        raise DataError(
            f"labels must not differ only in case or spaces, {raw.origin} has "
            f"{', '.join(pairs[:3])}{more}: write them alike, or give --merge-labels to read them "
            "as one"
        )


def _visible(label: str) -> str:
    """Return what a person sees of a label: letters of one case, single spaces.

    Characters without width (Cf) are removed, among them the joiners of Indic scripts.
    """
    folded = unicodedata.normalize("NFC", label).casefold()
    return " ".join(_without_joiners(folded).split())


def _without_joiners(label: str) -> str:
    return "".join(char for char in label if unicodedata.category(char) != "Cf")


@dataclass(frozen=True, slots=True)
class LabelKind:
    """How labels as read become those of a problem type.

    `unify` writes equal labels of all splits alike. `names` returns the names that a model has for
    its outputs, given the known ones, and `index` the rows with labels by these names; both raise
    `DataError`. `parts` returns what of a label must occur in train; None: a row has one class.
    """

    unify: Callable[[dict[str, RawSplit]], dict[str, RawSplit]]
    names: Callable[[tuple[str, ...] | None, dict[str, CleanedSplit]], tuple[str, ...]]
    index: Callable[[RawSplit, tuple[str, ...]], LabelledRows]
    parts: Callable[[RawLabel], Collection[str]] | None = None


LABEL_KINDS: dict[str, LabelKind] = {
    "single_label_classification": LabelKind(unify_numbers, label_names, _index_classes),
    "multi_label_classification": LabelKind(unify_numbers, label_names, _index_sets, tuple),
    "regression": LabelKind(_as_they_are, _number_name, _index_numbers, lambda _: ()),
    "token_classification": LabelKind(unify_tags, _tag_names, _index_tags, _entity_types),
}
"""By the name of a problem type."""
