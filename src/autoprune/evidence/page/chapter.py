"""A chapter: one study as sections, the verdict first."""

from collections.abc import Mapping
from dataclasses import dataclass

from autoprune.evidence.comparison import Row
from autoprune.evidence.costs import Costs
from autoprune.evidence.page.advice import advice, finding
from autoprune.evidence.page.closely import classes_section, errors_section
from autoprune.evidence.page.ending import ending
from autoprune.evidence.page.parts import Part, Section
from autoprune.evidence.page.searching import layers_section, search_section
from autoprune.evidence.page.standing import comparison_section
from autoprune.evidence.studied import Studied
from autoprune.evidence.verdict import recommendation, verdict


@dataclass(frozen=True, slots=True)
class Chapter:
    """One study; `tiles` are the rows to see first, `finding` is the verdict in a word."""

    id: str
    name: str
    title: str
    finding: str
    verdict: str
    recommendation: str
    next: tuple[Part, ...]
    tiles: tuple[Row, ...]
    reference: str
    recommended: str
    sections: tuple[Section, ...]


def chapter(
    studied: Studied, id: str, importances: Mapping[str, float], costs: Costs | None
) -> Chapter:
    """Lay out one study; ids of its sections and plots begin with `id`."""
    comparison, setting = studied.comparison, studied.setting
    first = {comparison.subject.origin, comparison.reference, "full"}
    sections = [
        comparison_section(studied, id),
        *search_section(studied.trials, studied.setting.hint, id),
        *layers_section(studied.trials, id, importances),
        classes_section(studied, id),
        errors_section(studied, id),
        *ending(studied, id, costs),
    ]
    return Chapter(
        id=id,
        name=studied.name,
        title=f"{setting.model} on {setting.task}: {setting.keep} of {setting.depth} layers",
        finding=finding(studied),
        verdict=verdict(comparison),
        recommendation=recommendation(comparison),
        next=tuple(advice(studied, costs is not None)),
        tiles=tuple(row for row in comparison.rows if row.origin in first),
        reference=comparison.reference,
        recommended=comparison.recommended,
        sections=tuple(sections),
    )
