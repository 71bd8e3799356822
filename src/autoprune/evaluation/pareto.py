"""The front: how much quality each number of layers buys, and which of them to take."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.evaluation.comparison import Comparison
from autoprune.layouts.layout import Layout


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model costs: weights, megabytes (10^6 bytes) on disk, and time on one device.

    `megabytes` count the tokenizer too; `latency_ms` is of one text, the median, `latency_low_ms`
    and `latency_high_ms` its 95 % interval; `per_second` the texts a second in batches, likewise.
    """

    parameters: int
    megabytes: float
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    per_second: float
    per_second_low: float
    per_second_high: float

    @property
    def latency(self) -> tuple[float, float]:
        """The ends of the latency's interval, in milliseconds."""
        return self.latency_low_ms, self.latency_high_ms


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """One number of layers: the layout recommended for it, its quality and its price.

    Qualities in [0, 1], means over fresh seeds: all choosing goes by `validation`; `test` with its
    95 % interval is for the reader. `origin` is `full` for the unpruned model.
    """

    keep: int
    layout: Layout
    origin: str
    validation: float
    test: float
    test_low: float
    test_high: float
    price: ModelCost


@dataclass(frozen=True, slots=True)
class Limits:
    """What the wanted model must hold; None: no limit.

    `drop`: points of validation quality below the full model; `latency_ms` of one text;
    `megabytes` on disk (10^6 bytes).
    """

    drop: float | None = None
    latency_ms: float | None = None
    megabytes: float | None = None

    @property
    def any(self) -> bool:
        """Whether something is asked for."""
        return any(limit is not None for limit in (self.drop, self.latency_ms, self.megabytes))


@dataclass(frozen=True, slots=True)
class ParetoFront:
    """What a search over several numbers of layers found out; `points` are without the full model.

    `device` is the machine that measured the prices, in words; `studies` are the names of theirs.
    """

    model: str
    task: str
    metric: str
    device: str
    points: tuple[ParetoPoint, ...]
    full: ParetoPoint
    limits: Limits
    studies: tuple[str, ...]

    @property
    def everyone(self) -> tuple[ParetoPoint, ...]:
        """The points, and the full model last."""
        return (*self.points, self.full)

    @property
    def knee(self) -> ParetoPoint:
        """The point from which on another layer stops paying, the best one where it `bends` not."""
        return knee_point(self.points)

    @property
    def bends(self) -> bool:
        """Whether there is a knee: the best point is never one."""
        return self.knee.validation < max(one.validation for one in self.points)

    @property
    def chosen(self) -> ParetoPoint | None:
        """The smallest point within the limits, None where none is; without limits the knee."""
        return (
            smallest_within(self.points, self.full, self.limits) if self.limits.any else self.knee
        )


def pareto_point(comparison: Comparison, origin: str, price: ModelCost) -> ParetoPoint:
    """Return the row of `origin` as one point of the front."""
    row = comparison.row(origin)
    return ParetoPoint(
        keep=len(row.layout.keep),
        layout=row.layout,
        origin=origin,
        validation=row.validation_mean,
        test=row.test_mean,
        test_low=row.test_low,
        test_high=row.test_high,
        price=price,
    )


def is_dominated(one: ParetoPoint, others: Sequence[ParetoPoint]) -> bool:
    """Tell whether another is at least as good, as fast and as small, and better in one of them."""
    mine = _worth(one)
    return any(
        all(a >= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
        for theirs in map(_worth, others)
    )


def _worth(one: ParetoPoint) -> tuple[float, float, float]:
    return one.validation, -one.price.latency_ms, -one.price.megabytes


def knee_point(points: Sequence[ParetoPoint]) -> ParetoPoint:
    """Return the knee: where another layer stops paying.

    Latency and validation quality are scaled to [0, 1] between the fastest and the slowest point
    that is not dominated; the knee lies farthest above the straight line between those two
    (Satopaa et al. 2011, doi 10.1109/ICDCSW.2011.20). Where none lies above it, it is the best one.
    """
    front = sorted(
        (one for one in points if not is_dominated(one, points)),
        key=lambda one: (one.price.latency_ms, -one.validation),
    )
    first, last = front[0], front[-1]
    time = last.price.latency_ms - first.price.latency_ms
    gain = last.validation - first.validation
    best = max(front, key=lambda one: one.validation)
    if time <= 0 or gain <= 0:
        return best

    def above(one: ParetoPoint) -> float:
        spent = (one.price.latency_ms - first.price.latency_ms) / time
        return (one.validation - first.validation) / gain - spent

    bend = max(front, key=above)
    return bend if above(bend) > 1e-9 else best


def smallest_within(
    points: Sequence[ParetoPoint], full: ParetoPoint, limits: Limits
) -> ParetoPoint | None:
    """Return the point with the fewest layers that holds all `limits`, None where none does."""
    holding = [one for one in points if not broken_limits(one, full, limits)]
    return min(holding, key=lambda one: one.keep, default=None)


def broken_limits(one: ParetoPoint, full: ParetoPoint, limits: Limits) -> list[str]:
    """Say which limits `one` breaks and by what figure, one phrase each."""
    drop = 100 * (full.validation - one.validation)
    said = []
    if limits.drop is not None and drop > limits.drop + 1e-9:
        said.append(f"{drop:.1f} points below the full model")
    if limits.latency_ms is not None and one.price.latency_ms > limits.latency_ms:
        said.append(f"{one.price.latency_ms:.1f} ms a text")
    if limits.megabytes is not None and one.price.megabytes > limits.megabytes:
        said.append(f"{one.price.megabytes:.1f} MB")
    return said
