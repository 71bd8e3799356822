"""Which run is claimed next: interrupted ones, then given layouts, then what the sampler says."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from autoprune.layouts.layout import Layout, count
from autoprune.search.claims import Claim, Desk, running
from autoprune.search.ends import bury
from autoprune.search.failures import storage_failures
from autoprune.search.marks import INTERRUPTED, SEARCHED, counts, given_up, run_of_trial
from autoprune.search.past import Past, past_of, runs_of
from autoprune.search.run import Run


def next_claim(desk: Desk, trials: int, first: Mapping[str, Layout]) -> Claim | None:
    """Claim the next run; None when `trials` are finished or under way, or no run is left."""
    with storage_failures():
        while True:
            with desk.turn():
                known = living(desk)
                if sum(map(counts, known)) + running(known) >= trials:
                    return None
                waiting = [trial for trial in known if trial.state == TrialState.WAITING]
                past = past_of(known, desk.depth, desk.keep)
                if waiting:
                    claim = desk.take(waiting[0])
                elif (queued := _queued(desk, known, past, first)) is not None:
                    claim = desk.claim(*queued)
                elif not _exhausted(desk, known, past):
                    claim = desk.claim(desk.sampler.after(past), SEARCHED)
                else:
                    return None
                if claim is not None:
                    return claim


def is_over(desk: Desk, trials: int, first: Mapping[str, Layout]) -> bool:
    """Say whether nothing is under way, and nothing is left to be done."""
    with storage_failures():
        known = living(desk)
        if running(known):
            return False
        if sum(map(counts, known)) >= trials:
            return True
        past = past_of(known, desk.depth, desk.keep)
        return _queued(desk, known, past, first) is None and _exhausted(desk, known, past)


def _exhausted(desk: Desk, known: Sequence[FrozenTrial], past: Past) -> bool:
    """Say whether all layouts were tried, and none can be tried again on another seed."""
    if len(past.tried) < count(desk.depth, desk.keep):
        return False
    if any(trial.state == TrialState.WAITING for trial in known):
        return False
    return not (desk.sampler.fresh and (past.observed or past.running))


def living(desk: Desk) -> list[FrozenTrial]:
    """Return all trials, those of dead workers closed."""
    known = desk.trials()
    dead = desk.leases.dead(known)
    for trial in dead:
        bury(desk.storage, trial, known, desk.depth)
    return desk.trials() if dead else known


def _queued(
    desk: Desk, known: Sequence[FrozenTrial], past: Past, first: Mapping[str, Layout]
) -> tuple[Run, str] | None:
    """Return what must run before the sampler is asked: interrupted trials, then `first`.

    Read from the study each time rather than kept in a queue, so a kill at any moment loses
    nothing, and finished trials come in the order of an undisturbed search.
    """
    lost = list(filter(given_up, known))
    made = runs_of(known, desk.depth) if lost else set()
    for trial in lost:
        run = run_of_trial(trial, desk.depth)
        if INTERRUPTED in trial.user_attrs and run is not None and run not in made:
            return run, trial.user_attrs.get("origin", SEARCHED)
    for origin, layout in first.items():
        if layout not in past.tried:
            return desk.sampler.run(layout, past), origin
    return None
