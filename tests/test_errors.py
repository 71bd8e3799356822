"""An unknown name is answered with the nearest known one."""

import pytest

from autoprune.errors import UnknownNameError


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lcd", "unknown task 'lcd', did you mean 'ldc'?"),
        ("shcc", "unknown task 'shcc', did you mean 'shc'?"),
        ("xyzzy", "unknown task 'xyzzy', choose one of demo, ldc, lpc, shc"),
    ],
)
def test_the_nearest_name_is_offered(name, answer):
    assert str(UnknownNameError("task", name, ["shc", "lpc", "ldc", "demo"])) == answer
