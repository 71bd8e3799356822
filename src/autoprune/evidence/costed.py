"""The measured costs of a study in words and as a table."""

from autoprune.encoders.timing import Median
from autoprune.evidence.costs import CostOf, Costs
from autoprune.evidence.markdown import plain, written
from autoprune.evidence.tables import Cell, Table

UNMEASURED = (
    "Memory, latency and throughput are not measured yet: the command autoprune cost, with this "
    "study's name, measures them on the machine at hand, and the next autoprune report shows them."
)

HEADER = (
    "model",
    "layers",
    "ms for one text",
    "texts a second",
    "times the full model's",
    "MB of memory",
    "MB on disk",
    "parameters",
    "of them embeddings",
    "GFLOP a text",
)


def costs_section(costs: Costs | None) -> str:
    """Return what each model costs on the machine that measured it, or how to have it measured."""
    if costs is None:
        return "\n\n".join(["## Measured cost", UNMEASURED])
    said = [*costs.alarms, f"{how_measured(costs)} {' '.join(costs.notes)}"]
    return "\n\n".join(["## Measured cost", written(costs_table(costs)), *map(plain, said)])


def costs_table(costs: Costs) -> Table:
    """Return a row under `HEADER` for each model; medians with their 95 % intervals."""
    return Table("Measured cost", HEADER, tuple(_cells(one) for one in costs.models))


def how_measured(costs: Costs) -> str:
    """Say on what, when and how the figures were measured, and how they are read."""
    versions = ", ".join(f"{name} {text}" for name, text in costs.versions.items())
    return (
        f"Measured on {costs.measured[:10]} on {costs.device} ({versions}): {costs.rounds} rounds "
        f"in turn, medians with 95 % intervals; texts of at most {costs.tokens} tokens, one by "
        f"one for the latency, in batches of {costs.batch} for the throughput. Memory is the most "
        "it takes to load the model and run a batch. Other machines have other figures."
    )


def _cells(one: CostOf) -> tuple[Cell, ...]:
    return (
        one.name,
        one.layout,
        with_interval(one.latency, 1000, 2),
        with_interval(one.throughput, 1, 0),
        with_interval(one.gain, 1, 2),
        "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}",
        f"{one.bytes / 1e6:.1f}",
        f"{one.parameters:,}",
        f"{one.embeddings:,}",
        f"{one.flops / 1e9:.3g}",
    )


def with_interval(value: Median, unit: float, digits: int) -> str:
    """Write a median in `unit`s with its interval.

    >>> with_interval(Median(0.0125, 0.012, 0.014), 1000, 1)
    '12.5 (12.0 to 14.0)'
    """
    median, low, high = (
        f"{one * unit:,.{digits}f}" for one in (value.median, value.low, value.high)
    )
    return f"{median} ({low} to {high})"
