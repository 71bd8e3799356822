"""Damaged studies: whatever a file of a study holds, a command ends with 0, or 2 and one line."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from autoprune.errors import StorageError
from autoprune.evaluation.records import read_records
from autoprune.evaluation.study_files import read_study
from autoprune.storage import heartbeat, locks
from autoprune.storage.heartbeat import StalenessMonitor
from autoprune.storage.storage import open_journal_of
from damage import SEEDS, damage, nested

pytestmark = pytest.mark.timeout(600)

MADE = Path(__file__).parents[1] / "experiment/made_by_365078f"
RECORDS, STUDY, JOURNAL = "records.jsonl", "study.json", "journal.log"
OPTIONS = (
    *("--model", "model", "--task", "task", "--keep", 2, "--full-epochs", 2, "--seeds", 2),
    *("--batch", 16, "--learning-rate", 0.02, "--workers", 1, "--epochs", 2),
    *("--head", "drawn"),  # of which the study was made
    *("--strategy", "top", "--strategy", "middle", "--trials", 4, "--study", "finished"),
)
COMMANDS = (
    ("studies",),
    ("report", "finished", "--data-dir", "task"),
    ("compare", "finished", "other"),
    ("export", "finished", "--out", "exported"),
    ("cost", "finished"),
    ("dashboard", "finished", "--no-browser"),
    ("worker", "finished", "--model", "model", "--task", "task", "--trials-here", 1),
    ("search", *OPTIONS),
)


@pytest.fixture(autouse=True)
def _short_grace_period(monkeypatch):
    """A worker on another machine counts as dead after a second without a heartbeat."""
    for module in (heartbeat, locks):
        monkeypatch.setattr(module, "StalenessMonitor", lambda *_: StalenessMonitor(1.0, 0.1))


@pytest.fixture
def made(tmp_path):
    """Return a copy of a finished study, in the working folder, with another one beside it."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "studies/finished", tmp_path / "studies/other")
    return tmp_path / "studies/finished"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [RECORDS, STUDY, JOURNAL])
def test_commands_on_a_damaged_study_end_in_one_line(run, made, untrained, name, seed):
    rng = random.Random(f"{name} {seed}")
    content, kind = damage((made / name).read_bytes(), rng)
    report = f"seed {seed}: {name}, {kind}"
    for command in COMMANDS:
        (made / name).write_bytes(content)
        answer = run(*command)
        assert answer.code in (0, 2), (report, command, answer)
        assert "Traceback" not in answer.err
        if answer.code == 2:
            assert answer.lines[-1].startswith("autoprune: "), (report, command, answer)
        assert "\x1b" not in answer.err + answer.out


def edited(name, change):
    """Return a function that changes the lines of a file."""

    def spoil(folder):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("".join(f"{line}\n" for line in change(lines)))

    return spoil


def record(number, **changes):
    """Return a function that changes fields of one record."""

    def change(lines):
        lines[number] = json.dumps({**json.loads(lines[number]), **changes})
        return lines

    return edited(RECORDS, change)


def study(change):
    """Return a function that changes the value in study.json."""

    def spoil(folder):
        value = json.loads((folder / STUDY).read_text())
        change(value)
        (folder / STUDY).write_text(json.dumps(value))

    return spoil


def deep(name):
    return lambda folder: (folder / name).write_text(nested(100_000) + "\n")


def contradicting(lines):
    entry = json.loads(lines[-1])
    entry["scores"][0]["quality"] /= 2
    return [*lines, json.dumps(entry)]


def settings(lines):
    at = next(index for index, line in enumerate(lines) if '"user_attr":{"settings"' in line)
    entry = json.loads(lines[at])
    entry["user_attr"]["settings"]["unheard"] = 1
    return [*lines[:at], json.dumps(entry), *lines[at + 1 :]]


def trials(lines):
    """Return the numbers of the lines that create a trial."""
    return [number for number, line in enumerate(lines) if '"op_code":4' in line]


def identity(lines):
    return [*lines[:6], *lines[10:]]


REPORT, RESUME = ("report", "finished"), ("search", *OPTIONS)
WORKER = ("worker", "finished", "--model", "model", "--task", "task")
DAMAGED = {
    "journal without four lines": (edited(JOURNAL, identity), RESUME, [JOURNAL]),
    "journal without four lines, worker": (edited(JOURNAL, identity), WORKER, [JOURNAL]),
    "journal nested": (deep(JOURNAL), RESUME, [JOURNAL, "line 1"]),
    "settings with a key too many": (
        edited(JOURNAL, settings),
        WORKER,
        [JOURNAL, "unknown setting 'unheard'", "repeat the search's command"],
    ),
    "records nested": (deep(RECORDS), REPORT, [RECORDS, "line 1", "nested too deeply"]),
    "study nested": (deep(STUDY), REPORT, [STUDY, "nested too deeply"]),
    "study nested within": (
        study(lambda value: value["asked"].update(model=json.loads(nested(500)))),
        REPORT,
        [STUDY, "nested too deeply"],
    ),
    "study without test": (study(lambda value: value.pop("test")), REPORT, [STUDY, "'test'"]),
    "study without metric": (
        study(lambda value: value["setting"].pop("metric")),
        REPORT,
        [STUDY, "metric"],
    ),
    "study of another model": (
        study(lambda value: value["setting"].update(commit="another")),
        REPORT,
        [STUDY, "with the model that is named"],
    ),
    "study of another type": (
        study(lambda value: value["setting"].update(problem_type="multi_label_classification")),
        REPORT,
        [STUDY, "the test labels are not those of multi_label_classification"],
    ),
    "a number of 400 digits": (
        study(lambda value: value["entrants"][0].update(parameters=10**400)),
        REPORT,
        [STUDY, "at most 18 digits"],
    ),
    "a label that is none": (
        study(lambda value: value["test"]["labels"].__setitem__(0, 99)),
        REPORT,
        [STUDY, "a test label is none of the"],
    ),
    "fewer predictions": (record(-1, predictions=[0, 1]), REPORT, [RECORDS, "2 predictions for"]),
    "fewer predictions, resumed": (record(-1, predictions=[0]), RESUME, [RECORDS, "1 predictions"]),
    "predictions in words": (
        record(-1, predictions=["a"]),
        RESUME,
        [RECORDS, "predictions must be"],
    ),
    "predictions of the test": (
        lambda folder: record(-1, predictions=[7] * len(read_study(folder).test.kept))(folder),
        REPORT,
        [RECORDS, "a prediction is none of the"],
    ),
    "a record without scores": (record(-1, scores=[]), REPORT, [RECORDS, "line", "a score on"]),
    "two results of one run": (
        edited(RECORDS, contradicting),
        REPORT,
        [RECORDS, "contradict each other", "lines 12 and 13"],
    ),
    "two results of one run, resumed": (edited(RECORDS, contradicting), RESUME, [RECORDS, "lines"]),
}


@pytest.mark.parametrize(("spoil", "command", "words"), DAMAGED.values(), ids=DAMAGED)
def test_command_names_the_damaged_file(refused, made, untrained, spoil, command, words):
    spoil(made)
    refused(*command, words=words)


@pytest.mark.parametrize("name", [RECORDS, STUDY, JOURNAL])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_pipe_in_place_of_a_file_is_not_waited_for(run, made, untrained, name, command):
    (made / name).unlink()
    os.mkfifo(made / name)
    answer = run(*command)
    assert answer.code in (0, 2), answer
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("command", [RESUME, ("baseline", *OPTIONS[:-4], *OPTIONS[-2:])])
def test_study_of_a_later_version_is_not_overwritten(refused, made, command):
    study(lambda value: value.update(schema=2))(made)
    refused(*command, words=[STUDY, "schema 2", "use the version that wrote it"])


def test_costs_of_a_later_version_are_not_overwritten(refused, made):
    (made / "cost.json").write_text('{"schema": 2}')
    refused("cost", "finished", words=["cost.json", "schema 2"])


def test_cost_finds_out_first_that_it_cannot_write(refused, made):
    (made / "cost.json").mkdir()
    refused("cost", "finished", words=["cost.json", "it is a folder"])


def test_doubled_line_counts_once(made):
    before = read_records(made / RECORDS)
    edited(RECORDS, lambda lines: [line for line in lines for _ in range(2)])(made)
    assert read_records(made / RECORDS) == before
    assert len(read_study(made).trials) == 4


def test_trials_that_the_journal_lost_are_taken_up_from_the_records(run, made):
    whole = (made / JOURNAL).read_text().splitlines(keepends=True)
    third = trials(whole)[2]
    (made / JOURNAL).write_text("".join(whole[:third]))
    records = (made / RECORDS).read_bytes()
    refusal = run(*WORKER).refusal()
    assert "2 trials of studies/finished/records.jsonl" in refusal
    answer = run(*RESUME, "--json")
    assert answer.code == 0, answer.err
    assert "2 trials of studies/finished/records.jsonl" in answer.err
    assert "4 trials of this study are finished, the search is done" in answer.err
    assert (made / RECORDS).read_bytes() == records
    assert answer.result["trials"] == 4
    again = run(*RESUME, "--json")
    assert "missing in" not in again.err


def test_journal_is_opened_without_writing(made):
    before = {path: path.stat().st_mtime_ns for path in (made, *made.iterdir())}
    storage = open_journal_of(made)
    [found] = storage.get_all_studies()
    assert found.study_name == "finished"
    with pytest.raises(PermissionError):
        storage.set_study_user_attr(0, "a", 1)
    assert {path: path.stat().st_mtime_ns for path in (made, *made.iterdir())} == before


def test_journal_with_a_line_under_way_is_opened_without_writing(made):
    with (made / JOURNAL).open("a") as file:
        file.write('{"op_code":5,"wor')
    assert len(open_journal_of(made).get_all_trials(0)) == 4
    (made / JOURNAL).write_text("hello\n")
    with pytest.raises(StorageError, match=r"journal\.log is broken at line 1"):
        open_journal_of(made)


LOGS = (f"studies/finished/{RECORDS}", f"studies/finished/{STUDY}", f"studies/finished/{JOURNAL}")


@pytest.mark.parametrize(
    "log", [*LOGS, "studies/finished/cost.json", "task/train.csv", "model/config.json", "linked"]
)
def test_log_is_not_written_to_another_file(refused, made, log):
    Path("linked").hardlink_to(made / RECORDS)
    refused(*RESUME, "--log-file", log, words=["--log-file", log])


def test_log_to_a_pipe_that_nobody_reads_is_not_waited_for(run, made, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert run("worker", "nowhere", "--log-file", "pipe").code == 2


def test_journal_that_contradicts_the_records_is_refused(run, made):
    first = json.loads((made / RECORDS).read_text().splitlines()[0])
    record(0, scores=[{**first["scores"][0], "quality": 0.9}])(made)
    answer = run(*RESUME)
    assert answer.code == 2
    assert "contradict each other about" in answer.lines[-1] and RECORDS in answer.lines[-1]


def test_journal_without_the_begin_of_a_trial_is_made_whole_from_the_records(run, made):
    whole = (made / JOURNAL).read_text().splitlines(keepends=True)
    del whole[trials(whole)[1]]
    (made / JOURNAL).write_text("".join(whole))
    records = (made / RECORDS).read_bytes()
    answer = run(*RESUME, "--json")
    assert answer.code == 0, answer.err
    assert "records.jsonl, taken up from there" in answer.err
    assert (made / RECORDS).read_bytes() == records
