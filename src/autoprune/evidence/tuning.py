"""Tuning: each entrant's budget is chosen among a few by validation, the same few for all."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from autoprune.errors import TrialError
from autoprune.evidence.measuring import Conditions, Entrant, Progress, record_of, wanted_of
from autoprune.evidence.record import Record, key
from autoprune.evidence.records import append, read
from autoprune.scoring.place import place_of
from autoprune.scoring.score import Score


def tune(
    variants: Sequence[Sequence[Entrant]],
    seed: int,
    conditions: Conditions,
    path: Path,
    watch: Callable[[Progress], None],
) -> list[Entrant]:
    """Return of each entrant's variants, which differ in `budget`, the best on validation.

    Each is run once with `seed`, which the comparison must not use, and never sees the test rows;
    where two are equal the earlier is taken, and the first where all failed. Records go to
    `path`; what is there is not run again.
    """
    known: dict[Hashable, Record] = {
        key(record): record
        for record in read(path)
        if record.phase == "tuning" and record.state == "complete"
    }
    runs = [entrant for each in variants for entrant in each]

    def wanted_by(entrant: Entrant) -> Hashable:
        return wanted_of(entrant, seed, conditions, conditions.fingerprints)

    under_way: dict[Hashable, Callable[[], Score]] = {}
    for entrant in runs:
        wanted = wanted_by(entrant)
        if wanted not in known and wanted not in under_way:
            under_way[wanted] = entrant.validate(seed, place_of(path.parent, wanted))
    for number, entrant in enumerate(runs, 1):
        wanted = wanted_by(entrant)
        reused = wanted in known
        if not reused:
            known[wanted] = _validated(entrant, under_way.pop(wanted), seed, conditions)
            append(path, known[wanted])
            place_of(path.parent, wanted).take_away()
        watch(Progress(entrant.origin, seed, known[wanted], reused, number, len(runs)))
    return [max(each, key=lambda one: _quality(known[wanted_by(one)])) for each in variants]


def _validated(
    entrant: Entrant, wait: Callable[[], Score], seed: int, conditions: Conditions
) -> Record:
    scores: tuple[Score, ...] = ()
    reason = ""
    try:
        scores = (wait(),)
    except TrialError as error:
        reason = str(error) or "no reason given"
    notes = tuple(score.note for score in scores if score.note)
    prints = conditions.fingerprints
    return record_of(
        "tuning", entrant, seed, scores, conditions, prints, notes=notes, reason=reason
    )


def _quality(record: Record) -> float:
    return record.score("validation").quality if record.scores else -1.0
