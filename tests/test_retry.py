"""Retry: transient failures are retried after each wait, all others are raised at once."""

import pytest

from autoprune.retry import call_with_retry


@pytest.fixture
def waits(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def failing(*errors):
    remaining = list(errors)

    def call():
        if remaining:
            raise remaining.pop(0)
        return "done"

    return call


def is_os_error(error):
    return isinstance(error, OSError)


def test_call_with_retry_waits_longer_each_time(waits):
    call = failing(OSError("one"), OSError("two"))
    assert call_with_retry(call, is_os_error, "file", (1, 2, 4)) == "done"
    assert waits == [1, 2]


def test_call_with_retry_raises_the_last_failure(waits):
    with pytest.raises(OSError, match="two"):
        call_with_retry(failing(OSError("one"), OSError("two")), is_os_error, "file", (1,))
    assert waits == [1]


def test_call_with_retry_raises_other_failures_at_once(waits):
    with pytest.raises(ValueError, match="one"):
        call_with_retry(failing(ValueError("one")), is_os_error, "file", (1, 2))
    assert waits == []
