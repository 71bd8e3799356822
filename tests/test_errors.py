"""Errors: messages name the nearest name, and are short and printable."""

import pickle
from pathlib import Path

import pytest

from autoprune.errors import (
    DataError,
    UnknownNameError,
    check_names,
    first_line,
    format_path,
    is_out_of_memory,
    join_names,
)
from autoprune.export.serve import RequestError


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lcd", "unknown task 'lcd', did you mean 'ldc'?"),
        ("shcc", "unknown task 'shcc', did you mean 'shc'?"),
        ("xyzzy", "unknown task 'xyzzy', choose one of demo, ldc, lpc, shc"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(name, answer):
    assert str(UnknownNameError("task", name, ["shc", "lpc", "ldc", "demo"])) == answer


def test_errors_of_any_signature_come_from_another_process():
    for error in (
        UnknownNameError("task", "lcd", ["shc", "ldc"], "or a file"),
        RequestError(413, "too long"),
        DataError("no rows"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert again.__dict__ == error.__dict__


def test_check_names_raises_for_the_first_unknown_name():
    check_names("pruner", ["median"], ("none", "median"))
    with pytest.raises(UnknownNameError, match="unknown pruner 'medain', did you mean 'median'"):
        check_names("pruner", ["none", "medain", "x"], ("none", "median"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("\n  one\ntwo"), "one"),
        (DataError("fields:\n  two are wrong."), "fields: two are wrong"),
        (DataError("a\x1b[31mb"), "a\\x1b[31mb"),
        (KeyError("name"), "there is no 'name'"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 999), "x" * 200),
    ],
)
def test_first_line_is_short_and_printable(error, line):
    assert first_line(error) == line


def test_format_path_is_relative_inside_the_working_folder(tmp_path):
    assert format_path(tmp_path / "a" / "b.csv") == "a/b.csv"
    assert format_path(Path("/a\nb.csv")) == "/a\\nb.csv"
    assert format_path(Path("/" + "x" * 200)) == "..." + "x" * 90


def test_join_names_cuts_a_long_list():
    assert join_names([]) == "nothing"
    assert join_names("abc", most=2) == "'a', 'b' and 1 more"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_is_out_of_memory_by_class_or_message(error, expected):
    assert is_out_of_memory(error) is expected
