"""The page: studies as one HTML file."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.evaluation.verdict import comparison_verdict, format_points, recommendation
from autoprune.reporting.html.comparison import comparison_section
from autoprune.reporting.html.components import Code, Part, Section, Text
from autoprune.reporting.html.cost import next_steps_section
from autoprune.reporting.html.errors import classes_section, errors_section
from autoprune.reporting.html.render import render_template
from autoprune.reporting.html.search import html_layers_section, html_search_section
from autoprune.training.metrics import METRICS


def short_verdict(studied: FinishedStudy) -> str:
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


def next_command(studied: FinishedStudy, measured: bool) -> list[Part]:
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
    if short_verdict(studied) == "no difference found":
        gap = comparison.against[comparison.reference]
        parts.append(
            Text(
                f"The two cannot be told apart here: the interval is "
                f"{100 * (gap.high - gap.low):.1f} {METRICS[comparison.metric].unit} wide. More seeds "
                "narrow it (the study's command again with a larger --seeds; what is measured is "
                "not measured again), more test rows do too."
            )
        )
    return parts


@dataclass(frozen=True, slots=True)
class StudyChapter:
    """One study; `tiles` are the rows to see first, `short_verdict` is the verdict in a word."""

    id: str
    name: str
    title: str
    finding: str
    verdict: str
    recommendation: str
    next: tuple[Part, ...]
    tiles: tuple[ComparisonRow, ...]
    reference: str
    recommended: str
    sections: tuple[Section, ...]


def study_chapter(
    studied: FinishedStudy, id: str, importances: Mapping[str, float], costs: Costs | None
) -> StudyChapter:
    """Lay out one study; ids of its sections and plots begin with `id`."""
    comparison, setting = studied.comparison, studied.setting
    first = {comparison.subject.origin, comparison.reference, "full"}
    sections = [
        comparison_section(studied, id),
        *html_search_section(studied.trials, studied.setting.hint, id),
        *html_layers_section(studied.trials, id, importances),
        classes_section(studied, id),
        errors_section(studied, id),
        *next_steps_section(studied, id, costs),
    ]
    return StudyChapter(
        id=id,
        name=studied.name,
        title=f"{setting.model} on {setting.task}: {setting.keep} of {setting.depth} layers",
        finding=short_verdict(studied),
        verdict=comparison_verdict(comparison),
        recommendation=recommendation(comparison),
        next=tuple(next_command(studied, costs is not None)),
        tiles=tuple(row for row in comparison.rows if row.origin in first),
        reference=comparison.reference,
        recommended=comparison.recommended,
        sections=tuple(sections),
    )


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One study in the matrix: its recommended row, and how what was found stands in words."""

    id: str
    name: str
    row: ComparisonRow
    held: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One model and task, with the studies for each number of layers."""

    model: str
    task: str
    fields: tuple[tuple[MatrixCell, ...], ...]


@dataclass(frozen=True, slots=True)
class StudyMatrix:
    """Lines of studies under the numbers of layers kept."""

    keeps: tuple[int, ...]
    lines: tuple[MatrixRow, ...]


def study_matrix(studies: Sequence[tuple[str, FinishedStudy]]) -> StudyMatrix:
    """Arrange the studies, given with the id of their chapter."""
    keeps = sorted({studied.setting.keep for _, studied in studies})
    places: dict[tuple[str, str, int], list[MatrixCell]] = {}
    for id, studied in studies:
        setting = studied.setting
        place = (setting.model, setting.task, setting.keep)
        places.setdefault(place, []).append(_field(id, studied))
    pairs = sorted({(model, task) for model, task, _ in places})
    return StudyMatrix(
        tuple(keeps),
        tuple(
            MatrixRow(model, task, tuple(tuple(places.get((model, task, k), ())) for k in keeps))
            for model, task in pairs
        ),
    )


def _field(id: str, studied: FinishedStudy) -> MatrixCell:
    comparison = studied.comparison
    subject, reference = comparison.subject, comparison.reference
    if subject.origin == reference:
        held = f"{reference}: the best fixed strategy, nothing was searched"
    elif subject.layout == comparison.row(reference).layout:
        held = f"found is the best fixed strategy itself, {reference}"
    else:
        gap = comparison.against[reference]
        held = (
            f"found against {reference}: {format_points(gap.mean)} points "
            f"({format_points(gap.low)} to {format_points(gap.high)})"
        )
    return MatrixCell(id, studied.name, comparison.row(comparison.recommended), held)


def study_page(
    studied: Sequence[FinishedStudy],
    importances: Mapping[str, Mapping[str, float]] | None = None,
    costs: Mapping[str, Costs | None] | None = None,
) -> str:
    """Return the report on one or several studies as HTML.

    `importances` has for a study's name the share of each layer (`layer 0` -> [0, 1]), `costs` what
    was measured of its models; both may lack any study.
    """
    assert studied, "a report is on at least one study"
    chapters = [
        study_chapter(
            one,
            f"s{number}",
            (importances or {}).get(one.name, {}),
            (costs or {}).get(one.name),
        )
        for number, one in enumerate(studied, start=1)
    ]
    ids = [(one.id, study) for one, study in zip(chapters, studied, strict=True)]
    return render_template(
        "page.html.j2", chapters=chapters, matrix=study_matrix(ids) if len(chapters) > 1 else None
    )
