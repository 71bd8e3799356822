"""Pareto front: quality against cost for each number of layers, and which of them to take."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.evaluation.comparison import Comparison
from autoprune.layouts.layout import Layout
from autoprune.training.metrics import METRICS


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What a model costs: weights, megabytes (10^6 bytes) on disk, and time on one device.

    `megabytes` include the tokenizer; `latency_ms` is the median for one text, `latency_low_ms`
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
    """One number of layers: the layout recommended for it, its quality and its cost.

    Qualities are means over fresh seeds: every choice is made by `validation`; `test` with its
    95 % interval is for the reader. `origin` is `full` for the unpruned model; `learned` says
    whether it is better than the majority label.
    """

    keep: int
    layout: Layout
    origin: str
    validation: float
    test: float
    test_low: float
    test_high: float
    price: ModelCost
    learned: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the wanted model must keep; None: no limit.

    `drop` is in hundredths of validation quality below the full model; `latency_ms` is of one text;
    `megabytes` are on disk (10^6 bytes).
    """

    drop: float | None = None
    latency_ms: float | None = None
    megabytes: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self != Limits()


@dataclass(frozen=True, slots=True)
class ParetoFront:
    """The outcome of a search over several numbers of layers; `points` lack the full model.

    `device` is the machine that measured the costs, in words; `studies` name the study of each
    point.
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
        """The point after which another layer adds little, the best one where there is no bend.

        Of those that learned something, or of all where none did.
        """
        return knee_point([point for point in self.points if point.learned] or self.points)

    @property
    def any_learned(self) -> bool:
        """Whether a pruned model is better than the majority label."""
        return any(point.learned for point in self.points)

    @property
    def bends(self) -> bool:
        """Whether there is a knee: the best point is never one."""
        return self.knee.validation < max(
            point.validation for point in self.points if point.learned or not self.any_learned
        )

    @property
    def chosen(self) -> ParetoPoint | None:
        """The smallest point within the limits, None where none is; without limits the knee.

        Of those alone that learned something.
        """
        learned = [point for point in self.points if point.learned]
        if not learned:
            return None
        if self.limits.any:
            return smallest_within(learned, self.full, self.limits, self.metric)
        return knee_point(learned)


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
        learned=comparison.has_learned(origin),
    )


def is_dominated(point: ParetoPoint, others: Sequence[ParetoPoint]) -> bool:
    """Return whether another point is as good, fast and small, and better in one of these."""
    values = _objectives(point)
    return any(
        other != values and all(a >= b for a, b in zip(other, values, strict=True))
        for other in map(_objectives, others)
    )


def _objectives(point: ParetoPoint) -> tuple[float, float, float]:
    """Return quality, speed and smallness: greater is better."""
    return point.validation, -point.price.latency_ms, -point.price.megabytes


def knee_point(points: Sequence[ParetoPoint]) -> ParetoPoint:
    """Return the knee: the point after which another layer adds little.

    Latency and validation quality are scaled to [0, 1] between the fastest and the slowest point
    that is not dominated; the knee is farthest above the straight line between these two
    (Satopaa et al. 2011, doi 10.1109/ICDCSW.2011.20). Where none is above it, the best is returned.
    """
    front = sorted(
        (point for point in points if not is_dominated(point, points)),
        key=lambda point: (point.price.latency_ms, -point.validation),
    )
    first, last = front[0], front[-1]
    latency_range = last.price.latency_ms - first.price.latency_ms
    quality_range = last.validation - first.validation
    best = max(front, key=lambda point: point.validation)
    if latency_range <= 0 or quality_range <= 0:
        return best

    def height(point: ParetoPoint) -> float:
        latency = (point.price.latency_ms - first.price.latency_ms) / latency_range
        return (point.validation - first.validation) / quality_range - latency

    knee = max(front, key=height)
    return knee if height(knee) > 1e-9 else best


def smallest_within(
    points: Sequence[ParetoPoint], full: ParetoPoint, limits: Limits, metric: str
) -> ParetoPoint | None:
    """Return the point with the fewest layers that keeps all `limits`, None where none does."""
    within = [point for point in points if not broken_limits(point, full, limits, metric)]
    return min(within, key=lambda point: point.keep, default=None)


def broken_limits(point: ParetoPoint, full: ParetoPoint, limits: Limits, metric: str) -> list[str]:
    """Return which limits the point breaks and by what figure, one phrase each."""
    drop = 100 * (full.validation - point.validation)
    broken = []
    if limits.drop is not None and drop > limits.drop + 1e-9:
        distance = METRICS[metric].format_distance(point.validation - full.validation)
        broken.append(f"{distance} the full model")
    if limits.latency_ms is not None and point.price.latency_ms > limits.latency_ms:
        broken.append(f"{point.price.latency_ms:.1f} ms a text")
    if limits.megabytes is not None and point.price.megabytes > limits.megabytes:
        broken.append(f"{point.price.megabytes:.1f} MB")
    return broken
