"""Label names: which there are, in which order, and that every split agrees on them."""

import unicodedata

from autoprune.errors import DataError
from autoprune.tasks.cleaning import Sifted
from autoprune.tasks.raw import Raw
from autoprune.tasks.task import Rows
from autoprune.tasks.wording import listed, quoted


def label_names(known: tuple[str, ...] | None, splits: dict[str, Sifted]) -> tuple[str, ...]:
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
            f"labels of this task are {', '.join(names)}; {train.origin} has {listed(strange, 3)}"
        )
    present = set(splits["train"].left().labels)
    if len(present) < 2:
        raise DataError(
            f"a task needs at least two labels, {train.origin} has only {listed(sorted(present))}: "
            "name their column by --label"
        )
    for name, split in splits.items():
        unseen = sorted(set(split.raw.labels) - present)
        if unseen and name != "train":
            raise DataError(
                f"each label must stand in train, {listed(unseen, 3)} stands only in {name} "
                f"({split.raw.origin}): add train rows of it, or take it out"
            )
    return names


def _check_alike(raw: Raw, others: tuple[str, ...]) -> None:
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
                f"labels must not differ only in case or spaces, {raw.origin} has {quoted(label)} "
                f"where {quoted(twin)} is a label too{form}: write them alike"
            )


def _seen(label: str) -> str:
    """Return what a person sees of a label: letters of one case, single spaces.

    Signs without width (Cf) are none, among them the joiners of Indic scripts.
    """
    folded = _composed(label).casefold()
    return " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())


def _composed(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def indexed(raw: Raw, names: tuple[str, ...]) -> Rows:
    """Return the rows with each label's place in `names`."""
    index = {name: place for place, name in enumerate(names)}
    return Rows(raw.texts, tuple(index[label] for label in raw.labels), raw.pairs)
