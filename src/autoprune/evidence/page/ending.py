"""The last sections: the data, the cost, what repeats the study, and its limits."""

import shlex

from autoprune.evidence.costs import Costs
from autoprune.evidence.page.parts import Code, Section, Sheet, Text
from autoprune.evidence.page.spent import measured_section
from autoprune.evidence.studied import Studied
from autoprune.evidence.tables import Table
from autoprune.evidence.terms import (
    budgets_table,
    cleaning_table,
    cost,
    labels,
    limits,
    repeat_table,
    tuning,
)


def ending(studied: Studied, id: str, costs: Costs | None) -> list[Section]:
    """Return the sections on how the figures were made, and on what the models cost."""
    setting, comparison = studied.setting, studied.comparison
    data = (Text(labels(setting)), Sheet(cleaning_table(setting)))
    repeat = (
        Code("The command as it was given:", setting.command),
        Sheet(repeat_table(setting, comparison)),
    )
    return [
        Section(f"{id}-data", "Data", data),
        _training(studied, id),
        measured_section(costs, shlex.quote(studied.name), id),
        Section(f"{id}-repeat", "To repeat it", repeat),
        Section(f"{id}-limits", "Limits", (Text(limits(comparison)),)),
    ]


def _training(studied: Studied, id: str) -> Section:
    rows = tuple(
        (row.origin, row.layout, f"{row.parameters:,}", f"{row.seconds:.1f}")
        for row in studied.comparison.rows
    )
    header = ("origin", "layers", "parameters", "seconds of training a run")
    said = (tuning(studied.setting, studied.comparison), cost(studied.comparison, studied.trials))
    parts = (
        Text(" ".join(filter(None, said))),
        Sheet(Table("Training", header, rows)),
        Sheet(budgets_table(studied.setting)),
    )
    return Section(f"{id}-cost", "Budgets and cost", parts)
