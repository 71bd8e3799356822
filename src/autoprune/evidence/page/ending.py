"""The last sections: the data, the cost, what repeats the study, and its limits."""

from collections.abc import Mapping, Sequence

from autoprune.evidence.comparison import Row
from autoprune.evidence.front import Price
from autoprune.evidence.page.parts import Code, Part, Section, Sheet, Text
from autoprune.evidence.studied import Studied
from autoprune.evidence.tables import Cell, Table
from autoprune.evidence.terms import (
    budgets_table,
    cleaning_table,
    cost,
    labels,
    limits,
    repeat_table,
)


def ending(studied: Studied, id: str, costs: Mapping[str, Price]) -> list[Section]:
    """Return the sections on how the figures were made; `costs` are by origin, any may lack."""
    setting, comparison = studied.setting, studied.comparison
    data = (Text(labels(setting)), Sheet(cleaning_table(setting)))
    repeat = (
        Code("The command as it was given:", setting.command),
        Sheet(repeat_table(setting, comparison)),
    )
    return [
        Section(f"{id}-data", "Data", data),
        _cost(studied, id, costs),
        Section(f"{id}-repeat", "To repeat it", repeat),
        Section(f"{id}-limits", "Limits", (Text(limits(comparison)),)),
    ]


def _cost(studied: Studied, id: str, costs: Mapping[str, Price]) -> Section:
    comparison = studied.comparison
    parts: list[Part] = [
        Text(cost(comparison, studied.trials)),
        Sheet(_cost_table(comparison.rows, costs)),
    ]
    if costs:
        parts.append(
            Text(
                "Latency is of one text, the median of interleaved rounds; texts a second are of "
                "batches; both of the machine that measured them.",
                aside=True,
            )
        )
    parts.append(Sheet(budgets_table(studied.setting)))
    return Section(f"{id}-cost", "Budgets and cost", tuple(parts))


def _cost_table(rows: Sequence[Row], costs: Mapping[str, Price]) -> Table:
    header = ["origin", "layers", "parameters", "seconds of training a run"]
    if costs:
        header += ["megabytes", "ms a text", "texts a second"]
    return Table("Cost", tuple(header), tuple(_costs(row, costs) for row in rows))


def _costs(row: Row, costs: Mapping[str, Price]) -> tuple[Cell, ...]:
    known = (row.origin, row.layout, f"{row.parameters:,}", f"{row.seconds:.1f}")
    if not costs:
        return known
    price = costs.get(row.origin)
    if price is None:
        return (*known, "", "", "")
    return (
        *known,
        f"{price.megabytes:.1f}",
        f"{price.latency_ms:.2f}",
        f"{price.per_second:.0f}",
    )
