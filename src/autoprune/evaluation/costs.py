"""Costs: what a study's models took of disk, memory and time, kept beside the study."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.encoders.profiling import MedianInterval
from autoprune.errors import AutopruneError, StudyError
from autoprune.evaluation.comparison import Comparison
from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout

COST_SCHEMA = 1

COST_FILE = "cost.json"


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """What one model costs: `name` is its origin in the comparison.

    `bytes` on disk, tokenizer included; `peak_bytes` of memory to load it and run a batch, None
    where that was not measured; `latency`, seconds for one text; `throughput`, texts a second in
    batches; `gain`, times the full model's throughput; `flops` a text, padding included.
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
    """The models of a study measured by turns, the full one first, and what there is to say.

    `measured` is ISO 8601 in UTC; `tokens` the longest input; `rounds` how often each was measured;
    `alarms` say where the gain is less than the layers promise.
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
    """Write to a study's folder, in the place of earlier ones; raises `StudyError`."""
    models = [{**dataclasses.asdict(one), "layout": str(one.layout)} for one in costs.models]
    content = {"schema": COST_SCHEMA, **dataclasses.asdict(costs), "models": models}
    write_atomic(folder / COST_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_costs(folder: Path, comparison: Comparison) -> Costs | None:
    """Return what was measured of a study's models, None where nothing was.

    None too where the study recommends another layout now. Raises `StudyError` for a file that
    cannot be read.
    """
    path = folder / COST_FILE
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry.pop("schema") != COST_SCHEMA:
            raise ValueError(f"its schema is not {COST_SCHEMA}")
        costs = _costs(entry)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, AutopruneError) as error:
        raise StudyError(
            f"measured costs must be as this version wrote them, {path} is not "
            f"({type(error).__name__}): run `autoprune cost` again"
        ) from error
    known = {(one.name, one.layout) for one in costs.models}
    best = comparison.row(comparison.recommended)
    return costs if (best.origin, best.layout) in known else None


def _costs(entry: dict[str, Any]) -> Costs:
    models = tuple(_cost_of(one) for one in entry["models"])
    told = {name: tuple(map(str, entry[name])) for name in ("alarms", "notes")}
    return Costs(**entry | told | {"models": models})


def _cost_of(entry: dict[str, Any]) -> MeasuredCost:
    spans = {name: MedianInterval(**entry[name]) for name in ("latency", "throughput", "gain")}
    return MeasuredCost(**entry | spans | {"layout": Layout.parse(entry["layout"])})
