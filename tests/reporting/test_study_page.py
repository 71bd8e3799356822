"""Study page: the content of the report in order, each plot with its table, all texts escaped."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from autoprune.evaluation.comparison import compare_entrants
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.layouts.layout import Layout
from autoprune.reporting.html.errors import (
    MAX_CHARACTERS,
    MAX_CLASSES,
    SeedPredictions,
    class_scores,
    confusion_matrix,
    entrant_errors,
    f1_table,
    seed_predictions,
    true_labels,
)
from autoprune.reporting.html.study_page import study_page
from autoprune.tasks.task import LabelledRows

LIMIT = 6_000_000  # bytes of a page
NAMES = ("sport", "health", "auto")


class Outline(HTMLParser):
    """The page without its scripts and styles: tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.scripts = [], [], []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        place = {"script": self.scripts, "style": []}.get(self._inside, self.words)
        place.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def written(studied):
    return Outline(study_page([studied]))


def test_page_begins_with_verdict_and_recommendation(studied, written):
    text, comparison = written.text, studied.comparison
    at = [text.index(comparison_verdict(comparison)), text.index(recommendation(comparison))]
    assert at == sorted(at)
    assert at[1] < text.index("What to do next") < text.index("Quality on the test split")
    assert "autoprune export demo-demo-keep2 --layout found --out demo-demo-keep2-model" in text


def test_page_has_all_sections_in_order(written):
    titles = [
        "Comparison on the test split",
        "The search",
        "Which layers matter",
        "Class by class",
        "Errors that only one model makes",
        "Data",
        "Budgets and training time",
        "Measured cost",
        "To repeat it",
        "Limits",
    ]
    links = [attrs["href"].removeprefix("#") for attrs in written.all("a")][1:]
    headings = [attrs.get("id") for attrs in written.all("h2")]
    assert links == [one for one in headings if one]
    assert len(links) == len(titles)
    text = written.text
    at = [text.index(f" {title} ", text.index("Contents")) for title in titles]
    assert at == sorted(at)
    for shown in ("4:0,2", "loss is not a number", "autoprune search --model demo", "f2", "101"):
        assert shown in text


def test_headings_skip_no_level(studied):
    for studies in ([studied], [studied, dataclasses.replace(studied, name="other")]):
        levels = [
            int(tag[1]) for tag, _ in Outline(study_page(studies)).tags if re.match("h[1-6]$", tag)
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        steps = [later - earlier for earlier, later in pairwise(levels)]
        assert max(steps) == 1


def test_every_plot_has_a_table_and_a_name(written):
    figures = written.all("figure")
    plots = [attrs for attrs in written.all("div") if attrs.get("class") == "plot"]
    assert len(figures) == len(plots) == len(written.all("details")) == 6
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    boxes = [attrs for attrs in written.all("div") if attrs.get("class") == "box"]
    assert len(boxes) == len(written.all("table"))
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes)


def test_page_is_small_and_has_plotly_once(studied):
    whole = study_page([studied, dataclasses.replace(studied, name="other")])
    assert len(whole.encode()) < LIMIT
    assert whole.count("plotly.js v") == 1


def test_scripts_are_plotly_ours_or_data(written):
    scripts = written.all("script")
    data = [attrs for attrs in scripts if attrs.get("type") == "application/json"]
    assert len(scripts) == len(data) + 2
    assert not any("src" in attrs for attrs in scripts)
    policy = written.all("meta")[1]["content"]
    assert policy.count("'sha256-") == 2
    assert "default-src 'none'" in policy
    for text in written.scripts[:-2]:
        assert "<" not in text
        json.loads(text)


NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


def nasty(studied, entrant, split, conditions, path):
    """Return the study with hostile text in every place that text from outside can reach."""
    entrants = [
        entrant("found", "4:0,2", (0,), 0.81),
        entrant("top", "4:0-1", (1, 2, 3), 0.61),
        entrant("full", "4:0-3", (), 0.91),
        entrant(NASTY, "2:0-1", (5,), 0.5, model="rival@1"),
        entrant("broken", "3:0-1", (5,), 0.5, model="broken@1", fails=(7,)),
    ]
    test = dataclasses.replace(split, rows=LabelledRows((NASTY,) * 12, split.rows.labels))
    comparison = compare_entrants(entrants, (7, 8), test, conditions, path)
    setting = dataclasses.replace(
        studied.setting,
        task=NASTY,
        labels=(NASTY, "b", "c"),
        device=NASTY,
        command=NASTY,
        versions={NASTY: NASTY},
        fingerprints={NASTY: NASTY},
        cleaned=(dataclasses.replace(studied.setting.cleaned[0], split=NASTY),),
    )
    trials = (
        *studied.trials[:3],
        dataclasses.replace(studied.trials[3], origin=NASTY, notes=(NASTY,)),
        dataclasses.replace(studied.trials[-1], reason=NASTY),
    )
    left_out = (*comparison.left_out, NASTY)
    return dataclasses.replace(
        studied,
        name=NASTY,
        setting=setting,
        test=test,
        trials=trials,
        comparison=dataclasses.replace(comparison, left_out=left_out),
    )


def test_page_escapes_hostile_texts(studied, entrant, split, conditions, tmp_path):
    bad = nasty(studied, entrant, split, conditions, tmp_path / "r.jsonl")
    importances = {NASTY: {NASTY: 1.0}}
    for studies in ([bad], [bad, studied]):
        calm = Outline(study_page([studied] * len(studies)))
        outline = Outline(study_page(studies, importances))
        assert outline.all("img") == []
        assert not any("onerror" in attrs for _, attrs in outline.tags)
        data = [attrs for attrs in outline.all("script") if attrs.get("type")]
        assert len(outline.all("script")) == len(data) + 2
        assert outline.text.count(NASTY) >= 12
        assert "49" not in re.findall(r"\{\{.*?\}\}|49\"", outline.text)
        assert len(calm.all("main")) == len(outline.all("main")) == 1


def test_page_drops_control_characters_and_half_surrogates(studied):
    odd = dataclasses.replace(studied, name="a\udc80\x1b\u202eb")
    assert "a? b" in Outline(study_page([odd])).text
    study_page([odd]).encode()


def test_page_keeps_devanagari_with_joiners(studied):
    setting = dataclasses.replace(studied.setting, labels=("क्रीडा", "आरोग्य", "श्री क्‍ष"))
    whole = study_page([dataclasses.replace(studied, setting=setting)])
    assert "श्री क्‍ष" in whole
    assert '<meta charset="utf-8">' in whole


def test_page_shows_importances_where_they_are_given(studied):
    name = studied.name
    assert (
        "Importance of each layer" in Outline(study_page([studied], {name: {"layer 0": 1.0}})).text
    )
    assert "Importance of each layer" not in Outline(study_page([studied])).text


def test_page_shows_measured_costs_with_their_intervals(studied, costs):
    whole = Outline(study_page([studied], None, {studied.name: costs}))
    row = "found 4.00 (3.64 to 4.44) 1,140 (1,000 to 1,250) 2.00 (1.75 to 2.25)"
    assert f"{row} 20 12.5 1,234,567 234,567 1.5" in whole.text
    assert "small <b>|" in whole.text
    assert (
        "Measured on 2025-02-03 on cpu, 2 threads, fp32 (torch 2.13): medians of 15 rounds"
        in whole.text
    )
    assert "Little gain: 1.20 times." in whole.text
    assert "found is ●○●○ 4:0,2." in whole.text
    assert {"s1-latency", "s1-throughput"} <= {one.get("id") for one in whole.all("div")}
    assert "autoprune cost" not in whole.text


def test_page_without_costs_says_how_to_measure_them(studied):
    text = Outline(study_page([studied])).text
    assert "throughput are not measured yet" in text
    assert text.count("autoprune cost demo-demo-keep2") == 2  # what to do next, and there
    assert "ms for one text" not in text


def test_page_without_texts_says_so(studied):
    text = Outline(study_page([dataclasses.replace(studied, texts=False)])).text
    assert "The texts are left out" in text
    assert "predicted as" not in text


def test_page_of_a_baseline_has_no_section_on_a_search(
    studied, setting, entrants, split, conditions, tmp_path
):
    comparison = compare_entrants(entrants[1:], (7,), split, conditions, tmp_path / "r.jsonl")
    bare = dataclasses.replace(
        studied,
        setting=dataclasses.replace(setting, quick=None),
        trials=(),
        comparison=comparison,
        found=None,
    )
    text = Outline(study_page([bare])).text
    assert "The best fixed strategy by mean validation quality is top" in text
    assert "The search" not in text
    assert "Which layers matter" not in text
    assert "--layout top" in text


def test_page_names_an_entrant_that_failed(studied, entrant, split, conditions, tmp_path):
    entrants = [
        entrant("found", "4:0-1", (0,), 0.5),
        entrant("top", "4:0-1", (0,), 0.5),
        entrant("full", "4:0-3", (), 0.5, fails=(8,)),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    same = dataclasses.replace(studied, comparison=comparison)
    text = Outline(study_page([same])).text
    assert "Same layout" in text
    assert "full failed with seed 8: loss is not a number" in text
    assert "There is only one model to look at." in text


def test_seed_predictions_have_each_layout_once(studied, entrant, split, conditions, tmp_path):
    entrants = [
        entrant("top", "4:0-1", (0,), 0.5),
        entrant("found", "4:0-1", (0,), 0.5),
        entrant("full", "4:0-3", (1,), 0.5),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    said = seed_predictions(dataclasses.replace(studied, comparison=comparison))
    assert [one.origin for one in said] == ["found", "full"]
    assert said[0].labels.shape == (2, 10)


def test_page_of_several_studies_begins_with_a_matrix(studied, setting):
    others = [
        dataclasses.replace(
            studied, name=name, setting=dataclasses.replace(setting, task=task, keep=keep)
        )
        for name, task, keep in (("b", "demo", 3), ("c", "shc", 3), ("d", "shc", 3))
    ]
    outline = Outline(study_page([studied, *others]))
    table = study_page([studied, *others]).split('<table class="matrix">')[1].split("</table>")[0]
    cells = Outline(table)
    assert [tag for tag, attrs in cells.tags if tag == "th"] == ["th"] * 5
    assert "model, task keep 2 keep 3" in cells.text
    assert [attrs["href"] for attrs in cells.all("a")] == ["#s1", "#s2", "#s3", "#s4"]
    assert cells.text.count("no study") == 1
    assert "90.0 %" in cells.text
    assert "found against top: +20.0 points" in cells.text
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_class_scores_have_known_values():
    labels = np.array([0, 0, 1, 1, 2])
    said = SeedPredictions("x", np.array([[0, 1, 1, 1, 2], [0, 0, 1, 1, 2]]))
    one = class_scores(said, labels, 4)
    assert one.f1 == pytest.approx([(2 / 3 + 1) / 2, (4 / 5 + 1) / 2, 1, 0])
    assert one.shares[0] == pytest.approx([0.75, 0.25, 0, 0])
    assert one.shares[3].sum() == 0
    rows = np.array([2, 2, 1, 0])
    table = f1_table([one], ("a", "b", "c", "d"), rows)
    assert table.rows[0] == ("a", "2", "83.3")
    assert table.rows[3] == ("d", "0", "")


def test_confusion_matrix_of_many_classes_has_the_most_frequent():
    count = MAX_CLASSES + 5
    labels = np.repeat(np.arange(count), np.arange(count) + 1)
    one = class_scores(SeedPredictions("x", labels[None]), labels, count)
    drawn = confusion_matrix(one, [f"c{i}" for i in range(count)], np.arange(count) + 1)
    assert len(drawn.names) == len(drawn.shares) == len(drawn.shares[0]) == MAX_CLASSES
    assert drawn.names[0] == "c5"


def test_entrant_errors_are_of_one_entrant_only(split):
    labels = np.array(split.rows.labels)[:10]

    def said(origin, *wrong):
        answers = np.array([labels, labels, labels])
        for seed, rows in enumerate(wrong):
            answers[seed, list(rows)] = (answers[seed, list(rows)] + 1) % 3
        return SeedPredictions(origin, answers)

    everyone = [
        said("found", (0, 1, 4), (0, 1, 4), (4,)),
        said("top", (1, 2), (1,), (1,)),
        said("full", (0,), (), ()),
    ]
    found, top, full = entrant_errors(everyone, labels, split, NAMES)
    assert (found.origin, found.count) == ("found", 2)
    assert [error.text for error in found.examples] == ["e", "a"]
    assert (found.examples[0].label, found.examples[0].predicted) == ("health", "auto")
    assert (found.examples[1].wrong, found.examples[1].seeds) == (2, 3)
    assert (top.count, full.count) == (0, 0)


def test_entrant_errors_cut_long_texts_and_show_pairs(studied):
    rows = LabelledRows(("x" * 999,) * 12, studied.test.rows.labels, ("second",) * 12)
    one = dataclasses.replace(studied.test, rows=rows)
    shown = (
        entrant_errors(seed_predictions(studied), true_labels(studied), one, NAMES)[0]
        .examples[0]
        .text
    )
    assert shown == "x" * MAX_CHARACTERS + "…"
    rows = LabelledRows(("first",) * 12, studied.test.rows.labels, ("second",) * 12)
    one = dataclasses.replace(studied.test, rows=rows)
    assert (
        entrant_errors(seed_predictions(studied), true_labels(studied), one, NAMES)[0]
        .examples[0]
        .text
        == "first | second"
    )


def test_layouts_have_descriptions_for_screen_readers(written):
    labels = [attrs["aria-label"] for attrs in written.all("svg")]
    assert f"keeps layers {str(Layout.parse('4:0,2')).partition(':')[2]} of 4" in labels
