"""Bad study folders: cut off, foreign, of another version, or a file in place of a folder."""

import json
import shutil
from pathlib import Path

import pytest

from autoprune.evaluation.records import read_records

NAME = "tiny-own-keep2"
RECORDS, STUDY, JOURNAL = "records.jsonl", "study.json", "journal.log"


@pytest.fixture(scope="module")
def finished(run, model, task, tmp_path_factory):
    """Return the folder of a finished study, and the command that made it."""
    folder = tmp_path_factory.mktemp("finished")
    command = (
        *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 2),
        *("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--workers", 1, "--strategy", "top"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        answer = run(*command)
    assert answer.code == 0, answer.err
    return folder / "studies" / NAME, command


@pytest.fixture
def study(finished, tmp_path):
    """Return a copy of that study in the working folder."""
    return shutil.copytree(finished[0], tmp_path / "studies" / NAME)


def written(name, content):
    def spoil(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def changed(name, change):
    """Return a function that changes the JSON of one file."""

    def spoil(folder):
        entry = json.loads((folder / name).read_text())
        change(entry)
        (folder / name).write_text(json.dumps(entry))

    return spoil


def lines(name, change):
    """Return a function that changes the list of a file's lines."""

    def spoil(folder):
        whole = (folder / name).read_bytes().split(b"\n")
        (folder / name).write_bytes(b"\n".join(change(whole)))

    return spoil


def a_folder(name):
    def spoil(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


REPORT, COMPARE = ("report", NAME), ("compare", NAME, NAME)
EXPORT, COST = ("export", NAME, "--out", "taken"), ("cost", NAME)
AGAIN = ()  # the command that made the study

SPOILT = {
    "study cut off": (written(STUDY, "{"), REPORT, [STUDY, "run the study's command again"]),
    "study empty": (written(STUDY, ""), EXPORT, [STUDY, "again"]),
    "study is a list": (written(STUDY, "[1, 2]"), COST, [STUDY, "again"]),
    "study of bytes": (written(STUDY, b"\xff\xfe\0\x01"), REPORT, [STUDY, "again"]),
    "study of another version": (
        changed(STUDY, lambda entry: entry.update(schema=99)),
        REPORT,
        [STUDY, "schema 99"],
    ),
    "study without its setting": (
        changed(STUDY, lambda entry: entry.pop("setting")),
        COST,
        [STUDY, "setting"],
    ),
    "study with an impossible layout": (
        changed(STUDY, lambda entry: entry["entrants"][0].update(layout="5:7")),
        EXPORT,
        [STUDY, "run from 0 to 4"],
    ),
    "study with an impossible rate": (
        changed(STUDY, lambda entry: entry["entrants"][0].update(learning_rate=7)),
        REPORT,
        [STUDY, "between 0 and 1"],
    ),
    "study with a seed never run": (
        changed(STUDY, lambda entry: entry.update(seeds=[77])),
        REPORT,
        [RECORDS, "seed 77"],
    ),
    "study is a folder": (a_folder(STUDY), AGAIN, [STUDY, "move it away"]),
    "records torn in the middle": (
        lines(RECORDS, lambda whole: [whole[0][:40], *whole[1:]]),
        REPORT,
        [RECORDS, "line 1"],
    ),
    "records torn in the middle, resumed": (
        lines(RECORDS, lambda whole: [whole[0], whole[1][:40], *whole[2:]]),
        AGAIN,
        [RECORDS, "line 2"],
    ),
    "records with a foreign line": (
        lines(RECORDS, lambda whole: [b'{"event": "other"}', *whole]),
        EXPORT,
        [RECORDS, "line 1"],
    ),
    "records of bytes": (written(RECORDS, b"\xff\0\n\n"), AGAIN, [RECORDS, "line 1"]),
    "records of another version": (
        lines(RECORDS, lambda whole: [whole[0].replace(b'"schema":1', b'"schema":8'), *whole[1:]]),
        REPORT,
        [RECORDS, "schema 8"],
    ),
    "records gone": (written(RECORDS, ""), REPORT, [RECORDS, "again"]),
    "records are a folder": (a_folder(RECORDS), AGAIN, [RECORDS, "folder"]),
    "journal torn in the middle": (
        lines(JOURNAL, lambda whole: [*whole[:2], whole[2][:9], *whole[3:]]),
        AGAIN,
        [JOURNAL],
    ),
    "journal of another program": (written(JOURNAL, "hello\nworld\n"), AGAIN, [JOURNAL]),
    "journal of bytes": (written(JOURNAL, b"\xff\xfe\0\n\0\n"), AGAIN, [JOURNAL]),
    "journal is a folder": (a_folder(JOURNAL), AGAIN, [JOURNAL, "move it away"]),
    "compared with itself": (lambda folder: None, COMPARE, ["two different studies"]),
}


@pytest.mark.parametrize(("spoil", "command", "words"), SPOILT.values(), ids=SPOILT)
def test_command_refuses_bad_study(spoil, command, words, study, finished, refused):
    spoil(study)
    refused(*(command or finished[1]), words=words)


def test_search_refuses_a_file_as_study_folder(finished, tmp_path, refused):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / NAME).write_text("mine")
    refused(*finished[1], words=[NAME])


@pytest.mark.parametrize(
    ("name", "torn"),
    [(RECORDS, b'{"phase":"sea'), (JOURNAL, b'{"op_code":5,"wor'), (JOURNAL, b"{")],
)
def test_torn_last_line_is_ignored(name, torn, study, finished, run):
    before = read_records(study / RECORDS)
    with (study / name).open("ab") as file:
        file.write(torn)
    answer = run(*finished[1])
    assert answer.code == 0, answer.err
    assert "2 trials of this study are finished" in answer.err
    assert read_records(study / RECORDS) == before


def test_other_files_in_the_folder_are_unchanged(study, finished, run, tmp_path):
    (study / "notes.txt").write_text("mine")
    (study / ".DS_Store").write_bytes(b"\0\1")
    Path("studies/other").mkdir()
    Path("studies/readme.md").write_text("also mine")
    assert run(*finished[1]).code == 0
    assert run("report", NAME).code == 0
    assert (study / "notes.txt").read_text() == "mine"
    assert (study / ".DS_Store").read_bytes() == b"\0\1"
    assert Path("studies/readme.md").read_text() == "also mine"
