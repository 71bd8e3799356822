"""HTML page of a plan: readable by all, safe with hostile names, true to its tables."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from autoprune.reproduction.claims import judge_claims
from autoprune.reproduction.page import claims_page, grid_plot, grid_table
from autoprune.reproduction.report import ReproductionReport
from made_cells import make_cell
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
