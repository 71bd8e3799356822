"""The page of a plan: the claims as one HTML file, the verdicts first."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autoprune.evaluation.permutation_test import paired_difference
from autoprune.evaluation.verdict import format_points
from autoprune.reporting.html.components import Code, Items, Plot, Section, TableWithBars, Text
from autoprune.reporting.html.render import render_template
from autoprune.reporting.plot_style import (
    GRID,
    MUTED,
    OCHRE,
    SLATE,
    TEAL,
    VIOLET,
    apply_style,
    short_label,
)
from autoprune.reporting.tables import Table
from autoprune.reproduction.claims import Claim
from autoprune.reproduction.paired_tests import CellResult, paired_test
from autoprune.reproduction.report import (
    ORACLE_EXPLANATION,
    SIZES_EXPLANATION,
    ReproductionReport,
    claims_summary,
    claims_table,
    layouts_table,
    oracle_table,
    published_note,
    published_table,
    reproduction_title,
    scores_table,
    tests_table,
    verdicts_table,
)

_RECOMMENDED = "recommended"

# Colour and symbol of each role: no two differ by colour alone.
VERDICT_STYLES = {
    _RECOMMENDED: (TEAL, "circle", 13),
    "top": (OCHRE, "triangle-left", 9),
    "middle": (OCHRE, "diamond", 9),
    "bottom": (OCHRE, "triangle-right", 9),
    "alternate": (OCHRE, "cross", 9),
    "scratch": (VIOLET, "x", 9),
    "rival": (VIOLET, "triangle-up", 10),
}

_VERDICTS = {"supported": (TEAL, "circle"), "contradicted": (OCHRE, "diamond")}


def grid_plot(cells: Sequence[CellResult]) -> go.Figure:
    """Draw who is how many points above or below the full model on test, a row for each cell.

    The recommended layout has its 95 % interval. Cells without a full model are left out.
    """
    cells = [cell for cell in cells if "full" in cell.rows]
    figure = go.Figure()
    for place in range(1, len(cells)):
        edge = {"color": GRID, "width": 1}
        figure.add_hline(y=place - 0.5, line=edge, layer="below")
    apart = dict(
        zip(VERDICT_STYLES, np.linspace(-0.3, 0.3, len(VERDICT_STYLES)).tolist(), strict=True)
    )
    for role, (colour, symbol, size) in VERDICT_STYLES.items():
        found = [(place, *one) for place, cell in enumerate(cells) for one in _role(cell, role)]
        if not found:
            continue
        figure.add_scatter(
            x=[gap for _, _, gap in found],
            y=[place + apart[role] for place, _, _ in found],
            error_x=_interval(cells) if role == _RECOMMENDED else None,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": size},
            name=role,
            customdata=[short_label(origin) for _, origin, _ in found],
            hovertemplate="%{customdata}: %{x:+.1f} points<extra></extra>",
        )
    figure = apply_style(figure, 110 + 64 * len(cells), "points against the full model", "")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(cells))),
        ticktext=[
            f"{short_label(cell.model)}<br>{short_label(cell.task)}, keep {cell.keep}<br>"
            f"full {100 * cell.rows['full'].test_mean:.1f} %"
            for cell in cells
        ],
        range=[len(cells) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=True)
    return figure


def grid_table(cells: Sequence[CellResult]) -> Table:
    """Return what `grid_plot` draws, in points against the full model."""
    rows = tuple(
        (cell.name, role, origin, f"{gap:+.1f}")
        for cell in cells
        if "full" in cell.rows
        for role in VERDICT_STYLES
        for origin, gap in _role(cell, role)
    )
    return Table("Points against the full model", ("cell", "role", "origin", "points"), rows)


def _role(cell: CellResult, role: str) -> list[tuple[str, float]]:
    """Return who has a role in a cell, and how many points above the full model."""
    origins = {_RECOMMENDED: [cell.recommended], "rival": cell.rivals}.get(role, [role])
    full = cell.rows["full"].test_mean
    return [
        (origin, 100 * (cell.rows[origin].test_mean - full))
        for origin in origins
        if origin in cell.rows
    ]


def _interval(cells: Sequence[CellResult]) -> dict[str, object]:
    gaps = [
        paired_difference(made.a, made.b)
        for cell in cells
        if (made := paired_test(cell, cell.recommended, "full"))
    ]
    return {
        "array": [100 * (gap.high - gap.mean) for gap in gaps],
        "arrayminus": [100 * (gap.mean - gap.low) for gap in gaps],
        "color": TEAL,
        "thickness": 2,
        "width": 0,
    }


def effects_plot(claims: Sequence[Claim]) -> go.Figure:
    """Draw the mean difference behind each tested claim in points, with its 95 % interval."""
    shown = [claim for claim in claims if claim.effect is not None]
    figure = go.Figure()
    for place, claim in enumerate(shown):
        assert claim.effect is not None
        effect, (colour, symbol) = claim.effect, _VERDICTS.get(claim.verdict, (SLATE, "square"))
        figure.add_scatter(
            x=[100 * effect.mean],
            y=[place],
            error_x={
                "array": [100 * (effect.high - effect.mean)],
                "arrayminus": [100 * (effect.mean - effect.low)],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            mode="markers+text",
            marker={"color": colour, "symbol": symbol, "size": 11},
            text=[f"{format_points(effect.mean)} {claim.verdict}"],
            textposition="top center",
            textfont={"size": 12},
            hoverinfo="skip",
            showlegend=False,
        )
    title = "points, mean over the cells, with 95 % interval"
    figure = apply_style(figure, 90 + 52 * len(shown), title, "")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(shown))),
        ticktext=[f"({one.letter}) {short_label(one.effect_of)}" for one in shown],
        range=[len(shown) - 0.5, -0.8],
        showgrid=False,
    )
    return figure


SUMMARY_LABELS = (
    "Each mark is how many points of test quality an entrant is above or below the full model of "
    "its cell; the bar is the 95 % interval of the recommended layout."
)


def claims_page(found: ReproductionReport) -> str:
    """Return what a plan came to as HTML."""
    return render_template(
        "claims.html.j2",
        title=reproduction_title(found),
        lead=claims_summary(found),
        missing=[f"Not finished: {name}." for name in found.missing],
        claims=[(claim, _figures(claim)) for claim in found.claims],
        sections=_sections(found),
    )


def _figures(claim: Claim) -> str:
    """Tell a claim's effect in a line, empty where it was not tested."""
    *_, name, mean, interval, p, _ = claims_table([claim]).rows[0]
    return f"{name}: {mean} points ({interval}), p {p}" if claim.effect else ""


def _sections(found: ReproductionReport) -> list[Section]:
    cells = found.cells
    glance = Plot("grid", "Every cell at a glance", grid_plot(cells), grid_table(cells))
    behind = Plot("effects", "The effects", effects_plot(found.claims), claims_table(found.claims))
    how = tuple(f"({claim.letter}) {claim.test}." for claim in found.claims)
    return [
        Section("glance", "At a glance", (glance, Text(SUMMARY_LABELS, aside=True), behind)),
        Section(
            "cells",
            "Each cell",
            (
                TableWithBars(verdicts_table(cells, found.claims)),
                TableWithBars(layouts_table(cells)),
            ),
        ),
        Section(
            "entrants",
            "Every entrant",
            (TableWithBars(scores_table(cells)), Text(SIZES_EXPLANATION, aside=True)),
        ),
        Section(
            "tests",
            "How each claim is tested",
            (Items(how), TableWithBars(tests_table(found.claims))),
        ),
        Section(
            "oracle",
            "Against the best fixed strategy on test",
            (TableWithBars(oracle_table(cells)), Text(ORACLE_EXPLANATION, aside=True)),
        ),
        Section(
            "published",
            "Published scores",
            (Text(published_note()), TableWithBars(published_table())),
        ),
        Section(
            "terms",
            "Terms",
            (Items(found.terms), Code("The command that repeats it:", found.command)),
        ),
    ]
