"""Pareto report: quality and cost for each number of layers, and the advice, in Markdown."""

from autoprune.evaluation.pareto import (
    Limits,
    ParetoFront,
    ParetoPoint,
    broken_limits,
    is_dominated,
)
from autoprune.reporting.markdown import escape_markdown, table_to_markdown
from autoprune.reporting.tables import Table, TableCell
from autoprune.training.metrics import METRICS, Metric

_QUALITY_COLUMNS = ("validation", "test", "95 % interval")

_COST_COLUMNS = (
    *("ms a text", "interval, ms", "texts a second", "interval, texts a second"),
    *("MB", "parameters", "on the front"),
)

PARETO_HEADER = ("layers kept", "layout", "from", *_QUALITY_COLUMNS, *_COST_COLUMNS)


def pareto_markdown(front: ParetoFront) -> str:
    """Write the report of a search over several numbers of layers; each study has its own too."""
    studies = ", ".join(map(escape_markdown, front.studies))
    blocks = [
        f"# {escape_markdown(pareto_title(front))}",
        *map(escape_markdown, pareto_advice(front)),
        table_to_markdown(pareto_table(front)),
        escape_markdown(pareto_how_to_read(front)),
        f"Studies: {studies}.",
    ]
    return "\n\n".join(blocks) + "\n"


def pareto_title(front: ParetoFront) -> str:
    """Return the question that a Pareto front answers."""
    return f"{front.model} on {front.task}: how many layers?"


def pareto_advice(front: ParetoFront) -> list[str]:
    """Say which number of layers to take: the knee, and the smallest within the limits.

    One text each. Validation decides; the test quality is only mentioned.
    """
    full, limits, knee = front.full, front.limits, front.knee
    metric = METRICS[front.metric]
    within = _name_limits(limits, metric)
    idle = ", ".join(str(point.keep) for point in front.points if not point.learned)
    if not front.any_learned:
        return [
            "Nothing is recommended: with no number of layers is a model better than always one "
            "answer. The report on each study says what to change."
        ]
    advice = [
        f"The knee of quality against latency is at {_name(knee)}: {_compare(knee, full, metric)}. "
        "Beyond it, each further layer gains less."
        if front.bends
        else "Quality has no knee against latency: no number of layers is above the straight line "
        f"from the fastest to the best. The best on validation has {_name(knee)}: "
        f"{_compare(knee, full, metric)}."
    ]
    if idle:
        advice.append(f"Not better than always one answer, and left out here: keep {idle}.")
    if limits.any and (chosen := front.chosen) is not None:
        advice.append(
            f"The smallest model within the limits, {within}, is {_name(chosen)}: "
            f"{_compare(chosen, full, metric)}."
        )
    elif limits.any:
        broken = [
            (point, broken_limits(point, full, limits, front.metric))
            for point in front.points
            if point.learned
        ]
        nearest, reasons = min(broken, key=lambda pair: (len(pair[1]), -pair[0].validation))
        advice.append(
            f"No model is within the limits, {within}: the nearest, {_name(nearest)}, is "
            f"{' and '.join(reasons)}. Give --keep more numbers of layers, or wider limits."
        )
    return advice


def _name(point: ParetoPoint) -> str:
    return f"{point.keep} layers, {point.layout}"


def _compare(point: ParetoPoint, full: ParetoPoint, metric: Metric) -> str:
    distance = metric.format_distance(point.validation - full.validation)
    return (
        f"{metric.format(point.validation)} on validation, {distance} the full model, "
        f"{metric.format(point.test)} on test, "
        f"{point.price.per_second / full.price.per_second:.2f} times its throughput"
    )


def _name_limits(limits: Limits, metric: Metric) -> str:
    drop = metric.threshold(limits.drop or 0.0)
    names = {
        f"a drop of at most {drop} {metric.points}": limits.drop,
        f"at most {limits.latency_ms} ms a text": limits.latency_ms,
        f"at most {limits.megabytes} MB": limits.megabytes,
    }
    return " and ".join(name for name, limit in names.items() if limit is not None)


def pareto_table(front: ParetoFront) -> Table:
    """Return a row below `PARETO_HEADER` for each number of layers, the full model's last."""
    rows = tuple(_cells(point, front) for point in front.everyone)
    return Table("Quality and cost of each number of layers", PARETO_HEADER, rows)


def _cells(point: ParetoPoint, front: ParetoFront) -> tuple[TableCell, ...]:
    cost = point.price
    return (
        point.layout,
        str(point.layout),
        point.origin,
        *quality_cells(point, METRICS[front.metric]),
        f"{cost.latency_ms:.1f}",
        format_range(cost.latency),
        f"{cost.per_second:.0f}",
        format_range((cost.per_second_low, cost.per_second_high), 0),
        f"{cost.megabytes:.1f}",
        f"{cost.parameters:,}",
        "no" if is_dominated(point, front.everyone) else "yes",
    )


def quality_cells(point: ParetoPoint, metric: Metric) -> tuple[str, str, str]:
    """Return validation quality, test quality, and the interval of the latter."""
    interval = metric.format_interval(point.test_low, point.test_high)
    return metric.format(point.validation), metric.format(point.test), interval


def format_range(interval: tuple[float, float], digits: int = 1) -> str:
    """Write an interval.

    >>> format_range((1.25, 1.5))
    '1.2 to 1.5'
    """
    low, high = interval
    return f"{low:.{digits}f} to {high:.{digits}f}"


def pareto_how_to_read(front: ParetoFront) -> str:
    """Explain the columns of `pareto_table`."""
    return (
        f"Quality is {front.metric}, a mean over fresh seeds; only validation decides. Latency is "
        "of one text, throughput of batches of 32: medians of rounds in which the models take "
        f"turns, with 95 % intervals, on {front.device}; another machine gives other numbers. A "
        "model is “on the front” (the Pareto front) if no other model is at least as good, as fast "
        "and as small, and better in one of these."
    )
