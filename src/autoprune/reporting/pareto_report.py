"""The front in words and Markdown: one table over all numbers of layers, and the advice."""

from collections.abc import Sequence

from autoprune.evaluation.pareto import (
    Limits,
    ParetoFront,
    ParetoPoint,
    broken_limits,
    is_dominated,
)
from autoprune.reporting.tables import Table, TableCell, escape_markdown, plain_cell

PARETO_HEADER = (
    "layers kept",
    "layout",
    "from",
    "validation",
    "test",
    "95 % interval",
    "ms a text",
    "interval, ms",
    "texts a second",
    "interval, texts a second",
    "MB",
    "parameters",
    "on the front",
)


def pareto_table(front: ParetoFront) -> Table:
    """Return a row under `PARETO_HEADER` for each number of layers, the full model's last."""
    rows = tuple(pareto_cells(one, front.everyone) for one in front.everyone)
    return Table("Quality and cost of each number of layers", PARETO_HEADER, rows)


def pareto_cells(one: ParetoPoint, points: Sequence[ParetoPoint]) -> tuple[TableCell, ...]:
    """Return the cells of one row under `PARETO_HEADER`."""
    price = one.price
    return (
        one.layout,
        str(one.layout),
        one.origin,
        f"{100 * one.validation:.1f} %",
        f"{100 * one.test:.1f} %",
        f"{100 * one.test_low:.1f} to {100 * one.test_high:.1f}",
        f"{price.latency_ms:.1f}",
        format_range(price.latency),
        f"{price.per_second:.0f}",
        format_range((price.per_second_low, price.per_second_high), 0),
        f"{price.megabytes:.1f}",
        f"{price.parameters:,}",
        "no" if is_dominated(one, points) else "yes",
    )


def format_range(ends: tuple[float, float], digits: int = 1) -> str:
    """Write an interval.

    >>> between((1.25, 1.5))
    '1.2 to 1.5'
    """
    low, high = ends
    return f"{low:.{digits}f} to {high:.{digits}f}"


def pareto_advice(front: ParetoFront) -> list[str]:
    """Say which number of layers to take: the knee, and what was asked for, a text each.

    Validation decides; the test figure is told beside it.
    """
    full, limits, bend = front.full, front.limits, front.knee
    said = [
        f"The knee of quality against latency lies at {_named(bend)}: {_against(bend, full)}. "
        "Each further layer buys less from there on."
        if front.bends
        else "Quality has no knee against latency: no number of layers lies above the straight "
        f"line from the fastest to the best. The best on validation has {_named(bend)}: "
        f"{_against(bend, full)}."
    ]
    if not limits.any:
        return said
    chosen = front.chosen
    if chosen is not None:
        return [
            *said,
            f"The smallest model that holds {_asked(limits)} is {_named(chosen)}: "
            f"{_against(chosen, full)}.",
        ]
    near = min(
        front.points, key=lambda one: (len(broken_limits(one, full, limits)), -one.validation)
    )
    why = " and ".join(broken_limits(near, full, limits))
    return [
        *said,
        f"None of these models holds {_asked(limits)}: the nearest, {_named(near)}, "
        f"is {why}. Widen --keep or the limits.",
    ]


def pareto_how_to_read(front: ParetoFront) -> str:
    """Say how the table of a front is read."""
    return (
        f"Quality is {front.metric}, a mean over fresh seeds; all choosing goes by validation. "
        "Latency is of one text, throughput of batches of 32, both medians of interleaved rounds "
        f"with 95 % intervals, on {front.device}; other machines have other figures. “On the "
        "front” is a model that no other one beats or equals in quality, latency and size at once."
    )


def pareto_markdown(front: ParetoFront) -> str:
    """Write the report of a search over several numbers of layers; the studies tell the rest."""
    return (
        "\n\n".join(
            [
                f"# {escape_markdown(pareto_title(front))}",
                *map(escape_markdown, pareto_advice(front)),
                plain_cell(pareto_table(front)),
                escape_markdown(pareto_how_to_read(front)),
                "Studies: " + ", ".join(map(escape_markdown, front.studies)) + ".",
            ]
        )
        + "\n"
    )


def pareto_title(front: ParetoFront) -> str:
    """Return the question that a front answers."""
    return f"{front.model} on {front.task}: how many layers?"


def _named(one: ParetoPoint) -> str:
    return f"{one.keep} layers, {one.layout}"


def _against(one: ParetoPoint, full: ParetoPoint) -> str:
    drop = 100 * (full.validation - one.validation)
    word = "below" if drop >= 0 else "above"
    return (
        f"{100 * one.validation:.1f} % on validation, {abs(drop):.1f} points {word} the full "
        f"model, {100 * one.test:.1f} % on test, "
        f"{one.price.per_second / full.price.per_second:.2f} times its throughput"
    )


def _asked(limits: Limits) -> str:
    asked = {
        f"a drop of at most {limits.drop} points": limits.drop,
        f"at most {limits.latency_ms} ms a text": limits.latency_ms,
        f"at most {limits.megabytes} MB": limits.megabytes,
    }
    return " and ".join(text for text, limit in asked.items() if limit is not None)
