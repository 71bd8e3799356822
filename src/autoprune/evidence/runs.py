"""Runs: the records of one entrant of a finished study, one a seed."""

from autoprune.evidence.record import Record
from autoprune.evidence.studied import Studied
from autoprune.layouts.strategies import STRATEGIES

_OF_THE_MODEL = {"found", "full", *STRATEGIES}


def runs_of(studied: Studied, origin: str) -> dict[int, Record]:
    """Return the complete records of one entrant by seed, in the order of the seeds.

    Entrants of one layout share their records, so they are found by what they are, not by the
    origin in the record. Raises KeyError where `origin` was left out or did not enter.
    """
    comparison, setting = studied.comparison, studied.setting
    layout = comparison.row(origin).layout
    rival = origin not in _OF_THE_MODEL and origin != "scratch"
    own = f"{setting.model}@{setting.commit}"
    start = "random" if origin == "scratch" else "pretrained"
    by_seed = {
        record.seed: record
        for record in comparison.records
        if (record.layout, record.start, record.state) == (layout, start, "complete")
        and (record.model.rpartition("@")[0] == origin if rival else record.model == own)
    }
    return {seed: by_seed[seed] for seed in comparison.seeds}
