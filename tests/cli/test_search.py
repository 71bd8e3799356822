"""The search command: one run, the same again, with more trials, and what is refused."""

import json
import shutil

import pytest

from autoprune.cli.results import next_commands
from autoprune.storage.locks import lock_study_folder
from tiny_models import save_model

STRATEGIES = ["top", "middle", "bottom", "alternate"]
ORIGINS = ["found", *STRATEGIES, "full", "scratch", "small"]
STUDY = "studies/tiny-own-keep2"
TRIALS = 6


def records(folder, study=STUDY):
    return folder.joinpath(study, "records.jsonl").read_text().splitlines()


def test_search_prints_nothing_from_libraries(searched):
    first_words = ("train:", "validation:", "test:", "trial", "run", "text from column", "warning:")
    others = [line for line in searched.answer.lines if not line.startswith(first_words)]
    expected = (" a step on ", " reads train and validation ")
    assert [line for line in others if not any(words in line for words in expected)] == []


def test_search_json_is_one_object(searched):
    assert searched.answer.code == 0, searched.answer.err
    assert searched.answer.out.count("\n") == 1
    whole = json.loads(searched.answer.out)
    assert whole.pop("seconds") > 0
    assert whole["study"] == "tiny-own-keep2"
    assert (whole["trials"], whole["distinct_layouts"], whole["repeated"]) == (TRIALS, TRIALS, 0)
    layouts = {row["origin"]: row["layout"] for row in whole["comparison"]}
    assert list(layouts) == [*ORIGINS, "majority", "tf-idf"]
    assert whole["found"] == layouts["found"]
    assert whole["recommended"] in {None, *layouts.values()}
    assert all(isinstance(warning, str) for warning in whole["warnings"])
    assert [layouts[name] for name in STRATEGIES] == ["5:0-1", "5:0,4", "5:3-4", "5:0,2"]
    assert (layouts["full"], layouts["scratch"], layouts["small"]) == ("5:0-4", "2:0-1", "5:0-4")


def test_search_json_has_all_figures_of_each_row(searched):
    *rows, majority, tfidf = searched.answer.result["comparison"]
    assert (majority["layout"], tfidf["layout"]) == (None, None)
    for row in (majority, tfidf):
        row |= {"seeds": 2, "test_std": 0.0, "parameters": row["parameters"] + 1000}
    for row in (*rows, majority, tfidf):
        assert row["seeds"] == 2
        assert row["parameters"] > 1000
        assert 0 <= row["test_low"] <= row["test_mean"] <= row["test_high"] <= 1
        assert 0 <= row["test_raw_mean"] <= 1
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["test_std"] >= 0 < row["p_value"] <= 1


def test_search_gives_a_copy_of_the_model_as_rival_the_same_figures(searched):
    rows = {row["origin"]: row for row in searched.answer.result["comparison"]}
    assert {**rows["full"], "origin": ""} == {**rows["small"], "origin": ""}
    assert rows["full"]["parameters"] > rows["top"]["parameters"] == rows["scratch"]["parameters"]


def test_search_prints_progress_as_plain_lines(searched):
    lines = searched.answer.lines
    assert lines[2].startswith("test: 30 rows read, 29 left")
    [step] = [number for number, line in enumerate(lines) if " ms a step on " in line]
    assert lines[step + 1].split()[:3] == ["trial", "1/6", "●●○○○"]
    assert [line.split()[0] for line in lines[step + 1 :]] == ["trial"] * 6 + ["run"] * 16
    assert "\x1b" not in searched.answer.err


def test_search_writes_records_and_report(searched):
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
    assert "| test | raw | validation |" in report
    assert "29 of 30 rows" in report


def test_search_writes_the_page_without_being_asked(searched):
    page = searched.folder / "reports/tiny-own-keep2.html"
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")


def test_search_again_measures_nothing(searched, copy, run, command):
    again = run(*command)
    assert again.result == searched.answer.result
    assert records(copy) == records(searched.folder)
    assert not any(line.startswith("trial") for line in again.lines)
    runs = [line for line in again.lines if line.startswith("run")]
    assert [line for line in runs if not line.endswith("on file")] == []


def test_search_with_more_trials_continues(searched, copy, run, command):
    more = run(*command, "--trials", 8)
    assert (more.result["trials"], more.result["repeated"]) == (8, 0)
    assert records(copy)[: len(records(searched.folder))] == records(searched.folder)
    trials = [line for line in more.lines if line.startswith("trial")]
    assert [line.split()[1] for line in trials] == ["7/8", "8/8"]


def test_search_ends_when_no_layout_is_left(searched, copy, run, command):
    rest = run(*command, "--trials", 99, "--sampler", "random").result
    assert (rest["trials"], rest["distinct_layouts"]) == (10, 10)


def test_search_with_a_proxy_computes_it_once(searched, copy, run, command):
    with_proxy = (*command, "--proxy", "alignment", "--study", "hinted", "--seeds", 1)
    answer = run(*with_proxy)
    assert answer.code == 0, answer.err
    lines = [line for line in answer.lines if line.startswith("alignment")]
    assert lines[0] == "alignment: scoring all 10 layouts"
    assert "rank correlation" in lines[-1] and "weight" in lines[-1]
    report = copy.joinpath("reports/hinted.md").read_text()
    assert "Cheap score alignment: rank correlation" in report and "weight" in report
    stored = json.loads(copy.joinpath("studies/hinted/proxy.json").read_text())
    assert (stored["proxy"], len(stored["values"])) == ("alignment", 10)
    again = run(*with_proxy)
    assert again.result["found"] == answer.result["found"]
    assert not [line for line in again.lines if "scoring all" in line]
    other = run(*command, "--study", "hinted", "--seeds", 1)
    assert other.code == 2
    assert "proxy alignment, got none" in other.lines[-1]


def test_search_without_json_prints_table_and_verdict(searched, copy, run, command):
    answer = run(*(argument for argument in command if argument != "--json"))
    assert answer.code == 0
    for word in ("found", "●○○○●", "test", "raw", "95 % interval", "5:0,4", "reference"):
        assert word in answer.out
    assert "…" not in answer.out
    assert searched.answer.result["verdict"] in answer.out
    *_, files, following = answer.out.splitlines()
    assert "reports/tiny-own-keep2.md" in files and "reports/tiny-own-keep2.html" in files
    recommended = searched.answer.result["recommended_origin"]
    assert following == next_commands("tiny-own-keep2", recommended is not None)


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
def test_search_with_other_settings_of_the_study_is_refused(
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


def test_search_of_a_locked_study_is_refused(copy, run, command, searched):
    with lock_study_folder(copy / STUDY):
        answer = run(*command)
    assert "another search is at work in studies/tiny-own-keep2" in answer.refusal()
    assert run(*command).result == searched.answer.result


def test_search_out_of_time_is_compared(run, command, searched, tmp_path):
    assert searched.answer.code == 0  # it makes the rival
    answer = run(*command, "--minutes", 0.01, folder=tmp_path)
    assert answer.code == 0, answer.err
    assert 1 <= answer.result["trials"] < TRIALS
    assert (
        f"{answer.result['trials']} of {TRIALS} trials made in the 0.01 minutes given" in answer.err
    )
    layouts = {row["origin"]: row["layout"] for row in answer.result["comparison"]}
    assert layouts["found"] == answer.result["found"]
