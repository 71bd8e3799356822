"""The course of a study in one process: claim runs, measure and close them, until all are done."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import optuna
from optuna.exceptions import OptunaError
from optuna.pruners import NopPruner
from optuna.study import Study

from autoprune.errors import StorageError
from autoprune.interrupts import stop_requested
from autoprune.layouts.layout import Layout
from autoprune.search.pruners import reaches_end
from autoprune.search.result import TrialResult, trial_results
from autoprune.search.trial import (
    SEARCH_ORIGIN,
    TrialRun,
    fail_stale_trial,
    finish_trial,
    is_finished_trial,
    requeue_trial,
)
from autoprune.search.trial_queue import (
    ClaimedTrial,
    TrialQueue,
    all_trials_done,
    claim_next_trial,
    reap_stale_trials,
    running_trials,
)
from autoprune.storage.errors import storage_failures
from autoprune.training.metrics import Score


class Deadline:
    """Counts from its making; `seconds` None: there is always time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._slowest = 0.0
        self._begun = time.monotonic()
        self._last: float | None = None

    def over(self) -> bool:
        """Tell, before each round, whether it would end too late if it were as the slowest so far.

        The first round is always made: without it there is nothing to choose from.
        """
        last, self._last = self._last, time.monotonic()
        if self._seconds is None or last is None:
            return False
        self._slowest = max(self._slowest, self._last - last)
        return self._last + self._slowest - self._begun > self._seconds


ShouldStop = Callable[[float, int], None]
"""Takes validation quality in [0, 1] and optimizer step; may raise `optuna.TrialPruned`."""

StartRun = Callable[[TrialRun, ShouldStop], Callable[[], Score]]
"""Begins a measurement elsewhere; what it returns waits for the end as `Measure` would."""

_PAUSE = 0.5  # seconds between two looks at what others have under way


class ProgressReporter:
    """Hands each finding on once, whoever measured it."""

    def __init__(
        self, known: Sequence[TrialResult], watch: Callable[[TrialResult], None] | None
    ) -> None:
        self._watch = watch
        self._known = {(one.layout, one.seed, one.fidelity) for one in known}

    def look(self, desk: TrialQueue) -> None:
        """Hand on what was finished since the last look."""
        if self._watch is None:
            return
        with storage_failures():
            findings = trial_results(desk.trials(), desk.depth)
        for one in findings:
            run = (one.layout, one.seed, one.fidelity)
            if run not in self._known:
                self._known.add(run)
                self._watch(one)


def optimize(
    study: Study,
    desk: TrialQueue,
    begin: StartRun,
    told: ProgressReporter,
    *,
    trials: int,
    first: Mapping[str, Layout],
    timer: Deadline,
    side_by_side: int,
    most: int | None,
) -> bool:
    """Make trials until `trials` are finished in all, or `most` here; tell if it was interrupted.

    What others have under way is waited for, unless `most` is made here: it may come to nothing.
    Where this process is asked to leave, its own trials are closed as interrupted.
    """
    begun: set[int] = set()
    with desk.leases.kept():
        try:
            left = most
            while left is None or left > 0:
                group: list[ClaimedTrial] | None = []
                if not timer.over():
                    places = side_by_side if left is None else min(side_by_side, left)
                    group = _group(desk, trials, first, places)
                elif left is not None or not _others(desk):
                    break
                if group is None:
                    break
                left = None if left is None else left - len(group)
                waits = []
                for claim in group:
                    begun.add(claim.trial)
                    waits.append(begin(claim.run, _checks(study, desk, claim)))
                for claim, wait in zip(group, waits, strict=True):
                    finish_trial(desk.storage, claim.trial, wait)
                    desk.leases.drop(claim.trial)
                    told.look(desk)
                if not group:
                    time.sleep(_PAUSE)
                    told.look(desk)
                if stop_requested():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            with storage_failures():
                for trial in desk.leases.held:
                    requeue_trial(desk.storage, trial)
            return True
        except StorageError:
            raise
        except BaseException:  # not the trial's affair: out of memory, say
            with suppress(StorageError, OptunaError, OSError):
                for trial in desk.leases.held:
                    if trial in begun:
                        fail_stale_trial(
                            desk.storage, desk.storage.get_trial(trial), desk.trials(), desk.depth
                        )
                    else:
                        requeue_trial(desk.storage, trial)
            raise
    return False


def _others(desk: TrialQueue) -> bool:
    """Tell whether other processes have trials under way; this one has none."""
    with storage_failures():
        return running_trials(reap_stale_trials(desk)) > 0


def _group(
    desk: TrialQueue, trials: int, first: Mapping[str, Layout], side_by_side: int
) -> list[ClaimedTrial] | None:
    """Claim the runs that are made together.

    None when the study is done, an empty list while only others' runs are under way. A group that
    a kill cut short is first made whole, so that the next one is proposed from as many results as
    it would have been undisturbed.
    """
    places = 1
    if side_by_side > 1:
        with storage_failures():
            done = sum(map(is_finished_trial, reap_stale_trials(desk)))
        places = min(side_by_side - done % side_by_side, trials - done)
    group: list[ClaimedTrial] = []
    for _ in range(places):
        claim = claim_next_trial(desk, trials, first)
        if claim is None:
            break
        group.append(claim)
    return None if not group and all_trials_done(desk, trials, first) else group


def _checks(study: Study, desk: TrialQueue, claim: ClaimedTrial) -> ShouldStop:
    """Return what reports a trial's checks and stops a weak one."""
    may_stop = claim.origin == SEARCH_ORIGIN and not isinstance(study.pruner, NopPruner)

    def check(quality: float, step: int) -> None:
        storage = desk.storage
        with storage_failures():
            storage.set_trial_intermediate_value(claim.trial, step, quality)
            stop = (
                may_stop
                and not reaches_end(study, step)
                and study.pruner.prune(study, storage.get_trial(claim.trial))
            )
        if stop:
            raise optuna.TrialPruned

    return check
