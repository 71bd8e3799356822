"""Optimize loop: claim trials, start them, close them, until the study has enough."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import optuna
from optuna.exceptions import OptunaError
from optuna.pruners import NopPruner
from optuna.study import Study

from autoprune.errors import StorageError
from autoprune.processes import stop_requested
from autoprune.search.pruners import reaches_end
from autoprune.search.result import TrialResult, trial_results
from autoprune.search.trial import (
    SEARCH_ORIGIN,
    IntermediateValues,
    TrialRun,
    fail_stale_trial,
    finish_trial,
    is_finished_trial,
    requeue_trial,
)
from autoprune.search.trial_queue import ClaimedTrial, TrialQueue, count_running
from autoprune.storage.errors import storage_failures
from autoprune.training.metrics import Score

ReportValue = Callable[[float, int], None]
"""Takes validation quality in [0, 1] and optimizer step; may raise `optuna.TrialPruned`."""

StartTrial = Callable[[TrialRun, ReportValue], Callable[[], Score]]
"""Starts a run, perhaps in another process, and returns a function that waits for its score."""

TrialCallback = Callable[[TrialResult], None]

_POLL_INTERVAL = 0.5  # seconds between two looks at the running trials of other processes


def optimize(
    study: Study,
    queue: TrialQueue,
    start_trial: StartTrial,
    notifier: "TrialNotifier",
    max_new_trials: int | None = None,
) -> bool:
    """Run trials until the study has enough; return whether this was interrupted.

    With `max_new_trials`, at most so many are run here. Without it, this also waits for the running
    trials of other processes, since they may die. When interrupted (Ctrl-C or a stop request),
    the own running trials are closed, to be run again.
    """
    started: set[int] = set()
    with queue.heartbeat.running():
        try:
            _run_batches(study, queue, start_trial, notifier, max_new_trials, started)
        except KeyboardInterrupt:
            with storage_failures():
                for trial_id in queue.heartbeat.held:
                    requeue_trial(queue.storage, trial_id)
            return True
        except StorageError:
            raise
        except BaseException:  # an error of the process, not of the trial: out of memory, say
            with suppress(StorageError, OptunaError, OSError):
                _close_after_error(queue, started)
            raise
    return False


def _run_batches(
    study: Study,
    queue: TrialQueue,
    start_trial: StartTrial,
    notifier: "TrialNotifier",
    remaining: int | None,
    started: set[int],
) -> None:
    """Run batches of trials; adds the id of each trial to `started` before it starts."""
    deadline = Deadline(queue.settings.timeout)
    while remaining is None or remaining > 0:
        batch: list[ClaimedTrial] | None = []
        if not deadline.is_reached():
            batch = _claim_batch(queue, remaining)
        elif remaining is not None or not _others_running(queue):
            return
        if batch is None:
            return
        if remaining is not None:
            remaining -= len(batch)
        pending = []
        for claim in batch:
            started.add(claim.trial_id)
            values = IntermediateValues(live=_may_prune(study, claim))
            report = _value_reporter(study, queue, claim, values)
            pending.append((claim, start_trial(claim.run, report), values))
        for claim, get_score, values in pending:
            finish_trial(queue.storage, claim.trial_id, get_score, values, queue.settings.metric)
            queue.heartbeat.release(claim.trial_id)
            notifier.notify(queue)
        if not batch:
            time.sleep(_POLL_INTERVAL)
            notifier.notify(queue)
        if stop_requested():
            raise KeyboardInterrupt


def _claim_batch(queue: TrialQueue, remaining: int | None) -> list[ClaimedTrial] | None:
    """Claim the trials that run together.

    Returns None when the study is done, an empty list while only other processes have running
    trials. A batch that a kill cut short is completed first, so that the next one is proposed from
    as many results as without the kill.
    """
    parallel = queue.settings.parallel_trials
    if remaining is not None:
        parallel = min(parallel, remaining)
    size = 1
    if parallel > 1:
        with storage_failures():
            done = sum(map(is_finished_trial, queue.reap_stale_trials()))
        size = min(parallel - done % parallel, queue.settings.trials - done)
    batch: list[ClaimedTrial] = []
    for _ in range(size):
        claim = queue.claim_next()
        if claim is None:
            break
        batch.append(claim)
    return None if not batch and queue.is_done() else batch


def _others_running(queue: TrialQueue) -> bool:
    """Return whether trials are running; called when this process has none."""
    with storage_failures():
        return count_running(queue.reap_stale_trials()) > 0


def _close_after_error(queue: TrialQueue, started: set[int]) -> None:
    """Close the trials of this process: those that were started may be the cause of the error."""
    for trial_id in queue.heartbeat.held:
        if trial_id in started:
            trial = queue.storage.get_trial(trial_id)
            fail_stale_trial(queue.storage, trial, queue.trials(), queue.depth)
        else:
            requeue_trial(queue.storage, trial_id)


def _may_prune(study: Study, claim: ClaimedTrial) -> bool:
    return claim.origin == SEARCH_ORIGIN and not isinstance(study.pruner, NopPruner)


def _value_reporter(
    study: Study, queue: TrialQueue, claim: ClaimedTrial, values: IntermediateValues
) -> ReportValue:
    """Return what takes the intermediate values of a trial, and prunes it."""

    def report(quality: float, step: int) -> None:
        with storage_failures():
            values.report(queue.storage, claim.trial_id, quality, step)
            should_prune = (
                values.live
                and not reaches_end(study, step)
                and study.pruner.prune(study, queue.storage.get_trial(claim.trial_id))
            )
        if should_prune:
            raise optuna.TrialPruned

    return report


class Deadline:
    """A time limit in seconds from now; None: no limit."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._start = time.monotonic()
        self._previous: float | None = None
        self._slowest = 0.0

    def is_reached(self) -> bool:
        """Return whether the next batch would end too late if it took as long as the slowest.

        To be called before each batch. The first one is always run: there must be something to
        choose from.
        """
        previous, self._previous = self._previous, time.monotonic()
        if self._seconds is None or previous is None:
            return False
        self._slowest = max(self._slowest, self._previous - previous)
        return self._previous + self._slowest - self._start > self._seconds


class TrialNotifier:
    """Passes each newly finished trial to `callback` once, whichever process ran it."""

    def __init__(self, known: Sequence[TrialResult], callback: TrialCallback | None) -> None:
        self._callback = callback
        self._known = {result.run for result in known}

    def notify(self, queue: TrialQueue) -> None:
        """Pass on the trials that finished since the last call."""
        if self._callback is None:
            return
        with storage_failures():
            results = trial_results(queue.trials(), queue.depth)
        for result in results:
            if result.run not in self._known:
                self._known.add(result.run)
                self._callback(result)
