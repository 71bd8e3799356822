"""Cutting a split that the source lacks off the train rows, stratified, by seed."""

import numpy as np

from autoprune.errors import DataError
from autoprune.tasks.raw import Raw
from autoprune.tasks.wording import listed

PART = 5  # one fifth of the train rows for each split that is missing


def cut(raw: Raw, scorable: list[int], splits: list[str], seed: int) -> dict[str, Raw]:
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
            f"a task needs at least two labels, {raw.origin} has only {listed(sorted(labels))}: "
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
        size = round(len(groups) / PART)
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
