"""A full disk at 20 random moments: one line, all before it readable, and the search goes on."""

import random
import subprocess
import sys
import time
from contextlib import suppress

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

MOMENTS = 20
TRIALS = 100
EPOCHS = 2
BYTES = 24 * 2**20


@pytest.fixture
def disk(tmp_path):
    """Return a small disk; to mount it takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk, until):
    """Leave no room until a process ends, though it lets go of some."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        while until.poll() is None:
            with suppress(OSError):
                while True:
                    file.write(bytes(2**12))
            time.sleep(0.001)


def test_resume_after_a_full_disk(disk, start, said, study_in, tmp_path, capsys):
    draw, before, lines = random.Random(5), {}, []
    for moment in range(MOMENTS):
        command = start(disk, TRIALS, EPOCHS, 1)
        if moment % 5 == 0:
            time.sleep(draw.uniform(0, 8))  # in its start, maybe before the study is there
        else:  # a run that is cut short is offered again twice, so each time one ends at least
            while len(study_in(disk).finished) == len(before):
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 1.5))
        assert command.poll() is None, said(disk)
        fill(disk, command)
        out, _ = command.communicate()
        last = said(disk)[-1]
        assert (command.returncode, out) == (2, ""), said(disk)
        assert "the disk is full" in last
        assert sum(line.startswith("autoprune: ") for line in said(disk)) == 1
        assert not any("Traceback" in line for line in said(disk))
        lines.append(last)
        (disk / "ballast").unlink()
        now = study_in(disk)
        assert before.items() <= now.finished.items()  # what was measured stays as it was
        before = now.finished
    end = start(disk, TRIALS, EPOCHS, 1)
    end.communicate(timeout=900)
    assert end.returncode == 0, said(disk)
    alone = tmp_path / "undisturbed"
    alone.mkdir()
    undisturbed = start(alone, TRIALS, EPOCHS, 1)
    undisturbed.communicate(timeout=900)
    assert undisturbed.returncode == 0, said(alone)
    assert study_in(disk).records == study_in(alone).records
    assert not list(disk.rglob("*.part"))
    with capsys.disabled():
        sys.stdout.write(f"\n{MOMENTS} times full; {len(set(lines))} lines, such as\n{lines[-1]}\n")
