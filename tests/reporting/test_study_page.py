"""Study page: the content of the report in order, each plot with its table, all texts escaped."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from autoprune.evaluation.entrants import SeedSchedule
from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.layouts.layout import Layout
from autoprune.reporting.html.study_page import study_page
from autoprune.tasks.task import LabelledRows

LIMIT = 6_000_000  # bytes of a page


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
        texts = {"script": self.scripts, "style": []}.get(self._inside, self.words)
        texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def outline(finished_study):
    return Outline(study_page([finished_study]))


def test_page_begins_with_verdict_and_recommendation(finished_study, outline):
    text, comparison = outline.text, finished_study.comparison
    positions = [text.index(comparison_verdict(comparison)), text.index(recommendation(comparison))]
    assert positions == sorted(positions)
    assert positions[1] < text.index("What to do next") < text.index("Quality on the test split")
    assert "autoprune export demo-demo-keep2 --out demo-demo-keep2-model" in text


def test_page_has_all_sections_in_order(outline):
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
    links = [attrs["href"].removeprefix("#") for attrs in outline.all("a")][1:]
    headings = [attrs.get("id") for attrs in outline.all("h2")]
    assert links == [heading for heading in headings if heading]
    assert len(links) == len(titles)
    text = outline.text
    positions = [text.index(f" {title} ", text.index("Contents")) for title in titles]
    assert positions == sorted(positions)
    for shown in ("4:0,2", "loss is not a number", "autoprune search --model demo", "f2", "101"):
        assert shown in text


def test_headings_skip_no_level(finished_study):
    for studies in (
        [finished_study],
        [finished_study, dataclasses.replace(finished_study, name="other")],
    ):
        levels = [
            int(tag[1]) for tag, _ in Outline(study_page(studies)).tags if re.match("h[1-6]$", tag)
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        steps = [later - earlier for earlier, later in pairwise(levels)]
        assert max(steps) == 1


def test_every_plot_has_a_table_and_a_name(outline):
    figures = outline.all("figure")
    plots = [attrs for attrs in outline.all("div") if attrs.get("class") == "plot"]
    assert len(figures) == len(plots) == len(outline.all("details")) == 6
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    boxes = [attrs for attrs in outline.all("div") if attrs.get("class") == "box"]
    assert len(boxes) == len(outline.all("table"))
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes)


def test_page_is_small_and_has_plotly_once(finished_study):
    whole = study_page([finished_study, dataclasses.replace(finished_study, name="other")])
    assert len(whole.encode()) < LIMIT
    assert whole.count("plotly.js v") == 1


def test_scripts_are_plotly_ours_or_data(outline):
    scripts = outline.all("script")
    data = [attrs for attrs in scripts if attrs.get("type") == "application/json"]
    assert len(scripts) == len(data) + 2
    assert not any("src" in attrs for attrs in scripts)
    policy = outline.all("meta")[1]["content"]
    assert policy.count("'sha256-") == 2
    assert "default-src 'none'" in policy
    for text in outline.scripts[:-2]:
        assert "<" not in text
        json.loads(text)


NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


def hostile_study(finished_study, entrant, split, conditions, path):
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
        finished_study.setting,
        task=NASTY,
        labels=(NASTY, "b", "c"),
        device=NASTY,
        command=NASTY,
        versions={NASTY: NASTY},
        fingerprints={NASTY: NASTY},
        cleaned=(dataclasses.replace(finished_study.setting.cleaned[0], split=NASTY),),
    )
    trials = (
        *finished_study.trials[:3],
        dataclasses.replace(finished_study.trials[3], origin=NASTY, notes=(NASTY,)),
        dataclasses.replace(finished_study.trials[-1], reason=NASTY),
    )
    left_out = (*comparison.left_out, NASTY)
    return dataclasses.replace(
        finished_study,
        name=NASTY,
        setting=setting,
        test=test,
        trials=trials,
        comparison=dataclasses.replace(comparison, left_out=left_out),
    )


def test_page_escapes_hostile_texts(finished_study, entrant, split, conditions, tmp_path):
    hostile = hostile_study(finished_study, entrant, split, conditions, tmp_path / "r.jsonl")
    importances = {NASTY: {NASTY: 1.0}}
    for studies in ([hostile], [hostile, finished_study]):
        calm = Outline(study_page([finished_study] * len(studies)))
        outline = Outline(study_page(studies, importances))
        assert outline.all("img") == []
        assert not any("onerror" in attrs for _, attrs in outline.tags)
        data = [attrs for attrs in outline.all("script") if attrs.get("type")]
        assert len(outline.all("script")) == len(data) + 2
        assert outline.text.count(NASTY) >= 12
        assert "49" not in re.findall(r"\{\{.*?\}\}|49\"", outline.text)
        assert len(calm.all("main")) == len(outline.all("main")) == 1


def test_page_drops_control_characters_and_half_surrogates(finished_study):
    study = dataclasses.replace(finished_study, name="a\udc80\x1b\u202eb")
    assert "a? b" in Outline(study_page([study])).text
    study_page([study]).encode()


def test_page_keeps_devanagari_with_joiners(finished_study):
    setting = dataclasses.replace(finished_study.setting, labels=("क्रीडा", "आरोग्य", "श्री क्‍ष"))
    whole = study_page([dataclasses.replace(finished_study, setting=setting)])
    assert "श्री क्‍ष" in whole
    assert '<meta charset="utf-8">' in whole


def test_page_shows_importances_where_they_are_given(finished_study):
    name = finished_study.name
    assert (
        "Importance of each layer"
        in Outline(study_page([finished_study], {name: {"layer 0": 1.0}})).text
    )
    assert "Importance of each layer" not in Outline(study_page([finished_study])).text


def test_page_shows_measured_costs_with_their_intervals(finished_study, costs):
    whole = Outline(study_page([finished_study], None, {finished_study.name: costs}))
    row = "found 4.00 (3.64 to 4.44) 1,140 (1,000 to 1,250) 2.00 (1.75 to 2.25)"
    assert f"{row} 20 12.5 1,234,567 234,567 1.5" in whole.text
    assert "small <b>|" in whole.text
    assert (
        "Measured on 2025-02-03 on cpu, 2 threads, fp32 (torch 2.13): medians of 15 rounds"
        in whole.text
    )
    assert "Little gain: 1.20 times." in whole.text
    assert "found is ●○●○ 4:0,2." in whole.text
    assert {"s1-latency", "s1-throughput"} <= {attrs.get("id") for attrs in whole.all("div")}
    assert "autoprune cost" not in whole.text


def test_page_without_costs_says_how_to_measure_them(finished_study):
    text = Outline(study_page([finished_study])).text
    assert "throughput are not measured yet" in text
    assert text.count("autoprune cost demo-demo-keep2") == 2  # what to do next, and there
    assert "ms for one text" not in text


def test_page_without_texts_says_so(finished_study):
    text = Outline(study_page([dataclasses.replace(finished_study, texts=False)])).text
    assert "The texts are left out" in text
    assert "predicted as" not in text


def test_page_of_a_baseline_has_no_section_on_a_search(
    finished_study, setting, entrants, split, conditions, tmp_path
):
    comparison = compare_entrants(entrants[1:], (7,), split, conditions, tmp_path / "r.jsonl")
    bare = dataclasses.replace(
        finished_study,
        setting=dataclasses.replace(setting, quick=None),
        trials=(),
        comparison=comparison,
        found=None,
    )
    text = Outline(study_page([bare])).text
    assert "The best fixed strategy by mean validation quality is top" in text
    assert "The search" not in text
    assert "Which layers matter" not in text
    assert "Train the recommended layout, top, on fresh seeds" in text


@pytest.mark.parametrize("least", [0, 2])
def test_page_tells_to_plan_for_looks_where_seeds_were_fixed(
    finished_study, entrant, split, conditions, tmp_path, least
):
    entrants = [
        entrant("found", "4:0,2", (0, 1), 0.6),
        entrant("top", "4:0-1", (2, 3), 0.5),
        entrant("full", "4:0-3", (), 0.9),
    ]
    schedule = SeedSchedule((7, 8, 9), least)
    comparison = compare_entrants(entrants, schedule, split, conditions, tmp_path / "r.jsonl")
    text = Outline(study_page([dataclasses.replace(finished_study, comparison=comparison)])).text
    assert "These runs cannot tell the two layouts apart" in text
    assert ("Plan these before you look" in text) == (least == 0)


def test_page_names_an_entrant_that_failed(finished_study, entrant, split, conditions, tmp_path):
    entrants = [
        entrant("found", "4:0-1", (0,), 0.5),
        entrant("top", "4:0-1", (0,), 0.5),
        entrant("full", "4:0-3", (), 0.5, fails=(8,)),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    same = dataclasses.replace(finished_study, comparison=comparison)
    text = Outline(study_page([same])).text
    assert "Same layout" in text
    assert "full failed with seed 8: loss is not a number" in text
    assert "There is only one model to look at." in text


def test_page_of_several_studies_begins_with_a_matrix(finished_study, setting):
    others = [
        dataclasses.replace(
            finished_study, name=name, setting=dataclasses.replace(setting, task=task, keep=keep)
        )
        for name, task, keep in (("b", "demo", 3), ("c", "shc", 3), ("d", "shc", 3))
    ]
    outline = Outline(study_page([finished_study, *others]))
    table = (
        study_page([finished_study, *others])
        .split('<table class="matrix">')[1]
        .split("</table>")[0]
    )
    cells = Outline(table)
    assert [tag for tag, attrs in cells.tags if tag == "th"] == ["th"] * 5
    assert "model, task keep 2 keep 3" in cells.text
    assert [attrs["href"] for attrs in cells.all("a")] == ["#s1", "#s2", "#s3", "#s4"]
    assert cells.text.count("no study") == 1
    assert "90.0 %" in cells.text
    assert "found against top: +20.0 points" in cells.text
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_layouts_have_descriptions_for_screen_readers(outline):
    labels = [attrs["aria-label"] for attrs in outline.all("svg")]
    assert f"keeps layers {str(Layout.parse('4:0,2')).partition(':')[2]} of 4" in labels
