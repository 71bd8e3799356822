"""Fixtures: made-up studies, shared by the rooms that compare and report."""

from made_studies import (  # noqa: F401 (pytest finds them here)
    compare,
    comparison,
    conditions,
    costs,
    entrant,
    entrants,
    finished_study,
    score,
    setting,
    split,
    trial,
)
