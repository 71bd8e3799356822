"""Fixtures: the conditions of made-up measurements."""

from made_studies import conditions  # noqa: F401 (pytest finds it here)
