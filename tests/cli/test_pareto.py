"""Search with several numbers of layers: a study for each, one table, and what is recommended."""

import json
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest

from autoprune.errors import StudyError
from autoprune.evaluation.study_files import read_study
from autoprune.experiment.pareto import with_full_model
from autoprune.storage.locks import lock_study_folder

REPORT = "reports/tiny-own-keep1,3.md"
PAGE = "reports/tiny-own-keep1,3.html"
FOLDERS = ["tiny-own-keep1", "tiny-own-keep3"]


@pytest.fixture(scope="module")
def command(model, task):
    """Return the arguments of a brief search with 1 and with 3 of 5 layers."""
    return [
        *("search", "--model", model, "--task", task, "--keep", "3,1", "--trials", 2),
        *("--epochs", 2, "--full-epochs", 2, "--seeds", 1, "--batch", 16, "--learning-rate", 0.02),
        *("--workers", 1, "--strategy", "top", "--strategy", "bottom"),
    ]


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    """Measure costs in as few rounds as an interval needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoprune.experiment.pareto.COST_ROUNDS", 6)
        yield


@pytest.fixture(scope="module")
def searched(run, command, tmp_path_factory):
    """Run the search once as JSON; return its folder, its answer, and the values in it."""
    folder = tmp_path_factory.mktemp("several")
    answer = run(*command, "--max-drop", 100, "--json", folder=folder)
    assert answer.code == 0, answer.err
    return SimpleNamespace(folder=folder, answer=answer, found=json.loads(answer.out))


def test_pareto_takes_the_full_model_from_a_study_in_which_it_did_not_fail(searched):
    first, second = (read_study(searched.folder / "studies" / name) for name in FOLDERS)
    rows = tuple(row for row in first.comparison.rows if row.origin != "full")
    failed = replace(first.comparison, rows=rows, left_out=("full: it diverged",))
    bad, good = SimpleNamespace(comparison=failed), SimpleNamespace(comparison=second.comparison)
    assert with_full_model([bad, good]) is second.comparison
    with pytest.raises(StudyError, match="the full model failed: full: it diverged"):
        with_full_model([bad, bad])


def test_pareto_search_makes_a_study_for_each_keep(searched):
    assert [entry["study"] for entry in searched.found["studies"]] == FOLDERS
    for name in FOLDERS:
        study = json.loads((searched.folder / "studies" / name / "study.json").read_text())
        assert study["config"]["keep"] == int(name[-1])
        assert (searched.folder / "reports" / f"{name}.md").is_file()


def test_pareto_front_has_the_recommended_layouts_and_the_full_model(searched):
    front = searched.found["front"]
    assert [(entry["keep"], entry["origin"] == "full") for entry in front] == [
        (1, False),
        (3, False),
        (5, True),
    ]
    for entry, study in zip(front, searched.found["studies"], strict=False):
        assert study["recommended"] in (entry["layout"], None)
        assert entry["learned"] == (study["recommended"] is not None)
    megabytes = [entry["price"]["megabytes"] for entry in front]
    assert megabytes == sorted(set(megabytes))
    parameters = [entry["price"]["parameters"] for entry in front]
    assert parameters[1] - parameters[0] == parameters[2] - parameters[1] > 0
    assert front[0]["price"]["latency_ms"] < front[2]["price"]["latency_ms"]
    assert front[0]["on_the_front"]  # the fastest and smallest


def test_pareto_recommends_the_fewest_layers_within_the_limits(searched):
    found = searched.found
    learned = [entry["layout"] for entry in found["front"][:2] if entry["learned"]]
    assert found["recommended"] == (learned[0] if learned else None)
    assert found["knee"] in [entry["layout"] for entry in found["front"][:2]]


def test_pareto_search_trains_the_full_model_once(searched):
    again = [line for line in searched.answer.lines if " full " in line]
    assert [line.rstrip().endswith("on file") for line in again] == [False, True]


def test_pareto_search_again_trains_nothing_and_prints_the_table(searched, command, run):
    answer = run(*command, "--max-megabytes", 0.001, folder=searched.folder)
    assert answer.code == 0, answer.err
    ends = [line for line in answer.lines if line.startswith("run ")]
    assert ends and all(line.rstrip().endswith("on file") for line in ends)
    table = answer.out[answer.out.index("layers kept") :]
    assert [picture in table for picture in ("●●●●●", "full")] == [True, True]
    learned = any(entry["learned"] for entry in searched.found["front"][:2])
    advice = "No model is within the limits, at most 0.001 MB: the nearest, "
    advice = advice if learned else "Nothing is recommended: with no number of layers is a model"
    assert advice in table
    assert table.rstrip().endswith(f"Report: {REPORT}   page: {PAGE}")
    report = (searched.folder / REPORT).read_text()
    assert report.startswith("# tiny on own: how many layers?")
    assert "fp32" in report and "bf16" not in report
    page = (searched.folder / PAGE).read_text()
    for written in (report, page):
        assert advice in written
    assert "quality-latency" in page and "quality-size" in page


@pytest.mark.slow
def test_pareto_search_names_studies_and_report_by_the_given_name(command, run, tmp_path):
    answer = run(*command, "--study", "mine", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [entry["study"] for entry in found["studies"]] == ["mine-keep1", "mine-keep3"]
    assert found["report"] == "reports/mine-keep1,3.md"
    assert found["page"] == "reports/mine-keep1,3.html"
    assert found["recommended"] in (found["knee"], None)
    assert (tmp_path / found["report"]).is_file() and (tmp_path / found["page"]).is_file()


def test_pareto_search_starts_nothing_while_a_study_is_locked(command, run, tmp_path):
    with lock_study_folder(tmp_path / "studies" / FOLDERS[1]):
        assert "another search is at work" in run(*command).refusal()
    assert [path.name for path in (tmp_path / "studies").iterdir()] == [FOLDERS[1]]


def test_pareto_search_refused_for_one_study_leaves_no_folder(command, run, tmp_path):
    begun = ["--keep", "3", "--trials", "1", "--full-epochs", "1"]
    assert run(*command, *begun).code == 0
    before = sorted((tmp_path / "studies").rglob("*"))
    assert FOLDERS[1] in run(*command, "--keep", "1-4", "--epochs", "3").refusal()
    assert sorted((tmp_path / "studies").rglob("*")) == before


def test_pareto_search_refused_for_one_study_leaves_no_study_in_the_database(
    command, run, tmp_path
):
    url = "sqlite:///own.db"
    kept = ["--storage", url]
    assert run(*command, *kept, "--keep", "3", "--trials", "1", "--full-epochs", "1").code == 0
    folders = sorted((tmp_path / "studies").rglob("*"))
    assert FOLDERS[1] in run(*command, *kept, "--keep", "1-4", "--epochs", "3").refusal()
    assert optuna.get_all_study_names(url) == [FOLDERS[1]]
    assert len(optuna.load_study(study_name=FOLDERS[1], storage=url).trials) == 1
    assert sorted((tmp_path / "studies").rglob("*")) == folders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--storage", "mysql://u@h/d"], "a storage is an sqlite or a postgresql+psycopg URL"),
        (["--sampler", "tpe", "--proxy", "alignment"], "--proxy informs --sampler gp"),
        (["--rival", "gone/at/all"], "found none at"),
    ],
)
def test_pareto_search_refused_early_leaves_nothing(command, run, tmp_path, arguments, message):
    assert message in run(*command, *arguments).refusal()
    assert list(tmp_path.glob("*")) == []


@pytest.mark.parametrize("taken", [REPORT, PAGE])
def test_pareto_report_that_cannot_be_written_is_refused_before_work(command, run, tmp_path, taken):
    (tmp_path / taken).mkdir(parents=True)
    assert f"cannot write {taken}: it is a folder" in run(*command).refusal()
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep", "3-1"], "--keep counts layers from 1 on, rising, got '3-1'"),
        (["--keep", "1,,3"], "--keep takes integers such as 6, 2-8 or 2,4,6"),
        (["--keep", "2-"], "--keep takes integers"),
        (["--keep", "1-5"], "keep must be 1 to 4, since the model has 5 layers, got 5"),
        (["--keep", "2", "--max-drop", "1"], "choose among several numbers of layers"),
        (["--max-drop", "-1"], "--max-drop"),
        (["--max-latency-ms", "0"], "--max-latency-ms must be a number above 0, got 0.0"),
        (["--max-megabytes", "inf"], "'--max-megabytes': Input should be less than"),
    ],
)
def test_pareto_search_reports_wrong_input_in_one_line(command, run, tmp_path, arguments, message):
    assert message in run(*command, *arguments).refusal()
    assert list(tmp_path.glob("*")) == []


def test_pareto_report_has_the_complete_command(searched):
    text = (searched.folder / "reports" / f"{FOLDERS[0]}.md").read_text()
    assert "--keep 3,1" in text
