"""The score command: the one-shot table as CSV and JSON, and its mistakes."""

import csv
import io
import json

import pytest

from autoprune.layouts.layout import Layout
from tiny_models import save_model

BRIEF = ("--epochs", 4, "--batch", 16, "--learning-rate", 0.02)


@pytest.fixture
def score(run, model, task):
    """Return a function that scores the tiny model's layouts."""

    def score(*options, model=model, keep=2):
        return run("score", "--model", model, "--task", task, "--keep", keep, *BRIEF, *options)

    return score


def test_score_json_has_all_layouts_and_the_passes(score, tmp_path):
    answer = score("--json")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["seconds"] > 0
    assert (found["layer_passes"], found["full_depth_passes"]) == (14, 14 / 5)
    assert len({row["layout"] for row in found["layouts"]}) == 10
    losses = [row["loss"] for row in found["layouts"]]
    assert losses == sorted(losses)
    assert found["best"] == found["layouts"][0]["layout"]
    assert all(0 <= row["accuracy"] <= 1 and row["rows"] == 23 for row in found["layouts"])
    assert list(tmp_path.rglob("*.csv")) + list(tmp_path.rglob("studies")) == []


def test_score_layer_effect_is_a_difference_of_two_means(score):
    found = json.loads(score("--json").out)
    assert [effect["layer"] for effect in found["layers"]] == [0, 1, 2, 3, 4]
    for effect in found["layers"]:
        kept, gone = [], []
        for row in found["layouts"]:
            inside = effect["layer"] in Layout.parse(row["layout"]).keep
            (kept if inside else gone).append(row["loss"])
        assert (len(kept), len(gone)) == (4, 6)
        assert effect["loss"] == pytest.approx(sum(kept) / 4 - sum(gone) / 6)


def test_score_csv_has_the_same_rows(score):
    answer, found = score(), json.loads(score("--json").out)
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == ["layout", "loss", "accuracy"]
    assert [row["layout"] for row in rows] == [row["layout"] for row in found["layouts"]]
    assert float(rows[0]["loss"]) == pytest.approx(found["layouts"][0]["loss"], abs=1e-5)
    assert answer.lines[0].startswith("10 layouts by 14 layer passes, as much as 2.8 passes of the")
    assert len(answer.lines) == 6


def test_score_of_several_keeps_shares_prefixes(score):
    found = json.loads(score("--json", keep="1-3").out)
    assert len(found["layouts"]) == 5 + 10 + 10
    assert found["layer_passes"] == 25


def test_score_proxy_orders_the_layouts(score):
    found = json.loads(score("--json", "--proxy", "leave-one-out").out)
    values = [row["value"] for row in found["layouts"]]
    assert found["proxy"] == "leave-one-out"
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 10


def test_score_with_fewer_rows_or_halving_takes_fewer_passes(score):
    few = json.loads(score("--json", "--rows", 8).out)
    assert {row["rows"] for row in few["layouts"]} == {8}
    halved = json.loads(score("--json", "--batch", 4, "--rungs", 3).out)
    assert halved["layer_passes"] < 12
    assert halved["best"] in {row["layout"] for row in halved["layouts"] if row["rows"] == 23}


def test_score_of_a_large_space_uses_evolution(score, monkeypatch):
    monkeypatch.setattr("autoprune.experiment.layout_scores.MAX_LISTED_LAYOUTS", 9)
    whole = json.loads(score("--json", keep=2).out)
    assert len(whole["layouts"]) == 10  # so small a space evolution sees in full
    assert whole["best"] == whole["layouts"][0]["layout"]


def test_score_leaves_out_layouts_that_the_family_does_not_allow(score, tmp_path):
    found = json.loads(score("--json", model=save_model("modernbert", tmp_path / "modern")).out)
    assert {Layout.parse(row["layout"]).keep[0] for row in found["layouts"]} == {0}
    assert [effect["layer"] for effect in found["layers"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--proxy", "alinment"), "unknown proxy 'alinment', did you mean 'alignment'?"),
        (("--rungs", 0), "Invalid value for '--rungs'"),
        (("--rows", 0), "Invalid value for '--rows'"),
    ],
)
def test_score_reports_a_wrong_option_in_one_line(score, options, message):
    assert message in score(*options).refusal()


def test_score_refuses_to_keep_every_layer(score):
    answer = score(keep=5)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "autoprune: keep must be 1 to 4, since the model has 5 layers, got 5\n"
