"""The search's sections: its course, the layouts tried, and which layers matter."""

from collections.abc import Mapping, Sequence

from autoprune.evidence.figures import layer_effects
from autoprune.evidence.layers import went_on
from autoprune.evidence.page.pairs import EXPLAINED, pairs, pairs_table
from autoprune.evidence.page.parts import Part, Plot, Plots, Section, Sheet, Text
from autoprune.evidence.page.plots import course as drawn
from autoprune.evidence.page.plots import shares, together
from autoprune.evidence.record import Record
from autoprune.evidence.searched import (
    LAYERS,
    course,
    layers_table,
    ranked,
    states,
    trials_table,
)
from autoprune.evidence.tables import Cell, Table

IMPORTANCES = (
    "Optuna's importances (fANOVA) say how much of the scores' variance each layer's flag "
    "explains, alone and with others; not whether it is better kept or removed."
)


def search_section(trials: Sequence[Record], hint: str, id: str) -> list[Section]:
    """Return the course of the search, and every layout tried, the best first; none of none."""
    if not trials:
        return []
    table = trials_table(trials)
    parts = (
        Text(course(trials, hint)),
        Plot(f"{id}-course", "Course of the search", drawn(trials), _course_table(trials)),
        Sheet(table, table.header.index("validation"), _bars(ranked(trials))),
    )
    return [Section(f"{id}-search", "The search", parts)]


def layers_section(
    trials: Sequence[Record], id: str, importances: Mapping[str, float]
) -> list[Section]:
    """Return the effects of single layers and of pairs; no section where no trial is complete."""
    single = layers_table(trials)
    if not single.rows:
        return []
    plots = [Plot(f"{id}-layers", "Effect of each layer", layer_effects(trials), single)]
    notes: list[Part] = []
    found = pairs(trials)
    if found:
        plots.append(Plot(f"{id}-pairs", "Pairs of layers", together(found), pairs_table(found)))
        notes.append(Text(f"Pairs: {EXPLAINED}", aside=True))
    if importances:
        table = Table(
            "Importance of each layer",
            ("layer", "share, %"),
            tuple((name, f"{100 * share:.1f}") for name, share in importances.items()),
        )
        plots.append(Plot(f"{id}-importances", table.caption, shares(importances), table))
        notes.append(Text(IMPORTANCES, aside=True))
    parts = (Text(LAYERS), Plots(tuple(plots)), *notes)
    return [Section(f"{id}-which-layers", "Which layers matter", parts)]


def _course_table(trials: Sequence[Record]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    best, told = 0.0, zip(trials, went_on(trials), states(trials), strict=True)
    for number, (trial, further, state) in enumerate(told, start=1):
        score = f"{100 * trial.scores[-1].quality:.1f}" if trial.scores else ""
        if trial.state == "complete" and not further:
            best = max(best, trial.scores[-1].quality)
        so_far = f"{100 * best:.1f}" if best else ""
        rows.append((str(number), str(trial.layout), score, so_far, state))
    header = ("trial", "layout", "validation, %", "best so far, %", "state")
    return Table("Course of the search", header, tuple(rows))


def _bars(trials: Sequence[Record]) -> tuple[float | None, ...]:
    """Return each score's place between the lowest and the highest, None where there is none."""
    scores = [trial.scores[-1].quality for trial in trials if trial.scores]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    room = (high - low) or 1.0
    return tuple(
        0.06 + 0.94 * (trial.scores[-1].quality - low) / room if trial.scores else None
        for trial in trials
    )
