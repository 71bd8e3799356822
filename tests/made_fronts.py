"""Made-up fronts: figures that are known, without a model."""

from autoprune.evaluation.pareto import Limits, ModelCost, ParetoFront, ParetoPoint
from autoprune.layouts.layout import Layout


def point(keep, quality, *, latency=None, size=None, origin="found"):
    """Return a point that takes a millisecond and a megabyte for each layer unless told.

    The interval of the latency is a tenth below and a quarter above it.
    """
    spent, pace = latency or keep, 1000 / keep
    price = ModelCost(
        1000 * keep, size or keep, spent, 0.9 * spent, 1.25 * spent, pace, 0.8 * pace, 1.1 * pace
    )
    layout = Layout(12, tuple(range(keep)))
    return ParetoPoint(
        keep, layout, origin, quality, quality - 0.01, quality - 0.03, quality, price
    )


FULL = point(12, 0.80, origin="full")
# Steep up to 4 layers, flat from there.
CURVE = [point(keep, quality) for keep, quality in [(2, 0.5), (3, 0.65), (4, 0.77), (6, 0.78)]]


def front(limits=Limits(), points=CURVE, **changes):  # noqa: B008 (it cannot be changed)
    """Return the front of `points` unless told otherwise."""
    fields = {"model": "m", "task": "t", "metric": "accuracy", "device": "cpu"}
    studies = tuple(f"m-t-keep{one.keep}" for one in points)
    fields |= {"full": FULL, "studies": studies} | changes
    return ParetoFront(points=tuple(points), limits=limits, **fields)
