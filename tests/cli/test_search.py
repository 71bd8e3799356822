"""The search command as a user meets it: one run, the same again, more of it, and its refusals."""

import json
import shutil

import pytest

from autoprune.storage.locks import lock_study_folder
from tiny_models import save_model

STRATEGIES = ["top", "middle", "bottom", "alternate"]
ORIGINS = ["found", *STRATEGIES, "full", "scratch", "small"]
STUDY = "studies/tiny-own-keep2"
TRIALS = 6


def records(folder, study=STUDY):
    return folder.joinpath(study, "records.jsonl").read_text().splitlines()


def test_libraries_say_nothing_of_their_own(searched):
    first_words = ("train:", "validation:", "test:", "trial", "run")
    others = [line for line in searched.answer.lines if not line.startswith(first_words)]
    assert [line for line in others if " a step on " not in line] == []


def test_standard_output_is_one_json_object(searched):
    assert searched.answer.code == 0, searched.answer.err
    assert searched.answer.out.count("\n") == 1
    whole = json.loads(searched.answer.out)
    assert whole.pop("seconds") > 0
    assert whole["study"] == "tiny-own-keep2"
    assert (whole["trials"], whole["distinct_layouts"], whole["repeated"]) == (TRIALS, TRIALS, 0)
    layouts = {row["origin"]: row["layout"] for row in whole["comparison"]}
    assert list(layouts) == ORIGINS
    assert whole["found"] == layouts["found"]
    assert whole["recommended"] in layouts.values()
    assert [layouts[name] for name in STRATEGIES] == ["5:0-1", "5:0,4", "5:3-4", "5:0,2"]
    assert (layouts["full"], layouts["scratch"], layouts["small"]) == ("5:0-4", "2:0-1", "5:0-4")


def test_each_row_has_its_figures(searched):
    for row in searched.answer.result["comparison"]:
        assert row["seeds"] == 2
        assert row["parameters"] > 1000
        assert 0 <= row["test_low"] <= row["test_mean"] <= row["test_high"] <= 1
        assert 0 <= row["test_raw_mean"] <= 1
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["test_std"] >= 0 < row["p_value"] <= 1


def test_the_rival_is_the_full_model_by_another_name(searched):
    rows = {row["origin"]: row for row in searched.answer.result["comparison"]}
    assert {**rows["full"], "origin": ""} == {**rows["small"], "origin": ""}
    assert rows["full"]["parameters"] > rows["top"]["parameters"] == rows["scratch"]["parameters"]


def test_progress_is_plain_lines_on_standard_error(searched):
    lines = searched.answer.lines
    assert lines[2].startswith("test: 30 rows read, 29 left")
    assert " ms a step on " in lines[3]
    assert lines[4].split()[:3] == ["trial", "1/6", "●●○○○"]
    assert [line.split()[0] for line in lines[4:]] == ["trial"] * 6 + ["run"] * 16
    assert "\x1b" not in searched.answer.err


def test_records_and_report_are_there(searched):
    entries = [json.loads(line) for line in records(searched.folder)]
    trials = [entry for entry in entries if entry["phase"] == "search"]
    assert [trial["layout"] for trial in trials[:4]] == ["5:0-1", "5:0,4", "5:3-4", "5:0,2"]
    assert len(trials) == TRIALS
    assert [entry["seed"] for entry in trials] == list(range(1000, 1000 + TRIALS))
    assert {entry["seed"] for entry in entries if entry not in trials} == {1, 2}
    splits = {score["split"] for trial in trials for score in trial["scores"]}
    assert splits == {"validation"}
    report = searched.folder.joinpath("reports/tiny-own-keep2.md").read_text()
    result = searched.answer.result
    assert result["verdict"] in report.replace("\\", "")
    assert "test, cleaned" in report and "test, raw" in report
    assert "29 of 30 rows" in report


def test_the_same_command_again_measures_nothing(searched, copy, run, command):
    again = run(*command)
    assert again.result == searched.answer.result
    assert records(copy) == records(searched.folder)
    assert not any(line.startswith("trial") for line in again.lines)
    runs = [line for line in again.lines if line.startswith("run")]
    assert [line for line in runs if not line.endswith("on file")] == []


def test_more_trials_go_on(searched, copy, run, command):
    more = run(*command, "--trials", 8)
    assert (more.result["trials"], more.result["repeated"]) == (8, 0)
    assert records(copy)[: len(records(searched.folder))] == records(searched.folder)
    trials = [line for line in more.lines if line.startswith("trial")]
    assert [line.split()[1] for line in trials] == ["7/8", "8/8"]


def test_a_search_ends_when_no_layout_is_left(searched, copy, run, command):
    rest = run(*command, "--trials", 99, "--sampler", "random").result
    assert (rest["trials"], rest["distinct_layouts"]) == (10, 10)


def test_a_cheap_score_informs_the_search_and_is_made_once(searched, copy, run, command):
    hinted = (*command, "--proxy", "alignment", "--study", "hinted", "--seeds", 1)
    answer = run(*hinted)
    assert answer.code == 0, answer.err
    told = [line for line in answer.lines if line.startswith("alignment")]
    assert told[0] == "alignment: scoring all 10 layouts"
    assert "rank correlation" in told[-1] and "weight" in told[-1]
    said = copy.joinpath("reports/hinted.md").read_text()
    assert "Cheap score alignment: rank correlation" in said and "weight" in said
    kept = json.loads(copy.joinpath("studies/hinted/proxy.json").read_text())
    assert (kept["proxy"], len(kept["values"])) == ("alignment", 10)
    again = run(*hinted)
    assert again.result["found"] == answer.result["found"]
    assert not [line for line in again.lines if "scoring all" in line]
    other = run(*command, "--study", "hinted", "--seeds", 1)
    assert other.code == 2
    assert "proxy alignment, got none" in other.lines[-1]


def test_a_table_and_the_verdict_for_people(searched, copy, run, command):
    answer = run(*(argument for argument in command if argument != "--json"))
    assert answer.code == 0
    for word in ("found", "●○○○●", "test", "raw", "95 % interval", "5:0,4", "reference"):
        assert word in answer.out
    assert "…" not in answer.out
    assert searched.answer.result["verdict"] in answer.out
    assert "reports/tiny-own-keep2.md" in answer.out.splitlines()[-1]


@pytest.fixture(scope="module")
def others(tmp_path_factory, task):
    """Return a folder with another task and other models."""
    folder = tmp_path_factory.mktemp("others")
    shutil.copytree(task, folder / "task")
    with folder.joinpath("task/validation.csv").open("a", encoding="utf-8") as rows:
        rows.write("एक एक एक दहा,खेळ\n")
    save_model("bert", folder / "wider", intermediate_size=32)
    save_model("bert", folder / "deeper", num_hidden_layers=6)
    return folder


OTHERS = {
    "learning rate": (["--learning-rate", "0.01"], ["learning_rate 0.02, got 0.01"]),
    "epochs": (["--epochs", "1"], ["steps 16, got 4"]),
    "batch": (["--batch", "4"], ["batch 16, got 4"]),
    "seed": (["--seed", "7"], ["seed 0, got 7"]),
    "keep": (["--keep", "3"], ["keep 2, got 3"]),
    "method": (["--method", "head"], ["method full, got head"]),
    "metric": (["--metric", "macro-f1"], ["metric accuracy, got macro-f1"]),
    "tokens": (["--tokens", "16"], ["tokens 40, got 16"]),
    "cleaning": (["--keep-duplicates"], ["data "]),
    "task": (["--task", "{}/task"], ["task own, got task", "data "]),
    "model": (["--model", "{}/wider"], ["model tiny@sha256:", "got wider@sha256:"]),
    "depth": (["--model", "{}/deeper"], ["got deeper@sha256:", "depth 5, got 6"]),
}


@pytest.mark.parametrize(("options", "named"), OTHERS.values(), ids=OTHERS)
def test_a_study_about_something_else_is_refused(
    searched, copy, run, command, others, options, named
):
    options = [option.format(others) for option in options]
    answer = run(*command, *options, "--study", "tiny-own-keep2")
    assert (answer.code, answer.out) == (2, "")
    last = answer.lines[-1]
    assert last.startswith("autoprune: study tiny-own-keep2 was begun with ")
    assert [words for words in named if words not in last] == []
    assert not any(line.startswith(("trial", "run")) for line in answer.lines)
    assert records(copy) == records(searched.folder)


def test_two_searches_at_once_are_refused(copy, run, command, searched):
    with lock_study_folder(copy / STUDY):
        answer = run(*command)
    assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1)
    assert "another search is at work in studies/tiny-own-keep2" in answer.err
    assert run(*command).result == searched.answer.result


def test_a_search_out_of_time_is_compared_all_the_same(run, command, searched, here):
    assert searched.answer.code == 0  # it makes the rival
    answer = run(*command, "--minutes", 0.01, folder=here)
    assert answer.code == 0, answer.err
    assert 1 <= answer.result["trials"] < TRIALS
    assert f"{answer.result['trials']} of {TRIALS} trials were made in the 0.01 min" in answer.err
    layouts = {row["origin"]: row["layout"] for row in answer.result["comparison"]}
    assert layouts["found"] == answer.result["found"]
