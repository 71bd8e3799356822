"""Options of search and baseline: what each of them changes in the result."""

import json
from pathlib import Path

import pytest

from tiny_models import save_model

BRIEF = ("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--workers", 1, "--json")


@pytest.fixture
def brief(run, model, task):
    """Return a function that runs a command as short as it can be."""

    def brief(command, *options):
        return run(command, "--model", model, "--task", task, "--keep", 2, *BRIEF, *options)

    return brief


def origins(answer):
    return [row["origin"] for row in answer.result["comparison"]]


def row(answer, origin):
    return next(row for row in answer.result["comparison"] if row["origin"] == origin)


def last_record(folder):
    [path] = folder.glob("studies/*/records.jsonl")
    return json.loads(path.read_text().splitlines()[-1])


def test_strategies_of_a_baseline_are_compared(brief, tmp_path):
    answer = brief("baseline", "--strategy", "top", "--strategy", "middle")
    assert answer.code == 0, answer.err
    assert origins(answer) == ["top", "middle", "full", "scratch", "majority", "tf-idf"]
    assert answer.result["recommended"] in ("5:0-1", "5:0,4", None)
    assert answer.result["repeated"] == 0
    assert not {"found", "trials"} & set(answer.result)
    assert tmp_path.joinpath("reports/tiny-own-keep2-baseline.md").exists()


def test_baseline_reuses_what_a_search_measured(brief):
    search = brief("search", "--trials", 1)
    baseline = brief("baseline")
    lines = [line for line in baseline.lines if line.startswith("run")]
    assert len(lines) == 6
    assert [line for line in lines if not line.endswith("on file")] == []
    rows = search.result["comparison"]
    assert [row["test_mean"] for row in baseline.result["comparison"]] == [
        row["test_mean"] for row in rows if row["origin"] != "found"
    ]


def test_study_with_other_settings_does_not_replace_a_finished_one(brief, tmp_path):
    assert brief("baseline", "--strategy", "top").code == 0
    before = (tmp_path / "studies/tiny-own-keep2/baseline.json").read_bytes()
    for command in ("baseline", "search"):
        line = brief(command, "--metric", "macro-f1").refusal()
        assert "a study ended with metric accuracy, got macro-f1: use the same, or another" in line
    assert "seed 0, got 7" in brief("baseline", "--seed", 7).refusal()
    assert (tmp_path / "studies/tiny-own-keep2/baseline.json").read_bytes() == before


def test_seeds_added_after_a_look_are_told(brief):
    for seeds, told in ((1, 0), (3, 0), (4, 1), (4, 1)):  # one seed is no result, as it says
        answer = brief("baseline", "--strategy", "top", "--seeds", seeds)
        warnings = [text for text in answer.result["warnings"] if "after a look" in text]
        assert len(warnings) == told
    assert "there was a result with 3." in warnings[0]


def test_strategies_of_a_search_are_compared(brief):
    answer = brief("search", "--trials", 2, "--strategy", "bottom")
    assert origins(answer) == ["found", "bottom", "full", "scratch", "majority", "tf-idf"]
    assert "trial   1/2  ○○○●●" in answer.err


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        (sampler, pruner)
        if pruner == "halving" or (sampler, pruner) == ("gp", "none")
        else pytest.param(sampler, pruner, marks=pytest.mark.slow)
        for sampler in ("gp", "random", "tpe", "brute-force")
        for pruner in ("none", "median", "halving")
    ],
)
def test_samplers_run_with_each_pruner(brief, sampler, pruner):
    answer = brief("search", "--trials", 6, "--sampler", sampler, "--pruner", pruner)
    assert answer.code == 0, answer.err
    assert (answer.result["trials"], answer.result["distinct_layouts"]) == (6, 6)


@pytest.mark.parametrize("method", ["lora", "head"])
def test_method_is_recorded(brief, tmp_path, method):
    answer = brief("baseline", "--strategy", "top", "--method", method)
    assert answer.code == 0, answer.err
    assert last_record(tmp_path)["budget"]["method"] == method


def test_metric_of_the_comparison_is_macro_f1_on_demand(brief, tmp_path):
    answer = brief("baseline", "--strategy", "top", "--metric", "macro-f1")
    top = row(answer, "top")
    assert top["test_mean"] == pytest.approx(top["macro_f1"])
    assert last_record(tmp_path)["metric"] == "macro-f1"
    other = brief("baseline", "--strategy", "top", "--study", "b")
    assert top["test_mean"] != row(other, "top")["test_mean"]


def test_keep_duplicates_scores_all_test_rows(brief):
    cleaned = brief("baseline", "--strategy", "top")
    kept = brief("baseline", "--strategy", "top", "--keep-duplicates", "--study", "b")
    assert "test: 30 rows read, 29 left" in cleaned.err
    assert "test: 30 rows read, 30 left" in kept.err
    assert row(kept, "top")["test_mean"] == row(kept, "top")["test_raw_mean"]
    assert row(cleaned, "top")["test_mean"] * 29 == pytest.approx(
        round(row(cleaned, "top")["test_mean"] * 29)
    )


def test_study_name_is_that_of_its_files(brief, tmp_path):
    answer = brief("baseline", "--strategy", "top", "--study", "मराठी-1")
    assert answer.result["study"] == "मराठी-1"
    assert tmp_path.joinpath("studies/मराठी-1/records.jsonl").exists()
    assert tmp_path.joinpath("reports/मराठी-1-baseline.md").exists()


def test_storage_in_a_database_resumes_a_search(brief, tmp_path):
    options = ("--strategy", "top", "--storage", "sqlite:///study.db")
    first = brief("search", "--trials", 2, *options)
    again = brief("search", "--trials", 3, *options)
    assert (first.result["trials"], again.result["trials"]) == (2, 3)
    assert again.result["repeated"] == 0
    assert "trial   3/3" in again.err and "trial   2/3" not in again.err
    assert tmp_path.joinpath("study.db").exists()
    assert list(tmp_path.glob("studies/*/journal.log")) == []


def test_columns_are_read_by_name(run, model, task, write, tmp_path):
    """The task's labels in a column of another name, and a second text that changes the score."""
    texts = [line.split(",") for line in task.joinpath("train.csv").read_text().splitlines()[1:]]
    rows = [(text, label, text.split()[0], "रिकामा") for text, label in texts]
    write(tmp_path / "named" / "train.csv", rows, ("body", "about", "first", "text"))
    command = [
        *("baseline", "--model", model, "--task", "named", "--keep", 2, "--strategy", "top"),
        *(*BRIEF, "--label", "about"),
    ]
    one = run(*command, "--text", "body")
    two = run(*command, "--text", "body", "--text-pair", "first", "--study", "b")
    assert (one.code, two.code) == (0, 0), one.err + two.err
    assert "no test and no validation split" in one.err
    assert one.result["comparison"] != two.result["comparison"]
    known_spelling = run(*command)
    assert known_spelling.code == 2  # the column "text" holds the same word in every row
    assert "train.csv" in known_spelling.err


def test_texts_longer_than_the_model_are_truncated_with_a_message(run, model, write, tmp_path):
    rows = [(f"{'एक दोन ' * 40}{i}", f"{i % 2}") for i in range(16)]
    write(tmp_path / "long" / "train.csv", rows)
    answer = run(
        *("baseline", "--model", model, "--task", "long", "--keep", 2, "--strategy", "top"),
        *BRIEF,
        "--keep-duplicates",
    )
    assert answer.code == 0, answer.err
    assert "100.0 % of texts cut off at 40 tokens" in answer.err


def test_strategies_that_a_family_cannot_have_are_left_out(run, task, tmp_path):
    folder = save_model("modernbert", tmp_path / "modern")
    brief = ("--model", folder, "--task", task, "--keep", 2, *BRIEF)
    answer = run("search", *brief, "--trials", 4)
    assert answer.code == 0, answer.err
    names = ["found", "top", "middle", "alternate", "full", "scratch"]
    assert origins(answer) == [*names, "majority", "tf-idf"]
    assert "this family of models cannot have bottom: not compared" in answer.lines
    refused = run("baseline", *brief, "--strategy", "bottom")
    assert (refused.code, refused.out) == (2, "")
    assert "layer 0 of ModernBERT must be kept" in refused.lines[-1]


@pytest.mark.parametrize("pruner", [pytest.param("median", marks=pytest.mark.slow), "halving"])
def test_pruner_search_has_a_record_for_each_trial(brief, tmp_path, pruner):
    answer = brief(
        "search", "--trials", 8, "--pruner", pruner, "--epochs", 2, "--sampler", "random"
    )
    assert answer.code == 0, answer.err
    assert (answer.result["trials"], answer.result["repeated"]) == (8, 0)
    states = [json.loads(line) for line in next(tmp_path.glob("studies/*/records.jsonl")).open()]
    assert len([state for state in states if state["phase"] == "search"]) == 8


@pytest.mark.parametrize("seeds", ["2-5", "0", "x", "5-3", "3-101"])
def test_wrong_seeds_are_refused(brief, seeds):
    answer = brief("baseline", "--seeds", seeds)
    assert (answer.code, answer.out) == (2, "")
    assert "--seeds" in answer.err.splitlines()[-1]


def test_a_range_of_seeds_and_no_race_are_what_the_study_is(brief, tmp_path):
    answer = brief("baseline", "--seeds", "3-4", "--no-race", "--strategy", "top")
    assert answer.code == 0, answer.err
    assert {row["seeds"] for row in answer.result["comparison"][:3]} == {3}  # one strategy: clear
    assert not any(row["stopped"] for row in answer.result["comparison"])
    [file] = tmp_path.glob("studies/*/baseline.json")
    written = json.loads(file.read_text())
    assert written["config"]["comparison"]["seeds"] == "3-4"
    assert written["schedule"] == {"seeds": [1, 2, 3, 4], "least": 3, "race": False}
    assert "3 of 3 to 4 seeds were used" in Path(answer.result["report"]).read_text()
