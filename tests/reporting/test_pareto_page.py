"""Pareto page: every point is in plot and table, and no name of a user runs as code."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from autoprune.evaluation.pareto import Limits
from autoprune.reporting.html.pareto_page import (
    LATENCY,
    SIZE,
    best_for_cost,
    pareto_page,
    quality_cost_plot,
    quality_cost_table,
)
from autoprune.reporting.pareto_report import pareto_markdown
from autoprune.reporting.plot_style import TEAL
from made_fronts import CURVE, FULL, front, point

NASTY = "<script>window.pwned=1</script><b>क्‍ष</b><img src=http://x.invalid/ onerror=pwned=2>"
WORSE = point(5, 0.60, origin=NASTY)
LIMITS = Limits(drop=2.5)


@pytest.fixture
def hostile():
    """A front with a dominated point, whose names are out to run as code."""
    names = {"model": NASTY, "task": NASTY, "device": NASTY}
    return front(LIMITS, [*CURVE, WORSE], **names, studies=(NASTY, "calm"))


def traces(figure):
    """Return the traces of a figure by name."""
    return {trace.name.partition(",")[0]: trace for trace in figure.data}


@pytest.mark.parametrize("axis", [LATENCY, SIZE])
def test_plot_has_every_point_with_its_interval_and_number(hostile, axis):
    cost = axis.value
    figure = quality_cost_plot(hostile, axis)
    found = traces(figure)
    points = [*CURVE, WORSE, FULL]
    marks = [*zip(found["validation"].x, found["validation"].y, strict=True)]
    marks += [*zip(found["full model"].x, found["full model"].y, strict=True)]
    assert marks == [(cost(each), 100 * each.validation) for each in points]
    test = found["test"]
    assert [*zip(test.x, test.y, strict=True)] == [(cost(each), 100 * each.test) for each in points]
    assert list(test.error_y.array) == pytest.approx([1.0] * 6)
    assert list(test.error_y.arrayminus) == pytest.approx([2.0] * 6)
    numbers = [(note.x, note.y, note.text) for note in figure.layout.annotations]
    assert numbers == [(cost(each), 100 * each.validation, str(each.keep)) for each in points]


def test_plot_and_table_have_the_intervals_of_latencies(hostile):
    found = traces(quality_cost_plot(hostile, LATENCY))
    across = found["validation"].error_x
    assert list(across.array) == pytest.approx([0.5, 0.75, 1.0, 1.5, 1.25])
    assert list(across.arrayminus) == pytest.approx([0.2, 0.3, 0.4, 0.6, 0.5])
    assert list(found["full model"].error_x.array) == pytest.approx([3.0])
    table = quality_cost_table(hostile, LATENCY)
    assert [row[2] for row in table.rows][-1] == "12.0 (10.8 to 15.0)"
    sizes = traces(quality_cost_plot(hostile, SIZE))
    assert sizes["validation"].error_x.array is None
    assert [row[2] for row in quality_cost_table(hostile, SIZE).rows][-1] == "12.0"


def test_page_and_markdown_have_the_intervals_of_latencies():
    html, text = pareto_page(front()), pareto_markdown(front())
    assert "12.0 (10.8 to 15.0)" in html
    assert "| 12.0 | 10.8 to 15.0 | 83 | 67 to 92 | 12.0 |" in text


def test_plot_has_the_front_as_a_line_and_dominated_points_hollow(hostile):
    found = traces(quality_cost_plot(hostile, LATENCY))
    assert list(found["Pareto front"].x) == [2, 3, 4, 6, 12]
    assert found["Pareto front"].line.shape == "hv"
    assert list(found["validation"].marker.symbol) == ["circle"] * 4 + ["circle-open"]
    assert found["validation"].marker.color == TEAL


def test_best_for_cost_takes_the_better_of_equally_cheap_points():
    rivals = [point(2, 0.4, latency=1.0), point(3, 0.5, latency=1.0), point(4, 0.5, latency=2.0)]
    assert best_for_cost(rivals, LATENCY) == [rivals[1]]


@pytest.mark.parametrize(
    ("limits", "marks"),
    [
        (Limits(), {"knee": 4}),
        (Limits(drop=2.5), {"knee": 4, "smallest within the limits": 6}),
        (Limits(drop=3.0), {"knee": 4, "smallest within the limits": 4}),
        (Limits(drop=0.1), {"knee": 4}),
    ],
)
def test_plot_and_table_mark_the_knee_and_the_chosen_point(limits, marks):
    made = front(limits)
    found = traces(quality_cost_plot(made, LATENCY))
    always = ("Pareto front", "test", "validation", "full model")
    picked = {name: trace.x[0] for name, trace in found.items() if name not in always}
    assert picked == marks
    table = quality_cost_table(made, LATENCY)
    marked = {row[1]: row[-1] for row in table.rows}
    expected = {str(each.keep): "" for each in CURVE} | {"12": "full model"}
    for name, keep in marks.items():
        expected[str(keep)] = f"{expected[str(keep)]}, {name}".removeprefix(", ")
    assert marked == expected


def test_page_without_a_knee_marks_the_best_on_validation():
    made = front(points=[point(2, 0.5), point(3, 0.52), point(4, 0.6)])
    assert traces(quality_cost_plot(made, LATENCY))["best on validation"].x[0] == 4
    html = pareto_page(made)
    assert "(the best on validation)" in html and ">knee<" not in html


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_page_is_accessible(browse, hostile, width, theme):
    tab = browse(pareto_page(hostile), width, theme)
    tab.evaluate(
        "document.querySelectorAll('details').forEach((details) => { details.open = true })"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
    assert tab.locator(".box table").count() == 3  # one below each plot, and the whole
    assert tab.locator(".box tbody tr").count() == 3 * 6


def test_page_loads_nothing_and_runs_no_hostile_text(browse, hostile, tmp_path):
    tab = browse(pareto_page(hostile))
    tab.locator("#quality-latency .scatterlayer .trace").last.hover(force=True)
    assert tab.events == [f"request {(tmp_path / 'page.html').as_uri()}"]
    assert tab.evaluate("typeof window.pwned") == "undefined"
    assert tab.locator("h1").inner_text() == f"{NASTY} on {NASTY}: how many layers?"
    assert tab.locator("#studies ~ ul li").first.inner_text() == NASTY
    title = tab.locator("#quality-size .ytitle").text_content()
    assert title == "accuracy, %"


def test_plots_have_a_number_at_each_mark(browse, hostile):
    tab = browse(pareto_page(hostile))
    for name in ("latency", "size"):
        numbers = tab.locator(f"#quality-{name} .annotation-text").all_text_contents()
        assert numbers == ["2", "3", "4", "6", "5", "12"]
    names = tab.locator("#quality-size .legendtext").all_text_contents()
    assert names[-2:] == ["knee", "smallest within the limits"]


def test_hover_text_of_a_point_has_layers_and_numbers(browse):
    tab = browse(pareto_page(front(points=[point(3, 0.65, origin="<i>top</i>"), CURVE[2]])))
    tab.locator("#quality-latency").scroll_into_view_if_needed()
    box = tab.locator("#quality-latency .trace.scatter path.point").nth(3).bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = tab.locator("#quality-latency .hovertext")
    hover.wait_for()
    assert hover.text_content().startswith("3 layers, 12:0-2 (<i>top</i>)validation 65.0 %")


def test_page_has_the_advice():
    html = pareto_page(front(LIMITS))
    assert "The smallest model within the limits, a drop of at most 2.5 points, is 6 layers" in html
    assert "the knee of quality against latency is at 4 layers" in html.lower()
    assert html.count("</script>") == 5  # two plots, the dark colors, plotly, and page.js
