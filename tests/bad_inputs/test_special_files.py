"""Pipes, devices and folders in the place of a file: refused at once, never waited for."""

import os

import pytest

from autoprune.errors import DataError
from autoprune.files import open_regular, read_regular
from autoprune.tasks.text_lines import read_corpus

pytestmark = pytest.mark.timeout(60)

HEADER = "text,label\n"
PLAN = 'models = ["demo"]\ntasks = ["demo"]\nkeeps = [2]\n'


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path.name)


def gone(path):
    path.symlink_to("nowhere")


MAKERS = (pipe, endless, folder, loop, gone)
SEARCH = ("search", "--model", "demo", "--task", "demo", "--keep", 2)
OPTIONS = {
    "corpus of an export": ("export", "any", "--out", "x", "--trim-vocabulary", "--corpus", "odd"),
    "corpus of a pre-training": (*("pretrain", "--out", "x", "--minutes", 1, "--corpus", "odd"),),
    "config": ("search", "--config", "odd"),
    "written config": (*SEARCH, "--keep", 99, "--write-config", "odd"),
    "plan": ("reproduce", "odd.toml"),
    "texts": ("predict", "any", "odd"),
    "data": ("search", "--model", "demo", "--task", "odd.csv", "--keep", 2),
    "output": ("predict", "any", "texts.csv", "--out", "odd"),
}


@pytest.fixture(autouse=True)
def studies(tmp_path):
    """Put a study's folder and a file of texts in the working folder."""
    (tmp_path / "studies/any").mkdir(parents=True)
    (tmp_path / "studies/any/records.jsonl").touch()
    (tmp_path / "texts.csv").write_text(HEADER)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("arguments", OPTIONS.values(), ids=OPTIONS)
def test_command_refuses_what_is_no_file(refused, tmp_path, arguments, make):
    if make in (gone, loop) and arguments[-2] in ("--out", "--write-config"):
        pytest.skip("a file is made there")
    names = [str(name) for name in arguments]
    name = next(name for name in reversed(names) if name.startswith("odd")).partition("/")[0]
    make(tmp_path / name)
    refused(*arguments, words=[name])


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_open_regular_refuses_what_is_no_file(tmp_path, make):
    make(tmp_path / "odd")
    with pytest.raises(OSError) as refusal:
        open_regular(tmp_path / "odd")
    assert refusal.value.strerror


def test_file_with_holes_is_not_read_into_memory(tmp_path):
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 1 MiB"):
        read_regular(tmp_path / "holes", 1 << 20)
    with pytest.raises(DataError, match="line 1 is over 1 MiB"):
        next(read_corpus(tmp_path / "holes"))


def test_file_of_just_the_bound_is_read(tmp_path):
    (tmp_path / "full").write_bytes(bytes(10))
    assert read_regular(tmp_path / "full", 10) == bytes(10)
    with pytest.raises(OSError, match="more than"):
        read_regular(tmp_path / "full", 9)
