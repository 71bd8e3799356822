"""The page: studies as one HTML file."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.evaluation.comparison import Row
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.study_files import Studied
from autoprune.evaluation.verdict import UNITS, points, recommendation, verdict
from autoprune.reporting.html.comparison import comparison_section
from autoprune.reporting.html.components import Code, Part, Section, Text
from autoprune.reporting.html.cost import ending
from autoprune.reporting.html.errors import classes_section, errors_section
from autoprune.reporting.html.render import render
from autoprune.reporting.html.search import layers_section, search_section


def finding(studied: Studied) -> str:
    """Return the verdict in a word or two, for a badge.

    `better`, `worse` or `no difference found` against the best fixed strategy; `same layout` where
    the search found that one itself; `baseline` where nothing was searched.
    """
    comparison = studied.comparison
    subject, reference = comparison.subject, comparison.row(comparison.reference)
    if subject.origin == reference.origin:
        return "baseline"
    if subject.layout == reference.layout:
        return "same layout"
    return comparison.against[reference.origin].finding


def advice(studied: Studied, measured: bool) -> list[Part]:
    """Return what to do next, the first thing first; `measured`: its costs are known already."""
    comparison, name = studied.comparison, shlex.quote(studied.name)
    chosen = comparison.recommended
    parts: list[Part] = [
        Code(
            f"Train the recommended layout, {chosen}, on fresh seeds and take it home:",
            f"autoprune export {name} --layout {chosen} --out {name}-model",
        ),
    ]
    if not measured:
        parts.append(Code("See what it saves on this machine:", f"autoprune cost {name}"))
    if finding(studied) == "no difference found":
        gap = comparison.against[comparison.reference]
        parts.append(
            Text(
                f"The two cannot be told apart here: the interval is "
                f"{100 * (gap.high - gap.low):.1f} {UNITS[comparison.metric]} wide. More seeds "
                "narrow it (the study's command again with a larger --seeds; what is measured is "
                "not measured again), more test rows do too."
            )
        )
    return parts


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


@dataclass(frozen=True, slots=True)
class Field:
    """One study in the matrix: its recommended row, and how what was found stands in words."""

    id: str
    name: str
    row: Row
    held: str


@dataclass(frozen=True, slots=True)
class Line:
    """One model and task, with the studies for each number of layers."""

    model: str
    task: str
    fields: tuple[tuple[Field, ...], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Lines of studies under the numbers of layers kept."""

    keeps: tuple[int, ...]
    lines: tuple[Line, ...]


def matrix(studies: Sequence[tuple[str, Studied]]) -> Matrix:
    """Arrange the studies, given with the id of their chapter."""
    keeps = sorted({studied.setting.keep for _, studied in studies})
    places: dict[tuple[str, str, int], list[Field]] = {}
    for id, studied in studies:
        setting = studied.setting
        place = (setting.model, setting.task, setting.keep)
        places.setdefault(place, []).append(_field(id, studied))
    pairs = sorted({(model, task) for model, task, _ in places})
    return Matrix(
        tuple(keeps),
        tuple(
            Line(model, task, tuple(tuple(places.get((model, task, k), ())) for k in keeps))
            for model, task in pairs
        ),
    )


def _field(id: str, studied: Studied) -> Field:
    comparison = studied.comparison
    subject, reference = comparison.subject, comparison.reference
    if subject.origin == reference:
        held = f"{reference}: the best fixed strategy, nothing was searched"
    elif subject.layout == comparison.row(reference).layout:
        held = f"found is the best fixed strategy itself, {reference}"
    else:
        gap = comparison.against[reference]
        held = (
            f"found against {reference}: {points(gap.mean)} points "
            f"({points(gap.low)} to {points(gap.high)})"
        )
    return Field(id, studied.name, comparison.row(comparison.recommended), held)


def page(
    studied: Sequence[Studied],
    importances: Mapping[str, Mapping[str, float]] | None = None,
    costs: Mapping[str, Costs | None] | None = None,
) -> str:
    """Return the report on one or several studies as HTML.

    `importances` has for a study's name the share of each layer (`layer 0` -> [0, 1]), `costs` what
    was measured of its models; both may lack any study.
    """
    assert studied, "a report is on at least one study"
    chapters = [
        chapter(
            one,
            f"s{number}",
            (importances or {}).get(one.name, {}),
            (costs or {}).get(one.name),
        )
        for number, one in enumerate(studied, start=1)
    ]
    ids = [(one.id, study) for one, study in zip(chapters, studied, strict=True)]
    return render(
        "page.html.j2", chapters=chapters, matrix=matrix(ids) if len(chapters) > 1 else None
    )
