"""A folder appears whole or not at all, and a place where none can be made is refused early."""

import os

import pytest

from autoprune.errors import OptionError
from autoprune.files import atomic_folder, check_new_folder


def lies(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("out", ["model", "deep/er/model", "empty"])
def test_the_folder_appears_whole(tmp_path, out):
    tmp_path.joinpath("empty").mkdir()
    out = tmp_path / out
    with atomic_folder(out) as folder:
        folder.joinpath("a").write_text("1")
        folder.joinpath("secret").touch(0o600)
        assert not out.exists() or lies(out) == []
        assert folder.parent == out.parent
    assert lies(out) == ["a", "secret"]
    assert out.joinpath("a").stat().st_mode == out.joinpath("secret").stat().st_mode
    assert [path for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("out", ["model", "deep/er/model", "empty"])
def test_nothing_is_left_behind(tmp_path, out, error):
    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(error), atomic_folder(tmp_path / out) as folder:
        folder.joinpath("a").write_text("1")
        raise error
    assert lies(tmp_path) == ["empty"]


def test_a_full_disk_is_one_line(tmp_path):
    full = OSError(28, os.strerror(28))
    with (
        pytest.raises(OptionError, match=r"cannot write .*model: No space"),
        atomic_folder(tmp_path / "model"),
    ):
        raise full
    assert lies(tmp_path) == []


def test_what_somebody_else_put_there_meanwhile_stays(tmp_path):
    out = tmp_path / "model"
    with pytest.raises(OptionError, match="is not empty"), atomic_folder(out) as folder:
        folder.joinpath("a").write_text("1")
        out.mkdir()
        out.joinpath("mine").touch()
    assert lies(tmp_path) == ["model", "model/mine"]


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("full", "full is not empty"),
        ("file", "file is a file"),
        ("file/below", "file is a file, name another folder"),
        (".", "is the working folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path, out, says):
    tmp_path.joinpath("full").mkdir()
    tmp_path.joinpath("full/a").touch()
    tmp_path.joinpath("file").touch()
    with pytest.raises(OptionError, match=says):
        check_new_folder(tmp_path / out)
    assert lies(tmp_path) == ["file", "full", "full/a"]


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root
    with pytest.raises(OptionError, match="no permission"):
        check_new_folder(tmp_path / "model")
