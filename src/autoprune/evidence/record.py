"""A record: one measurement with everything needed to repeat it."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from autoprune.layouts.layout import Layout
from autoprune.scoring.budget import Budget
from autoprune.scoring.score import Score

SCHEMA = 1

Phase = Literal["search", "tuning", "comparison"]
Start = Literal["pretrained", "random"]
State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement of one candidate; written once, never edited.

    `origin` is who proposed the layout (a strategy, a sampler, `found`, `full`, `scratch`, a
    rival); `model` is `name@commit`. A complete search or tuning holds its validation score; a
    comparison holds `validation`, `test` (cleaned) and `test-raw`, and in `predictions` the label
    index predicted for each raw test row; a pruned trial holds its last validation score, a failed
    one none, and the `reason`. `fingerprints` are of the data, `finished` is ISO 8601 in UTC.
    """

    phase: Phase
    origin: str
    layout: Layout
    start: Start
    model: str
    task: str
    metric: str
    budget: Budget
    seed: int
    scores: tuple[Score, ...]
    parameters: int
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    finished: str
    predictions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    state: State = "complete"
    reason: str = ""
    schema: int = SCHEMA

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        for score in self.scores:
            if score.split == split:
                return score
        raise KeyError(split)


def now() -> str:
    """Return the time, ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def identity(
    model: str,
    start: str,
    layout: Layout,
    seed: int,
    budget: Budget,
    task: str,
    metric: str,
    fingerprints: dict[str, str],
) -> Hashable:
    """Return what two measurements share only if one repeats the other."""
    return model, start, layout, seed, budget, task, metric, tuple(sorted(fingerprints.items()))


def key(record: Record) -> Hashable:
    """Return the `identity` of a record's measurement."""
    return identity(
        record.model,
        record.start,
        record.layout,
        record.seed,
        record.budget,
        record.task,
        record.metric,
        record.fingerprints,
    )


def repeated(records: Iterable[Record]) -> int:
    """Count the measurements made again with the same key in the same phase; failures aside."""
    made = Counter((r.phase, key(r)) for r in records if r.state != "failed")
    return sum(times - 1 for times in made.values())
