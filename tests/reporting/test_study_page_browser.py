"""Study page in a browser: it loads nothing, runs no hostile text, and is accessible."""

import dataclasses
from functools import partial

import pytest
from axe_playwright_python.sync_playwright import Axe

from autoprune.evaluation.racing import compare_entrants
from autoprune.reporting.html.study_page import study_page
from autoprune.tasks.task import LabelledRows
from page_faults import page_faults

NASTY = "<script>window.pwned=1</script><b>क्‍ष</b><img src=http://x.invalid/ onerror=pwned=2>"
TEXT = "<script>window.pwned=3</script> नागपूर : आरोग्य </script>"


@pytest.fixture
def hostile(finished_study, entrant, split, conditions, tmp_path):
    """A study whose name, labels, rival and texts are out to run as code."""
    model = f"{NASTY}@abc"
    entrants = [
        entrant("found", "4:0,2", (0,), 0.81, model=model),
        entrant("top", "4:0-1", (1, 2, 3), 0.61, model=model),
        entrant("full", "4:0-3", (), 0.91, model=model),
        entrant(NASTY, "2:0-1", (5,), 0.5, model="rival@1"),
    ]
    test = dataclasses.replace(split, rows=LabelledRows((TEXT,) * 12, split.rows.labels))
    comparison = compare_entrants(entrants, (7, 8), test, conditions, tmp_path / "records.jsonl")
    labels = (NASTY, "क्रीडा", "आरोग्य")
    setting = dataclasses.replace(finished_study.setting, model=NASTY, labels=labels)
    return dataclasses.replace(
        finished_study, name=NASTY, setting=setting, test=test, comparison=comparison
    )


@pytest.fixture
def show(browse, finished_study, hostile, costs):
    """Open the page of a hostile and a calm study, the calm one with its costs."""
    shares = {finished_study.name: {"layer 0": 1.0}}
    return partial(
        browse, study_page([hostile, finished_study], shares, {finished_study.name: costs})
    )


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (400, "light"),
        pytest.param(400, "dark", marks=pytest.mark.slow),
        pytest.param(1400, "light", marks=pytest.mark.slow),
        (1400, "dark"),
    ],
)
def test_page_is_accessible(show, width, theme):
    tab = show(width, theme)
    tab.evaluate(
        "document.querySelectorAll('details').forEach((details) => { details.open = true })"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (400, "light"),
        (1400, "dark"),
        *(
            pytest.param(width, theme, marks=pytest.mark.slow)
            for width in (400, 800, 1400, 1920)
            for theme in ("light", "dark")
            if (width, theme) not in {(400, "light"), (1400, "dark")}
        ),
    ],
)
def test_no_text_is_cut_off_and_no_table_scrolls(browse, finished_study, costs, width, theme):
    shares = {finished_study.name: {"layer 0": 1.0}}
    page = study_page([finished_study], shares, {finished_study.name: costs})
    assert page_faults(browse(page, width, theme)) == []


def test_page_faults_are_found(browse, finished_study, costs):
    page = study_page([finished_study], {}, {finished_study.name: costs})
    tab = browse(page, 1400)
    tab.evaluate("document.querySelector('.plot').style.width = '90px'")
    tab.evaluate("document.querySelector('.box').style.width = '200px'")
    kinds = {fault.partition(":")[0] for fault in page_faults(tab)}
    assert {"cut off", "scrolls"} <= kinds


def test_page_loads_nothing_and_runs_no_hostile_text(show, tmp_path):
    tab = show()
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert tab.events == [f"request {(tmp_path / 'page.html').as_uri()}"]
    assert tab.evaluate("typeof window.pwned") == "undefined"
    assert tab.locator("h2", has_text=NASTY).count() == 1
    assert tab.locator("#s1-errors ~ .errors .text").first.inner_text() == TEXT
    names = tab.locator("#s1-quality .ytick text").all_text_contents()
    assert names[:3] == ["found", "top", "full"]
    assert names[3].startswith("<script>")
    assert tab.locator("#s1-f1 .ytick text", has_text="क्रीडा").count() == 1


def test_every_plot_is_drawn_and_has_its_table(show):
    tab = show()
    drawn = tab.evaluate(
        "[...document.querySelectorAll('figure')].map((figure) => "
        "[figure.querySelectorAll('.plot svg.main-svg').length > 0, "
        "figure.querySelectorAll('details tbody tr').length > 0])"
    )
    assert len(drawn) == 15
    assert drawn == [[True, True]] * 15
    assert tab.locator(".modebar-btn").count() == 0


def test_plots_take_the_colors_of_the_theme(show):
    tab = show()
    plot = "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
    card = "getComputedStyle(document.querySelector('section')).backgroundColor"
    light = tab.evaluate(plot)
    assert light == tab.evaluate(card)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_selector("html[data-drawn=dark]", state="attached")
    assert tab.evaluate(plot) == tab.evaluate(card) != light


def test_page_works_with_a_keyboard(show):
    tab = show(400)
    focused = "document.activeElement"
    tab.keyboard.press("Tab")
    assert tab.evaluate(f"{focused}.textContent") == "Skip to the report"
    assert tab.evaluate(f"{focused}.getBoundingClientRect().left") >= 0
    tab.keyboard.press("Enter")
    assert tab.evaluate(f"{focused}.tagName") == "MAIN"
    seen = []
    while "SUMMARY" not in seen:
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate(f"{focused}.tagName"))
        assert len(seen) < 30
    tab.keyboard.press("Enter")
    assert tab.evaluate(f"{focused}.parentElement.open")
    tab.keyboard.press("Tab")
    assert tab.evaluate(f"{focused}.getAttribute('aria-label')").startswith("Table: ")


def test_wide_table_scrolls_in_its_own_box(show):
    tab = show(1000)
    box = tab.locator(".box[aria-label='Table: Comparison on the test split']").first
    box.evaluate("(box) => { box.style.width = '300px' }")
    box.focus()
    tab.keyboard.press("ArrowRight")
    box.evaluate("(box) => new Promise((done) => setTimeout(done, 300))")
    assert box.evaluate("(box) => box.scrollLeft") > 0
    assert tab.evaluate("scrollX") == 0
