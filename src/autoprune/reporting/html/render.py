"""HTML rendering: a template becomes one file that needs no network and runs only our scripts.

The templates escape all texts. The page's Content-Security-Policy lets the browser run only the
scripts whose hashes it names, and load nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown import single_line
from autoprune.reporting.plot_style import DARK, css_variables
from autoprune.reporting.tables import Table

_FOLDER = Path(__file__).parent


def render_template(template: str, values: Mapping[str, object]) -> str:
    """Return the page that `template`, which extends base.html.j2, makes of `values`."""
    scripts = [get_plotlyjs(), (_FOLDER / "page.js").read_text(encoding="utf-8")]
    assert not any("</script" in script for script in scripts), "a script ends only at its end"
    common = {
        "css": css_variables() + (_FOLDER / "page.css").read_text(encoding="utf-8"),
        "scripts": scripts,
        "policy": _content_security_policy(scripts),
        "dark": _script_json(DARK),
    }
    return _environment().get_template(template).render(common, **values)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: single_line(value) if type(value) is str else value,
    )
    filters: dict[str, Callable[..., object]] = {
        "class_name": lambda part: type(part).__name__,
        "figure_json": lambda figure: _script_json(figure.to_plotly_json()),
        "svg": layout_svg,
        "numeric_columns": _numeric_columns,
    }
    environment.filters.update(filters)
    environment.tests["text"] = lambda cell: isinstance(cell, str)
    return environment


def layout_svg(layout: Layout) -> str:
    """Draw a layout, the layer nearest the embeddings first: a tall bar is a kept layer."""
    kept = "".join(f"M{10 * i} 0h8v14h-8z" for i, flag in enumerate(layout.flags) if flag)
    removed = "".join(f"M{10 * i} 6h8v2h-8z" for i, flag in enumerate(layout.flags) if not flag)
    label = f"keeps layers {str(layout).partition(':')[2]} of {layout.depth}"
    width = 10 * layout.depth - 2
    return (
        f'<svg class="layers" role="img" aria-label="{label}" width="{width}" height="14" '
        f'viewBox="0 0 {width} 14"><path class="kept" d="{kept}"/>'
        f'<path class="removed" d="{removed}"/></svg>'
    )


_NUMBER = re.compile(
    r"[-−+]?\d[\d.,]*( ?%)?( (±|to) [-−+]?[\d.,]+)?( \([\d.,]+ to [\d.,]+\))?|< [\d.]+"
)


def _numeric_columns(table: Table) -> list[bool]:
    """Tell for each column whether at least half of its filled cells are numbers."""
    columns = [
        [cell for cell in column if cell != ""] for column in zip(*table.rows, strict=True)
    ] or [[] for _ in table.header]
    return [
        2 * sum(isinstance(cell, str) and bool(_NUMBER.fullmatch(cell)) for cell in column)
        >= max(1, len(column))
        for column in columns
    ]


def _content_security_policy(scripts: Sequence[str]) -> str:
    """Return the policy: nothing is loaded, only `scripts` are run."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script_json(value: object) -> str:
    """Return JSON that is safe inside <script>: it cannot end the element."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=list
    )
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
