"""Costs: the disk space, memory and time of a study's models, in a file beside the study."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.statistics import MedianInterval
from autoprune.files import check_value_type, load_json, reading, write_atomic
from autoprune.layouts.layout import Layout

COST_SCHEMA = 1

COST_FILE = "cost.json"


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """What one model costs; `name` is its origin in the comparison.

    `bytes` is its size on disk with the tokenizer; `peak_bytes` the memory to load it and run a
    batch, None where that was not measured; `latency` the seconds for one text; `throughput` the
    texts a second in batches; `gain` the throughput as a multiple of the full model's; `flops` the
    operations a text, padding included.
    """

    name: str
    layout: Layout
    parameters: int
    embeddings: int
    bytes: int
    peak_bytes: int | None
    latency: MedianInterval
    throughput: MedianInterval
    gain: MedianInterval
    flops: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The models of a study measured in turns, the full one first.

    `measured` is ISO 8601 in UTC; `tokens` the longest input; `rounds` how often each was measured;
    `alarms` name models whose gain is less than their number of layers promises.
    """

    measured: str
    device: str
    versions: dict[str, str]
    batch: int
    rounds: int
    tokens: int
    models: tuple[MeasuredCost, ...]
    alarms: tuple[str, ...]
    notes: tuple[str, ...]


def write_costs(folder: Path, costs: Costs) -> None:
    """Write the costs to a study's folder in place of earlier ones; raises `StudyError`."""
    models = [{**dataclasses.asdict(cost), "layout": str(cost.layout)} for cost in costs.models]
    content = {"schema": COST_SCHEMA, **dataclasses.asdict(costs), "models": models}
    write_atomic(folder / COST_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_costs(folder: Path, comparison: Comparison) -> Costs | None:
    """Return the measured costs of a study's models, None where there are none.

    None, too, where the study now recommends a layout that was not measured. Raises `StudyError`
    for a file that cannot be read.
    """
    path = folder / COST_FILE
    kind, remedy = "costs of this version", "run `autoprune cost` again"
    try:
        with reading(path, kind, remedy):
            entry = load_json(path, kind, remedy)
            if entry.pop("schema") != COST_SCHEMA:
                raise ValueError(f"its schema is not {COST_SCHEMA}")
            models = tuple(_measured_cost(fields) for fields in entry["models"])
            texts = {name: tuple(entry[name]) for name in ("alarms", "notes")}
            costs = Costs(**entry | texts | {"models": models})
            check_value_type(costs, Costs, "costs")
    except FileNotFoundError:
        return None
    measured = {(cost.name, cost.layout) for cost in costs.models}
    recommended = comparison.row(comparison.best)
    return costs if (recommended.origin, recommended.layout) in measured else None


def _measured_cost(entry: dict[str, Any]) -> MeasuredCost:
    intervals = {name: MedianInterval(**entry[name]) for name in ("latency", "throughput", "gain")}
    return MeasuredCost(**entry | intervals | {"layout": Layout.parse(entry["layout"])})
