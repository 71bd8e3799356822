"""Plots of a grid: every cell at a glance, and the mean effect behind each claim."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autoprune.evidence.cells import Cell
from autoprune.evidence.claim import Claim
from autoprune.evidence.duels import duel
from autoprune.evidence.figures import label
from autoprune.evidence.palette import GRID, MUTED, OCHRE, SLATE, TEAL, VIOLET, calm
from autoprune.evidence.tables import Table
from autoprune.evidence.verdict import points

_RECOMMENDED = "recommended"
# Colour and symbol of each role: no two differ by colour alone.
LOOKS = {
    _RECOMMENDED: (TEAL, "circle", 13),
    "top": (OCHRE, "triangle-left", 9),
    "middle": (OCHRE, "diamond", 9),
    "bottom": (OCHRE, "triangle-right", 9),
    "alternate": (OCHRE, "cross", 9),
    "scratch": (VIOLET, "x", 9),
    "rival": (VIOLET, "triangle-up", 10),
}
_VERDICTS = {"supported": (TEAL, "circle"), "contradicted": (OCHRE, "diamond")}


def grid(cells: Sequence[Cell]) -> go.Figure:
    """Draw who is how many points above or below the full model on test, a row for each cell.

    The recommended layout has its 95 % interval. Cells without a full model are left out.
    """
    cells = [cell for cell in cells if "full" in cell.rows]
    figure = go.Figure()
    for place in range(1, len(cells)):
        edge = {"color": GRID, "width": 1}
        figure.add_hline(y=place - 0.5, line=edge, layer="below")
    apart = dict(zip(LOOKS, np.linspace(-0.3, 0.3, len(LOOKS)).tolist(), strict=True))
    for role, (colour, symbol, size) in LOOKS.items():
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
            customdata=[label(origin) for _, origin, _ in found],
            hovertemplate="%{customdata}: %{x:+.1f} points<extra></extra>",
        )
    figure = calm(figure, 110 + 64 * len(cells), "points against the full model", "")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(cells))),
        ticktext=[
            f"{label(cell.model)}<br>{label(cell.task)}, keep {cell.keep}<br>"
            f"full {100 * cell.rows['full'].test_mean:.1f} %"
            for cell in cells
        ],
        range=[len(cells) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_layout(showlegend=True)
    return figure


def grid_table(cells: Sequence[Cell]) -> Table:
    """Return what `grid` draws, in points against the full model."""
    rows = tuple(
        (cell.name, role, origin, f"{gap:+.1f}")
        for cell in cells
        if "full" in cell.rows
        for role in LOOKS
        for origin, gap in _role(cell, role)
    )
    return Table("Points against the full model", ("cell", "role", "origin", "points"), rows)


def _role(cell: Cell, role: str) -> list[tuple[str, float]]:
    """Return who has a role in a cell, and how many points above the full model."""
    origins = {_RECOMMENDED: [cell.recommended], "rival": cell.rivals}.get(role, [role])
    full = cell.rows["full"].test_mean
    return [
        (origin, 100 * (cell.rows[origin].test_mean - full))
        for origin in origins
        if origin in cell.rows
    ]


def _interval(cells: Sequence[Cell]) -> dict[str, object]:
    gaps = [
        made.a.minus(made.b) for cell in cells if (made := duel(cell, cell.recommended, "full"))
    ]
    return {
        "array": [100 * (gap.high - gap.mean) for gap in gaps],
        "arrayminus": [100 * (gap.mean - gap.low) for gap in gaps],
        "color": TEAL,
        "thickness": 2,
        "width": 0,
    }


def effects(claims: Sequence[Claim]) -> go.Figure:
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
            text=[f"{points(effect.mean)} {claim.verdict}"],
            textposition="top center",
            textfont={"size": 12},
            hoverinfo="skip",
            showlegend=False,
        )
    title = "points, mean over the cells, with 95 % interval"
    figure = calm(figure, 90 + 52 * len(shown), title, "")
    figure.update_xaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1.5)
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(shown))),
        ticktext=[f"({one.letter}) {label(one.effect_of)}" for one in shown],
        range=[len(shown) - 0.5, -0.8],
        showgrid=False,
    )
    return figure
