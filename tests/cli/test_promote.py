"""Option --promote: trials pause, and the best go on to the full budget."""

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


def test_promoted_trial_is_a_full_run_of_the_same_seed(undisturbed):
    folder, answer = undisturbed
    assert answer.code == 0, answer.err
    found = trials(folder)
    promoted = [trial for trial in found if trial["budget"]["until"] is None]
    pauses = {
        (trial["layout"], trial["seed"]): trial for trial in found if trial["budget"]["until"]
    }
    assert len(promoted) >= 2 and len(found) == 10
    for trial in promoted:
        pause = pauses[trial["layout"], trial["seed"]]
        assert trial["budget"] == {**pause["budget"], "until": None}
        steps, until = trial["budget"]["steps"], pause["budget"]["until"]
        assert until * 5 == steps * 2
    lines = [line for line in answer.lines if line.endswith("went on to the full budget")]
    assert len(lines) == len(promoted)
    assert answer.result["repeated"] == 0
    report = (folder / "reports" / f"{STUDY}.md").read_text()
    assert f"{len(promoted)} of them went on from a pause to the full budget" in report
    assert report.count("complete, full budget") == len(promoted)
    assert not (folder / "studies" / STUDY / ".checkpoints").exists()


@pytest.mark.slow
def test_promote_search_resumed_gives_the_same_result(undisturbed, promoting, stop, run, tmp_path):
    """Promoted trials start from the checkpoints that were there at the stop."""
    assert stop(promoting, "trial   5/10", signal.SIGTERM).code == 143
    assert list((tmp_path / "studies" / STUDY / ".checkpoints").glob("*.safetensors"))
    assert run("worker", STUDY, "--workers", 1, "--trials-here", 2).code == 0
    answer = run(*promoting)
    assert answer.result == undisturbed[1].result


def test_promote_study_without_the_option_is_refused(undisturbed, promoting, run, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    assert "promote" in run(*promoting[:-1]).refusal()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sampler", "tpe"], "--promote takes --sampler gp and --pruner none"),
        (["--pruner", "median"], "--promote takes --sampler gp and --pruner none"),
        (["--epochs", 5], "fewer --epochs than the 5 passes"),
    ],
)
def test_promote_with_options_that_exclude_it_is_refused(promoting, run, tmp_path, more, message):
    assert message in run(*promoting, *more).refusal()
    assert list(tmp_path.iterdir()) == []
