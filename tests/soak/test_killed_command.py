"""`kill -9` of a real search, 50 times: of the command, of its processes, in a checkpoint."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from autoprune.storage.storage import JOURNAL

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

KILLS = 50
TRIALS = 64
EPOCHS = 6


def workers_of(command):
    """Return the numbers of the processes that train for a command."""
    found = []
    with suppress(OSError):  # one may end meanwhile
        for task in Path(f"/proc/{command.pid}/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


def drafts(folder):
    """Return the numbers of the processes in the middle of a checkpoint."""
    return [int(path.name.split(".")[-2]) for path in folder.glob("studies/*/.checkpoints/.*.part")]


def at_work(command, folder):
    """Say whether both processes are there, and a checkpoint is being written."""
    return len(workers_of(command)) == 2 and drafts(folder)


def first_of(command, look, *where):
    """Wait until `look` finds something, and return it; the command had better not end."""
    until = time.monotonic() + 90
    while not (found := look(*where)) and time.monotonic() < until:
        assert command.poll() is None, "the command ended too soon"
        time.sleep(0.0005)
    return found


def test_resume_after_fifty_kills_of_a_search(start, said, study_in, tmp_path, capsys):
    folder, alone = tmp_path / "killed", tmp_path / "undisturbed"
    folder.mkdir()
    alone.mkdir()
    draw, before, group, inside, torn = random.Random(11), {}, [], 0, 0
    command = start(folder, TRIALS, EPOCHS, 2)
    for kill in range(KILLS):
        first_of(command, at_work, command, folder)
        journal = study_in(folder).folder / JOURNAL
        time.sleep(draw.uniform(0, 2))
        # A trial may lose its process twice, as a worker and with the command: so may two.
        while len(group) >= 2 and group[-2] == len(study_in(folder).finished) // 2:
            time.sleep(0.2)
        kind = ("process", "draft", "command", "write")[kill % 4]
        if kind == "process":
            victim = first_of(command, workers_of, command)[0]
        elif kind == "draft":
            victim = first_of(command, drafts, folder)[0]
        else:
            victim = command.pid
        if kind == "write":
            end = journal.stat().st_size + draw.randint(1, 150)
            resource.prlimit(victim, resource.RLIMIT_FSIZE, (end, end))
            with suppress(subprocess.TimeoutExpired):
                command.wait(30)
            torn += not journal.read_bytes().endswith(b"\n")
        with suppress(ProcessLookupError):
            os.kill(victim, 9)
        inside += victim in drafts(folder)
        if victim == command.pid:
            command.communicate()
            command = start(folder, TRIALS, EPOCHS, 2)
        now = study_in(folder).finished
        assert before.items() <= now.items()  # what was measured stays as it was
        before = now
        group.append(len(now) // 2)
    out, _ = command.communicate(timeout=900)
    assert command.returncode == 0, said(folder)
    undisturbed = start(alone, TRIALS, EPOCHS, 1)
    whole, _ = undisturbed.communicate(timeout=900)
    assert undisturbed.returncode == 0, said(alone)
    assert study_in(folder).records == study_in(alone).records
    assert len(study_in(folder).finished) == TRIALS
    assert json.loads(out)["repeated"] == json.loads(whole)["repeated"] == 0
    assert not (study_in(folder).folder / ".checkpoints").exists()
    with capsys.disabled():
        sys.stdout.write(
            f"\ncommand with two processes: {KILLS} kills, {inside} in the middle of a checkpoint, "
            f"{torn} in the middle of a line\n"
        )
