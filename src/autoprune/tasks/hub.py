"""A data set of the Hugging Face hub, read through `datasets`; its scripts are never run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from autoprune.errors import DataError
from autoprune.tasks.columns import pick
from autoprune.tasks.folders import SPELLINGS
from autoprune.tasks.formats import Column, Table
from autoprune.tasks.raw import Raw
from autoprune.tasks.task import Columns
from autoprune.tasks.wording import first_line, listed


def read_hub(name: str, columns: Columns) -> dict[str, Raw]:
    """Read the train, validation and test splits of the data set `org/name`.

    A split whose labels are all kept back (-1), as in GLUE, is left out. The files are fetched once
    into the cache of `datasets`; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` count. Raises
    `DataError`.
    """
    import datasets  # type: ignore[import-untyped]

    # HTTPError is the client's, be it httpx or httpx2.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    failures = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)

    hid_bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(name)
    except failures as error:
        raise DataError(
            f"cannot read the hub data set {name}: {first_line(error)}; see to the network, or "
            "download its files and give their folder"
        ) from error
    finally:
        if not hid_bars:
            datasets.enable_progress_bars()
    if "train" not in found:
        raise DataError(f"hub data set {name} must have a train split, it has {listed(found)}")
    splits = {
        SPELLINGS[split]: pick(_table(f"{name} ({split})", rows), columns)
        for split, rows in found.items()
        if split in SPELLINGS
    }
    return {split: raw for split, raw in splits.items() if split == "train" or any(raw.labels)}


def _table(origin: str, rows: Any) -> Table:
    columns: dict[str, Sequence[object]] = {
        name: Column(origin, name, rows.data[name], partial(_name, feature))
        for name, feature in rows.features.items()
    }
    if not len(rows):
        raise DataError(f"{origin} must have rows, got none")
    return Table(origin, columns, [f"row {number}" for number in range(1, len(rows) + 1)])


def _name(feature: Any, value: Any) -> object:
    """Turn the numbers of a class label into its names; -1 stands for a label that is kept back."""
    names = getattr(feature, "names", None)
    if names is None or value is None:
        return value
    return names[value] if value >= 0 else None
