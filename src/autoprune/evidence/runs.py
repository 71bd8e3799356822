"""Runs: the records of one entrant of a finished study, one a seed."""

from autoprune.evidence.record import Record
from autoprune.evidence.studied import Studied


def runs_of(studied: Studied, origin: str) -> dict[int, Record]:
    """Return the complete records of one pruned entrant by seed, in the order of the seeds.

    Entrants of one layout share their records, so they are found by layout, not by origin. Raises
    KeyError where `origin` was left out or did not enter.
    """
    comparison, setting = studied.comparison, studied.setting
    layout, model = comparison.row(origin).layout, f"{setting.model}@{setting.commit}"
    by_seed = {
        record.seed: record
        for record in comparison.records
        if (record.layout, record.model, record.start) == (layout, model, "pretrained")
        and record.state == "complete"
    }
    return {seed: by_seed[seed] for seed in comparison.seeds}
