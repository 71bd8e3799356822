"""Rendering: a template becomes one HTML file that needs no network and runs nothing but our own.

Templates escape all texts, and the page's policy lets the browser run only the scripts whose
hashes it names and load nothing at all.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from autoprune.layouts.layout import Layout
from autoprune.reporting.plot_style import DARK
from autoprune.reporting.tables import Table, table_line

_STEP, _CELL = 10, 8  # a cell's place and its width, in pixels


@dataclass(frozen=True, slots=True)
class LayoutPicture:
    """The two paths of an SVG drawing 14 high, and what it shows in words."""

    width: int
    kept: str
    removed: str
    words: str


def layout_picture(layout: Layout) -> LayoutPicture:
    """Draw a layout, the layer nearest the embeddings first.

    >>> picture(Layout(3, (0, 2))).words
    'keeps layers 0,2 of 3'
    """
    kept, removed = "", ""
    for layer, flag in enumerate(layout.flags):
        if flag:
            kept += f"M{layer * _STEP} 0h{_CELL}v14h-{_CELL}z"
        else:
            removed += f"M{layer * _STEP} 6h{_CELL}v2h-{_CELL}z"
    layers = str(layout).partition(":")[2]
    words = f"keeps layers {layers} of {layout.depth}"
    return LayoutPicture(layout.depth * _STEP - _STEP + _CELL, kept, removed, words)


_HERE = Path(__file__).parent

_FIGURE = re.compile(
    r"[-−+]?\d[\d.,]*( ?%)?( (±|to) [-−+]?[\d.,]+)?( \([\d.,]+ to [\d.,]+\))?|< [\d.]+"
)


def render_template(template: str, **values: object) -> str:
    """Return the page that `template`, which extends base.html.j2, makes of `values`."""
    scripts = [get_plotlyjs(), (_HERE / "page.js").read_text(encoding="utf-8")]
    assert not any("</script" in script for script in scripts), "a script ends only at its end"
    return (
        _environment()
        .get_template(template)
        .render(
            css=(_HERE / "page.css").read_text(encoding="utf-8"),
            scripts=scripts,
            policy=_policy(scripts),
            dark=_data(DARK),
            **values,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: table_line(value) if type(value) is str else value,
    )
    environment.filters["spec"] = _spec
    environment.filters["picture"] = layout_picture
    environment.filters["points"] = lambda share: f"{100 * share:.1f}"
    environment.filters["numeric"] = _numeric
    environment.tests["words"] = lambda cell: isinstance(cell, str)
    return environment


def _numeric(table: Table) -> list[bool]:
    """Tell of each column whether half of what it holds, or more, are figures."""
    columns = [
        [cell for cell in column if cell != ""] for column in zip(*table.rows, strict=True)
    ] or [[] for _ in table.header]
    return [
        2 * sum(isinstance(cell, str) and bool(_FIGURE.fullmatch(cell)) for cell in column)
        >= max(1, len(column))
        for column in columns
    ]


def _policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy: nothing is loaded, only `scripts` are run."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _spec(figure: go.Figure) -> str:
    """Return a figure's data for its place inside <script>."""
    return _data(figure.to_plotly_json())


def _data(value: object) -> str:
    """Return JSON that cannot end the <script> it stands in."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=list
    )
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
