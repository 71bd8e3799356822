"""HTML page of a plan: its claims in one file, the verdicts first."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autoprune.evaluation.permutation_test import paired_difference
from autoprune.reporting.html.components import Plot
from autoprune.reporting.html.render import render_template
from autoprune.reporting.plot_style import (
    GRID,
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    ZERO_LINE,
    Dot,
    apply_style,
    dot_plot,
    interval_bars,
    label_rows,
    short_label,
)
from autoprune.reporting.sections import Code, Items, ReportSection, TableWithBars, Text
from autoprune.reporting.tables import Table
from autoprune.reproduction.claims import Claim
from autoprune.reproduction.paired_tests import CellResult
from autoprune.reproduction.report import (
    ORACLE_EXPLANATION,
    PUBLISHED_NOTE,
    SIZES_EXPLANATION,
    ReproductionReport,
    claims_metric,
    claims_table,
    layouts_table,
    oracle_table,
    published_table,
    scores_table,
    tests_table,
    verdicts_table,
)

_RECOMMENDED = "recommended"

# Colour and symbol of each role: no two differ by colour alone.
ROLE_STYLES = {
    _RECOMMENDED: (TEAL, "circle", 13),
    "top": (OCHRE, "triangle-left", 9),
    "middle": (OCHRE, "diamond", 9),
    "bottom": (OCHRE, "triangle-right", 9),
    "alternate": (OCHRE, "cross", 9),
    "scratch": (VIOLET, "x", 9),
    "rival": (VIOLET, "triangle-up", 10),
}

_VERDICT_STYLES = {"supported": (TEAL, "circle"), "contradicted": (OCHRE, "diamond")}


def grid_plot(cells: Sequence[CellResult]) -> go.Figure:
    """Plot how far each entrant is from the full model on test, a row for each cell.

    The recommended layout has its 95 % interval. Cells without a full model are left out.
    """
    metric = cells[0].metric
    cells = [cell for cell in cells if "full" in cell.rows]
    figure = go.Figure()
    for row in range(1, len(cells)):
        figure.add_hline(y=row - 0.5, line={"color": GRID, "width": 1}, layer="below")
    offsets = np.linspace(-0.3, 0.3, len(ROLE_STYLES)).tolist()  # of the roles within a row
    for offset, (role, (colour, symbol, size)) in zip(offsets, ROLE_STYLES.items(), strict=True):
        marks = [(row, *mark) for row, cell in enumerate(cells) for mark in _role(cell, role)]
        if not marks:
            continue
        figure.add_scatter(
            x=[points for _, _, points in marks],
            y=[row + offset for row, _, _ in marks],
            error_x=_intervals(cells) if role == _RECOMMENDED else None,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": size},
            name=role,
            customdata=[short_label(origin) for _, origin, _ in marks],
            hovertemplate="%{customdata}: "
            f"%{{x:+.{metric.digits}f}} {metric.points}<extra></extra>",
        )
    title = f"{metric.points} against the full model{metric.note}"
    figure = apply_style(figure, 190 + 64 * len(cells), title, "")
    labels = [
        f"{short_label(cell.model)}<br>{short_label(cell.task)}, keep {cell.keep}<br>"
        f"full {cell.metric.format(cell.rows['full'].test_mean)}"
        for cell in cells
    ]
    label_rows(figure, labels)
    return figure.update_xaxes(ZERO_LINE).update_layout(showlegend=True)


def grid_table(cells: Sequence[CellResult]) -> Table:
    """Return the differences that `grid_plot` shows, relative to the full model."""
    points = cells[0].metric.points
    rows = tuple(
        (cell.name, role, origin, f"{gap:+.{cell.metric.digits}f}")
        for cell in cells
        if "full" in cell.rows
        for role in ROLE_STYLES
        for origin, gap in _role(cell, role)
    )
    title = f"{points[:1].upper()}{points[1:]} against the full model{cells[0].metric.note}"
    return Table(title, ("cell", "role", "origin", points), rows)


def _role(cell: CellResult, role: str) -> list[tuple[str, float]]:
    """Return the origins of a role in a cell, and their differences from the full model."""
    origins = {_RECOMMENDED: [cell.recommended], "rival": cell.rivals}.get(role, [role])
    full = cell.rows["full"].test_mean
    return [
        (origin, cell.metric.scale * (cell.rows[origin].test_mean - full))
        for origin in origins
        if origin in cell.rows
    ]


def _intervals(cells: Sequence[CellResult]) -> dict[str, object]:
    differences = [
        paired_difference(cell.predictions[cell.recommended], cell.predictions["full"])
        for cell in cells
    ]
    scale = cells[0].metric.scale
    means = [scale * difference.mean for difference in differences]
    ends = [(scale * difference.low, scale * difference.high) for difference in differences]
    return interval_bars(means, ends, TEAL)


def effects_plot(claims: Sequence[Claim]) -> go.Figure:
    """Plot the mean difference of each tested claim, with its 95 % interval."""
    metric = claims_metric(claims)
    dots = [
        Dot(
            f"({claim.letter}) {claim.effect_of}",
            metric.scale * effect.mean,
            metric.scale * effect.low,
            metric.scale * effect.high,
            f"{metric.format_difference(effect.mean)} {claim.verdict}",
            *_VERDICT_STYLES.get(claim.verdict, (SLATE, "square")),
        )
        for claim in claims
        if (effect := claim.effect) is not None
    ]
    title = f"{metric.points}{metric.note}, mean over the cells,<br>with 95 % interval"
    figure = dot_plot(dots, title, metric.digits)
    names = [short_label(dot.name).replace(" − ", "<br>− ") for dot in dots]
    figure.update_yaxes(ticktext=names)  # in two lines, for narrow screens
    return figure.update_layout(height=80 + 46 * len(dots)).update_xaxes(ZERO_LINE)


GRID_EXPLANATION = (
    "Each mark is how many {points} of test quality an entrant is above or below the full model of "
    "its cell; the bar is the 95 % interval of the recommended layout."
)


def claims_page(report: ReproductionReport) -> str:
    """Return the report of a plan as an HTML page."""
    return render_template(
        "claims.html.j2",
        {
            "title": report.title,
            "lead": report.summary,
            "missing": [f"Not finished: {name}." for name in report.missing],
            "claims": [(claim, _effect_line(claim)) for claim in report.claims],
            "sections": _sections(report),
        },
    )


def _effect_line(claim: Claim) -> str:
    """Return a claim's effect in a line, empty where it was not tested."""
    *_, name, mean, interval, p, _ = claims_table([claim]).rows[0]
    metric = claims_metric([claim])
    return f"{name}: {mean} {metric.points} ({interval}), p {p}" if claim.effect else ""


def _sections(report: ReproductionReport) -> list[ReportSection]:
    cells = report.cells
    grid = Plot("grid", "Every cell at a glance", grid_plot(cells), grid_table(cells))
    effects = Plot(
        "effects", "The effects", effects_plot(report.claims), claims_table(report.claims)
    )
    explanation = GRID_EXPLANATION.format(points=cells[0].metric.points)
    methods = Items(tuple(f"({claim.letter}) {claim.test}." for claim in report.claims))
    verdicts = TableWithBars(verdicts_table(cells, report.claims))
    layouts, scores = TableWithBars(layouts_table(cells)), TableWithBars(scores_table(cells))
    tests, oracle = TableWithBars(tests_table(report.claims)), TableWithBars(oracle_table(cells))
    oracle_note = Text(ORACLE_EXPLANATION, aside=True)
    published = (Text(PUBLISHED_NOTE), TableWithBars(published_table()))
    terms = (Items(report.terms), Code("The command that repeats it:", report.command))
    return [
        ReportSection("glance", "At a glance", (grid, Text(explanation, aside=True), effects)),
        ReportSection("cells", "Each cell", (verdicts, layouts)),
        ReportSection("entrants", "Every entrant", (scores, Text(SIZES_EXPLANATION, aside=True))),
        ReportSection("tests", "How each claim is tested", (methods, tests)),
        ReportSection("oracle", "Against the best fixed strategy on test", (oracle, oracle_note)),
        ReportSection("published", "Published scores", published),
        ReportSection("terms", "Terms", terms),
    ]
