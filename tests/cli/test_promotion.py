"""A search whose trials pause, run as a user would: what goes on, what is told, what is refused."""

import json
import shutil
import signal

import pytest

STUDY = "tiny-own-keep2"


@pytest.fixture(scope="module")
def promoting(model, task):
    return [
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 10, "--json"),
        *("--epochs", 2, "--full-epochs", 5, "--seeds", 1, "--batch", 8, "--learning-rate", 0.02),
        *("--strategy", "top", "--strategy", "middle", "--workers", 1, "--promote"),
    ]


@pytest.fixture(scope="module")
def undisturbed(run, promoting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("promoted")
    return folder, run(*promoting, folder=folder)


def trials(folder):
    lines = (folder / "studies" / STUDY / "records.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["phase"] == "search"]


def test_what_goes_on_is_a_full_run_of_the_same_seed(undisturbed):
    folder, answer = undisturbed
    assert answer.code == 0, answer.err
    found = trials(folder)
    further = [one for one in found if one["budget"]["until"] is None]
    pauses = {(one["layout"], one["seed"]): one for one in found if one["budget"]["until"]}
    assert len(further) >= 2 and len(found) == 10
    for one in further:
        pause = pauses[one["layout"], one["seed"]]
        assert one["budget"] == {**pause["budget"], "until": None}
        steps, until = one["budget"]["steps"], pause["budget"]["until"]
        assert until * 5 == steps * 2
    said = [line for line in answer.lines if line.endswith("went on to the full budget")]
    assert len(said) == len(further)
    assert answer.result["repeated"] == 0
    report = (folder / "reports" / f"{STUDY}.md").read_text()
    assert f"{len(further)} of them went on from a pause to the full budget" in report
    assert report.count("complete, full budget") == len(further)
    assert not (folder / "studies" / STUDY / ".checkpoints").exists()


def test_stopped_and_gone_on_with_ends_alike(undisturbed, promoting, stop, run, here, monkeypatch):
    """The pauses are on file: what goes on after the stop begins from them."""
    monkeypatch.chdir(here)
    assert stop(promoting, "trial   5/10", signal.SIGTERM).code == 143
    assert list((here / "studies" / STUDY / ".checkpoints").glob("*.safetensors"))
    assert run("worker", STUDY, "--workers", 1, "--trials-here", 2).code == 0
    answer = run(*promoting)
    assert answer.result == undisturbed[1].result


def test_a_study_that_pauses_is_not_one_that_ends(undisturbed, promoting, run, here):
    shutil.copytree(undisturbed[0], here, dirs_exist_ok=True)
    answer = run(*promoting[:-1], folder=here)
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert "promote" in answer.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--sampler", "tpe"], "--promote takes --sampler gp and --pruner none"),
        (["--pruner", "median"], "--promote takes --sampler gp and --pruner none"),
        (["--epochs", 5], "fewer --epochs than the 5 passes"),
    ],
)
def test_what_cannot_go_on_is_refused_before_any_work(promoting, run, here, more, told):
    answer = run(*promoting, *more, folder=here)
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert told in answer.err
    assert list(here.iterdir()) == []
