"""Metrics in reports: each is shown in % or, where it is an error, as a positive number."""

import html
import re

import pytest

from autoprune.cli.tables import print_comparison
from autoprune.evaluation.pareto import Limits
from autoprune.evaluation.permutation_test import PairedDifference
from autoprune.evaluation.verdict import describe_difference
from autoprune.experiment.result import ComparisonTable
from autoprune.reporting.dashboard_note import dashboard_plots, result_note
from autoprune.reporting.html.comparison import comparison_plots
from autoprune.reporting.html.pareto_page import LATENCY, pareto_page, quality_cost_plot
from autoprune.reporting.html.search import layer_plots, search_plots
from autoprune.reporting.html.study_page import study_page
from autoprune.reporting.markdown import markdown_report
from autoprune.reporting.pareto_report import pareto_markdown
from autoprune.reporting.tables import layer_effects, metric_of
from autoprune.training.metrics import METRICS
from made_fronts import front, point
from made_labels import METRICS_BY_TYPE
from made_studies import study_by

ERRORS = ("mse",)


def shown(metric, quality):
    return f"{-quality:.3f}" if metric in ERRORS else f"{100 * quality:.1f} %"


def visible(page):
    """Return the text of a page without its scripts, its styles and its tags."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def faults(text):
    """Return the numbers in per cent, but for intervals, and those below 0.

    Differences have another minus, except in the tables of plots.
    """
    return re.findall(r"(?<!95) %(?!\{)", text) + re.findall(r"(?<![\w.-])-\d+\.\d", text)


def texts_of(study, capsys):
    """Return all that is shown of a study, by name."""
    setting, comparison, trials = study.setting, study.comparison, study.trials
    table = ComparisonTable(comparison)
    print_comparison(comparison)
    plots = [*comparison_plots(comparison), *search_plots(trials), *layer_plots(trials, {})[0]]
    figures = [plot.figure for plot in plots] + list(dashboard_plots(trials).values())
    layouts = [str(figure.layout.to_plotly_json()) for figure in figures]
    hovers = [str(trace.hovertemplate) for figure in figures for trace in figure.data]
    return {
        "terminal": capsys.readouterr().out,
        "Markdown": markdown_report(setting, comparison, trials),
        "page": visible(study_page([study, study])),
        "note": result_note(setting, comparison, trials),
        "notebook": f"{table!r}{visible(table._repr_html_())}",
        "plots": " ".join([*layouts, *hovers]),
    }


def test_each_metric_is_of_a_problem_type():
    assert {metric for _, metric in METRICS_BY_TYPE} == set(METRICS)


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
def test_all_reports_show_a_quality_as_its_metric_says(kind, metric, tmp_path, capsys):
    study = study_by(kind, metric, tmp_path)
    texts = texts_of(study, capsys)
    for row in study.comparison.rows:
        expected = shown(metric, row.test_mean)
        for name, text in texts.items():
            assert name == "plots" or expected in text, (name, row.origin)
    difference = study.comparison.row("found").difference.mean
    if metric not in ERRORS:
        assert f"| {100 * difference:+.1f} |".replace("-", "−") in texts["Markdown"]
        assert f"in points against {study.comparison.reference}" in texts["Markdown"]


@pytest.mark.parametrize("found", [0.02, 0.3, 0.45, 0.98])
@pytest.mark.parametrize("metric", ERRORS)
def test_no_report_shows_an_error_in_percent_or_below_0(metric, found, tmp_path, capsys):
    study = study_by("regression", metric, tmp_path, found)
    texts = texts_of(study, capsys)
    for name in ("terminal", "Markdown", "note", "notebook"):
        assert faults(texts[name]) == [], name
    assert not any(re.search(r"(?<!95) %(?!\{)", texts[name]) for name in ("page", "plots"))
    assert not any("hundredths" in text or "points" in text for text in texts.values() if text)
    title = METRICS[metric].title
    assert f"numbers are {title} unless" in texts["Markdown"]
    assert f"“difference” (+ is better) is in {metric} against" in texts["Markdown"]
    plots = {plot.id: plot for plot in comparison_plots(study.comparison)}
    assert "(+ is better)" in plots["differences"].figure.layout.xaxis.title.text
    for trace in plots["quality"].figure.data:
        assert trace.x[0] > 0
        assert trace.error_x.array[0] >= 0 and trace.error_x.arrayminus[0] >= 0
    assert metric_of(study.trials) is METRICS[metric]
    best = max(layer_effects(study.trials), key=lambda effect: effect.difference)
    assert f"| {best.layer} |" in texts["Markdown"]
    assert f"+{best.difference:.3f}" in texts["Markdown"]


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (PairedDifference(0.052, 0.01, 0.09, 0.001), "better by 0.052 units of"),
        (PairedDifference(-0.052, -0.09, -0.01, 0.001), "worse by 0.052 units of"),
        (PairedDifference(0.004, -0.01, 0.02, 0.6), "+0.004 units of mean squared error (+ is be"),
    ],
)
def test_sentence_on_a_difference_of_errors_says_which_sign_is_better(gap, words):
    found = PairedDifference(gap.mean, gap.low, gap.high, gap.p_value, metric="mse")
    sentence = describe_difference("The layout a", "b", found, "9 rows")
    assert words in sentence
    assert f"interval {METRICS['mse'].format_differences(gap.low, gap.high)}, p" in sentence


@pytest.mark.parametrize("limits", [Limits(), Limits(drop=5.0), Limits(drop=0.1, megabytes=1.0)])
def test_pareto_reports_show_errors_as_positive_numbers(limits):
    points = [point(2, -1.5), point(4, -1.23), point(6, -1.22)]
    made = front(limits, points, metric="mse", full=point(12, -1.2, origin="full"))
    figure = quality_cost_plot(made, LATENCY)
    page, report = pareto_page(made), pareto_markdown(made)
    texts = {"page": visible(page), "Markdown": report}
    assert [faults(text) for text in texts.values()] == [[], []]
    assert not any("points" in text for text in (report, texts["page"]))
    assert "| 1.230 | 1.240 | 1.230 to 1.260 |" in report
    assert "0.030 mse above the full model" in report
    if limits == Limits(drop=5.0):
        assert "a drop of at most 0.05 mse, is 4 layers" in report
    assert all(y > 0 for trace in figure.data for y in trace.y)
    assert min(figure.data[1].error_y.array) >= 0 and min(figure.data[1].error_y.arrayminus) >= 0
