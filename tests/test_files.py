"""Atomic writes: files and folders appear complete or not at all. Locks: one process at a time."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoprune.errors import OptionError, StudyError
from autoprune.files import (
    atomic_file,
    atomic_folder,
    check_new_folder,
    is_file,
    is_folder,
    is_folder_locked,
    lock_folder,
    path_exists,
    remove_temporary_files,
    validate_study_name,
    write_atomic,
)

FULL = OSError(28, os.strerror(28))


def list_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_write_atomic_keeps_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "reports" / "a.md"
    write_atomic(path, "one")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(FULL))
    with pytest.raises(StudyError, match="No space left"):
        write_atomic(path, "two")
    assert path.read_text() == "one"
    assert list_files(path.parent) == ["a.md"]


def test_write_atomic_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot write") as caught:
        write_atomic(tmp_path / "file" / "a.md", "one")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_file_is_removed_when_the_block_raises(tmp_path, error):
    with pytest.raises(error), atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("1")
        raise error
    assert list_files(tmp_path) == []


def test_remove_temporary_files_of_killed_processes(tmp_path):
    for name in (".a.17.part", ".a.18.part", ".b.17.part", "a"):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path / "a")
    assert list_files(tmp_path) == [".b.17.part", "a"]


@pytest.mark.parametrize("out", ["model", "deep/er/model", "empty"])
def test_atomic_folder_appears_complete(tmp_path, out):
    tmp_path.joinpath("empty").mkdir()
    out = tmp_path / out
    with atomic_folder(out) as folder:
        folder.joinpath("a").write_text("1")
        folder.joinpath("secret").touch(0o600)
        assert not out.exists() or list_files(out) == []
        assert folder.parent == out.parent
    assert list_files(out) == ["a", "secret"]
    assert out.joinpath("a").stat().st_mode == out.joinpath("secret").stat().st_mode
    assert [path for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("out", ["model", "deep/er/model", "empty"])
def test_atomic_folder_leaves_nothing_when_the_block_raises(tmp_path, out, error):
    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(error), atomic_folder(tmp_path / out) as folder:
        folder.joinpath("a").write_text("1")
        raise error
    assert list_files(tmp_path) == ["empty"]


@pytest.mark.skipif(os.name != "posix", reason="only there one may ask for a process")
def test_atomic_folder_removes_what_a_killed_process_left_and_no_other(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".a[1].{ended.pid}.part"
    kept = [tmp_path / name for name in (f".a[1].{os.getppid()}.part", f".b.{ended.pid}.part")]
    kept += [tmp_path / name for name in (".a[1].mine.part", f".a[1].{9 * 10**30}.part")]
    for folder in (left, *kept):
        folder.mkdir()
        (folder / "weights").write_text("half")
    with atomic_folder(tmp_path / "a[1]") as folder:
        (folder / "weights").write_text("whole")
    assert not left.exists()
    assert all((folder / "weights").is_file() for folder in kept)


def test_atomic_folder_on_a_full_disk_is_refused_in_one_line(tmp_path):
    with (
        pytest.raises(OptionError, match=r"cannot write .*model: No space"),
        atomic_folder(tmp_path / "model"),
    ):
        raise FULL
    assert list_files(tmp_path) == []


def test_atomic_folder_keeps_what_another_process_wrote_meanwhile(tmp_path):
    out = tmp_path / "model"
    with pytest.raises(OptionError, match="is not empty"), atomic_folder(out) as folder:
        folder.joinpath("a").write_text("1")
        out.mkdir()
        out.joinpath("other").touch()
    assert list_files(tmp_path) == ["model", "model/other"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("full", "full is not empty"),
        ("file", "file is a file"),
        ("file/below", "file is a file, name another folder"),
        (".", "is the working folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_check_new_folder_refuses_a_path_that_cannot_be_made(tmp_path, out, message):
    tmp_path.joinpath("full").mkdir()
    tmp_path.joinpath("full/a").touch()
    tmp_path.joinpath("file").touch()
    with pytest.raises(OptionError, match=message):
        check_new_folder(tmp_path / out)
    assert list_files(tmp_path) == ["file", "full", "full/a"]


def test_check_new_folder_refuses_a_folder_where_nothing_can_be_written(tmp_path, monkeypatch):
    for out in ("model", "a/b/model"):
        check_new_folder(tmp_path / out)
    assert list_files(tmp_path) == []

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)  # tests may run as root
    with pytest.raises(OptionError, match=f"nothing can be written in {tmp_path}, name another"):
        check_new_folder(tmp_path / "model")


def test_lock_folder_is_released_when_its_process_is_killed(tmp_path):
    code = (
        "import pathlib, time; from autoprune.files import lock_folder\n"
        f"with lock_folder(pathlib.Path({str(tmp_path / 'new')!r})):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        assert is_folder_locked(tmp_path / "new")
        with pytest.raises(TimeoutError):
            lock_folder(tmp_path / "new", timeout=0)
        process.kill()
    assert not is_folder_locked(tmp_path / "new")
    with lock_folder(tmp_path / "new", timeout=0):
        pass


def test_is_folder_locked_leaves_no_file(tmp_path):
    assert not is_folder_locked(tmp_path)
    assert list_files(tmp_path) == []


@pytest.mark.parametrize("ask", [path_exists, is_file, is_folder])
@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG])
def test_path_that_may_not_be_read_does_not_exist(tmp_path, monkeypatch, ask, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", refuse)
    assert ask(tmp_path) is False


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert (is_file(tmp_path), is_folder(tmp_path)) == (False, True)
    assert (is_file(file), is_folder(file)) == (True, False)


@pytest.mark.parametrize("name", [None, "a", "_a", "मराठी-1", "a.b+c@d=e"])
def test_validate_study_name_returns_a_valid_name(name):
    assert validate_study_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "a/b", "../a", "a b", "-a", "x" * 151])
def test_validate_study_name_refuses_a_path(name):
    with pytest.raises(OptionError, match=re.escape("letters, digits and any of . _ +")):
        validate_study_name(name)
