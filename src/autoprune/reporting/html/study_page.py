"""HTML page: one or several finished studies as one HTML file."""

import shlex
from collections.abc import Mapping, Sequence

from autoprune.evaluation.costs import Costs
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.reporting.html.comparison import comparison_plots, cost_plots
from autoprune.reporting.html.components import with_id_prefix, with_plots
from autoprune.reporting.html.errors import classes_section, errors_section
from autoprune.reporting.html.render import render_template
from autoprune.reporting.html.search import layer_plots, search_plots
from autoprune.reporting.sections import (
    Code,
    ReportSection,
    Text,
    budgets_section,
    comparison_section,
    costs_section,
    data_section,
    layers_section,
    limits_section,
    repeat_section,
    report_title,
    search_section,
    verdict_in_brief,
)
from autoprune.training.metrics import METRICS

BARS_EXPLANATION = "A tall bar is a layer that is kept; the first one is nearest the embeddings."


def study_page(
    studies: Sequence[FinishedStudy],
    importances: Mapping[str, Mapping[str, float]] | None = None,
    costs: Mapping[str, Costs | None] | None = None,
) -> str:
    """Return the report on one or several studies as HTML.

    `importances` has for a study's name the share of each layer (`layer 0` -> [0, 1]), `costs` the
    measured costs of its models; both may lack any study.
    """
    assert studies, "a report is on at least one study"
    importances, costs = importances or {}, costs or {}
    by_id = {f"s{number}": study for number, study in enumerate(studies, start=1)}
    chapters = [
        _chapter(study, id, importances.get(study.name, {}), costs.get(study.name))
        for id, study in by_id.items()
    ]
    matrix = _matrix(by_id) if len(studies) > 1 else None
    return render_template("study_page.html.j2", {"chapters": chapters, "matrix": matrix})


def _sections(
    study: FinishedStudy, importances: Mapping[str, float], costs: Costs | None
) -> list[ReportSection]:
    """Return the sections of one study in the order of the page."""
    setting, comparison, trials = study.setting, study.comparison, study.trials
    sections = [
        with_plots(comparison_section(comparison, BARS_EXPLANATION), comparison_plots(comparison)),
        with_plots(search_section(trials, setting.hint), search_plots(trials)),
        with_plots(layers_section(trials), *layer_plots(trials, importances)),
        classes_section(study),
        errors_section(study),
        data_section(setting),
        budgets_section(setting, comparison, trials),
        with_plots(costs_section(costs, study.name), cost_plots(costs) if costs else []),
        repeat_section(setting, comparison),
        limits_section(comparison),
    ]
    return [section for section in sections if section is not None]


def _chapter(
    study: FinishedStudy, id: str, importances: Mapping[str, float], costs: Costs | None
) -> dict[str, object]:
    """Return what the template shows of one study; ids on the page begin with `id`."""
    comparison = study.comparison
    first = {comparison.subject.origin, comparison.reference, "full"}
    sections = _sections(study, importances, costs)
    return {
        "id": id,
        "name": study.name,
        "title": report_title(study.setting),
        "metric": METRICS[comparison.metric],
        "brief": verdict_in_brief(comparison),
        "verdict": comparison_verdict(comparison),
        "recommendation": recommendation(comparison),
        "warnings": result_warnings(study.setting, comparison, study.trials),
        "next_steps": _next_steps(study, measured=costs is not None),
        "tiles": [row for row in comparison.rows if row.origin in first],
        "reference": comparison.reference,
        "recommended": comparison.recommended or "",
        "sections": [with_id_prefix(section, id) for section in sections],
    }


def _next_steps(study: FinishedStudy, measured: bool) -> list[Code | Text]:
    """Return what to do next, the most useful first; `measured`: the costs are known already."""
    comparison, name = study.comparison, shlex.quote(study.name)
    chosen = comparison.recommended
    if chosen is None:
        return []  # the warnings say what to change
    layout = f" --layout {comparison.row(chosen).layout}" if study.is_beside_search else ""
    steps: list[Code | Text] = [
        Code(
            f"Train the recommended layout, {chosen}, on fresh seeds and save the model:",
            f"autoprune export {name}{layout} --out {name}-model",
        ),
    ]
    if not measured:
        steps.append(Code("Measure what it saves on your machine:", f"autoprune cost {name}"))
    if verdict_in_brief(comparison) == "no difference found":
        gap = comparison.against[comparison.reference]
        metric = METRICS[comparison.metric]
        width = f"{metric.format_size(gap.high - gap.low)} {metric.unit}"
        more = f"These runs cannot tell the two layouts apart: the interval is {width} wide. More "
        if comparison.schedule.is_open:
            more += "test rows make it narrower."
        else:
            more += (
                "test rows make it narrower, and so do more seeds. Plan these before you look: "
                "in another study (--study, --seed) --seeds 3-10 adds seeds until the difference "
                "is clear. Seeds added to this one, after a look at its result, make chance look "
                "like a finding more often."
            )
        steps.append(Text(more))
    return steps


def _matrix(studies: Mapping[str, FinishedStudy]) -> dict[str, object]:
    """Arrange the studies, given by the id of their chapter.

    A row is for a model and task, a column for a number of layers kept.
    """
    cells: dict[tuple[str, str], dict[int, list[dict[str, object]]]] = {}
    for id, study in studies.items():
        row = cells.setdefault((study.setting.model, study.setting.task), {})
        row.setdefault(study.setting.keep, []).append(_matrix_cell(id, study))
    keeps = sorted({study.setting.keep for study in studies.values()})
    return {"keeps": keeps, "rows": sorted(cells.items(), key=lambda item: item[0])}


def _matrix_cell(id: str, study: FinishedStudy) -> dict[str, object]:
    """Return one study's recommended row, and what its search found, in words."""
    comparison = study.comparison
    subject, reference = comparison.subject, comparison.reference
    metric = METRICS[comparison.metric]
    if subject.origin == reference:
        why = "found failed" if comparison.found_failed else "nothing was searched"
        finding = f"{reference}: the best fixed strategy, {why}"
    elif subject.layout == comparison.row(reference).layout:
        finding = f"found is the best fixed strategy itself, {reference}"
    else:
        gap = comparison.against[reference]
        finding = (
            f"found against {reference}: {metric.format_difference(gap.mean)} {metric.points}"
            f"{metric.note} ({metric.format_differences(gap.low, gap.high)})"
        )
    row = comparison.row(comparison.best)
    return {"id": id, "name": study.name, "row": row, "metric": metric, "finding": finding}
