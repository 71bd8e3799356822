"""HTML page of a plan: readable by all, safe with hostile names, true to its tables."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from autoprune.reproduction.claims import judge_claims
from autoprune.reproduction.page import claims_page, effects_plot, grid_plot, grid_table
from autoprune.reproduction.report import ReproductionReport, reproduction_markdown
from made_cells import make_cell, mse_cell
from page_faults import page_faults

NASTY = "<script>window.pwned=1</script><img src=http://x.invalid/ onerror=pwned=2>"


@pytest.fixture(scope="module")
def page():
    """Return the page of two cells, all names of which try to run as code."""
    cells = (make_cell(keep=6), make_cell(keep=2, task=NASTY, model=NASTY, full=70, mr_6=71))
    claims = tuple(judge_claims(cells, (), 0.01))
    return claims_page(ReproductionReport(NASTY, cells, claims, (NASTY,), (NASTY,), NASTY))


@pytest.mark.parametrize(("width", "theme"), [(400, "dark"), (1400, "light")])
def test_page_is_accessible_and_runs_no_code_of_names(browse, page, width, theme, tmp_path):
    tab = browse(page, width, theme)
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(tab).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in violations] == []
    assert tab.events == [f"request {(tmp_path / 'page.html').as_uri()}"]
    assert tab.evaluate("typeof window.pwned") == "undefined"
    assert NASTY in tab.locator("h1").inner_text()
    verdicts = tab.locator(".badge").all_inner_texts()
    assert len(verdicts) == 7
    assert set(verdicts) <= {"Supported", "Contradicted", "Undecided", "Untested"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1400, 1920])
def test_no_text_is_cut_off_and_no_table_scrolls(browse, width, theme):
    cells = (make_cell(keep=6), make_cell(keep=2, full=70, mr_6=71))
    claims = tuple(judge_claims(cells, (), 0.01))
    page = claims_page(ReproductionReport("mini", cells, claims, (), (), "Two cells."))
    assert page_faults(browse(page, width, theme)) == []


@pytest.mark.parametrize("found", [0.9, 0.999, 1.2])
def test_reports_on_errors_show_no_percent_and_no_negative_error(found):
    cells = (mse_cell(found=found), mse_cell("other", found=found, top=1.1, middle=1.05))
    claims = tuple(judge_claims(cells, (), 0.01))
    report = ReproductionReport("p", cells, claims, (), (), "")
    text = reproduction_markdown(report)
    ours = text[: text.index("## Published")]
    assert not re.search(r"(?<!95) %|points|hundredths|(?<![\w.-])-\d+\.\d", ours)
    assert f"| {found**2 * 1.0033:.3f} |" in ours
    assert "mse (+ is better)" in ours
    assert "within 0.01 mse above the full model for sure" in ours
    assert f"full {1.0033:.3f}" in grid_plot(cells).layout.yaxis.ticktext[0]
    assert "mse against the full model (+ is better)" in claims_page(report)
    effects = effects_plot(claims)
    assert effects.layout.xaxis.title.text.startswith("mse (+ is better), mean")
    assert effects.data[0].x[0] == pytest.approx((1 - found**2) * 1.0033, abs=1e-3)


def test_page_is_below_six_megabytes(page):
    assert len(page.encode()) < 6 * 2**20


def test_grid_plot_shows_the_points_of_its_table():
    cells = [
        make_cell(),
        make_cell(keep=2, full=None),
        make_cell(keep=3, found=70, full=85, mr_6=86),
    ]
    marks = {
        (trace.name, round(float(points), 6))
        for trace in grid_plot(cells).data
        for points in trace.x
    }
    assert marks >= {("recommended", -15.0), ("rival", 1.0), ("scratch", -10.0)}
    rows = grid_table(cells).rows
    assert {name for name, *_ in rows} == {cells[0].name, cells[2].name}
    assert (cells[2].name, "recommended", "found", "-15.0") in rows
