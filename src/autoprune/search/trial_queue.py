"""Trial queue: claims the next trial of a study, so that no two processes run the same one."""

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.search.history import SearchHistory, claimed_runs, read_history
from autoprune.search.sampler import LayoutSampler
from autoprune.search.settings import SearchSettings
from autoprune.search.trial import (
    INTERRUPTED,
    REFUSED,
    SEARCH_ORIGIN,
    TrialRun,
    distributions,
    fail_stale_trial,
    flag_params,
    invalid_request,
    is_abandoned,
    is_finished_trial,
    layout_of_trial,
    requested_run,
    run_of_trial,
    set_trial_attributes,
    trial_attributes,
)
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import CLAIM, HOLDER, Heartbeat
from autoprune.storage.optuna_internals import trial_id_of
from autoprune.storage.retry import RetryStorage


@dataclass(frozen=True, slots=True)
class ClaimedTrial:
    """A running trial that belongs to this process."""

    trial_id: int
    run: TrialRun
    origin: str


@dataclass(frozen=True, slots=True)
class TrialQueue:
    """The trials of a study, as seen by one process that claims and runs some of them.

    Nothing is queued in memory: what comes next is read from the study each time. So a kill at any
    moment loses nothing.
    """

    storage: BaseStorage
    study_id: int
    sampler: LayoutSampler
    heartbeat: Heartbeat

    @property
    def settings(self) -> SearchSettings:
        """The settings of the search."""
        return self.sampler.settings

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self.settings.depth

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number; they must not be changed."""
        return self.storage.get_all_trials(self.study_id, deepcopy=False)

    def proposal_lock(self) -> AbstractContextManager[None]:
        """Return the lock under which one process at a time proposes a trial of this study."""
        if isinstance(self.storage, RetryStorage):
            return self.storage.proposal_lock(self.study_id)
        return nullcontext()

    def claim_next(self) -> ClaimedTrial | None:
        """Claim the next trial; None if enough are finished or running, or no layout is left.

        Waiting trials come first, then interrupted ones, then the initial layouts, then what the
        sampler proposes.
        """
        with storage_failures():
            while True:
                with self.proposal_lock():
                    trials = self.reap_stale_trials()
                    if _count_finished(trials) + count_running(trials) >= self.settings.trials:
                        return None
                    history = self._history(trials)
                    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
                    if waiting:
                        claim = self.claim_waiting(waiting[0])
                    elif (queued := self._next_queued(trials, history)) is not None:
                        claim = self.claim(*queued)
                    elif not self._is_exhausted(trials, history):
                        claim = self.claim(self.sampler.propose_run(history), SEARCH_ORIGIN)
                    else:
                        return None
                    if claim is not None:
                        return claim

    def is_done(self) -> bool:
        """Return whether no trial is running and none is left to run."""
        with storage_failures():
            trials = self.reap_stale_trials()
            if count_running(trials):
                return False
            if _count_finished(trials) >= self.settings.trials:
                return True
            history = self._history(trials)
            queued = self._next_queued(trials, history)
            return queued is None and self._is_exhausted(trials, history)

    def reap_stale_trials(self) -> list[FrozenTrial]:
        """Close the trials whose worker died; return all trials."""
        trials = self.trials()
        stale = self.heartbeat.stale_trials(trials)
        for trial in stale:
            fail_stale_trial(self.storage, trial, trials, self.depth)
        return self.trials() if stale else trials

    def claim(self, run: TrialRun, origin: str) -> ClaimedTrial | None:
        """Create a running trial for `run`; None where an earlier trial is the same run.

        The process that writes first gets the lower number, and all can see it: exactly one of
        them keeps the run.
        """
        claim_id = uuid.uuid4().hex
        self.storage.create_new_trial(
            self.study_id,
            create_trial(
                state=TrialState.RUNNING,
                params=flag_params(run.layout),
                distributions=distributions(self.depth),
                user_attrs=trial_attributes(run, origin),
                system_attrs={CLAIM: claim_id, HOLDER: self.heartbeat.worker.to_dict()},
            ),
        )
        trials = self.trials()
        # A write may succeed although its answer is lost, and is then repeated.
        created, *duplicates = [
            trial for trial in trials if trial.system_attrs.get(CLAIM) == claim_id
        ]
        for duplicate in duplicates:
            reject_trial(self.storage, duplicate, "the same claim, written twice")
        if reason := self._conflict(run, trials[: created.number]):
            reject_trial(self.storage, created, reason)
            return None
        trial_id = trial_id_of(created)
        self.heartbeat.hold(trial_id)
        return ClaimedTrial(trial_id, run, origin)

    def _conflict(self, run: TrialRun, earlier: Sequence[FrozenTrial]) -> str:
        """Return why `run` cannot run beside earlier trials, empty if it can.

        Two workers that knew different trials may have given one seed to two layouts. A run that is
        repeated after an interruption keeps its seed, and so does one that continues after a pause.
        """
        others = claimed_runs(earlier, self.depth)
        if run in others:
            return _already_tried(run)
        is_repeated = any(
            run_of_trial(trial, self.depth) == run for trial in earlier if is_abandoned(trial)
        )
        used_seeds = {other.seed for other in others if other.layout != run.layout}
        if self.sampler.new_seeds and not is_repeated and run.seed in used_seeds:
            return f"seed {run.seed} is that of another run"
        return ""

    def claim_waiting(self, trial: FrozenTrial) -> ClaimedTrial | None:
        """Claim a waiting trial; None if it does not fit the study or another process claims it."""
        trial_id = trial_id_of(trial)
        try:
            if not self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        self.heartbeat.hold(trial_id)
        self.storage.set_trial_system_attr(trial_id, HOLDER, self.heartbeat.worker.to_dict())
        run = self._complete_request(trial)
        if isinstance(run, str):
            reject_trial(self.storage, trial, run)
            self.heartbeat.release(trial_id)
            return None
        return ClaimedTrial(trial_id, run, _origin_of(trial))

    def _complete_request(self, trial: FrozenTrial) -> TrialRun | str:
        """Give an enqueued trial what it lacks to be a run; return why if it does not fit."""
        others = [other for other in self.trials() if other.number != trial.number]
        layout = layout_of_trial(trial, self.depth)
        if layout is None or len(layout.keep) != self.settings.keep:
            return f"a layout of this study keeps {self.settings.keep} of {self.depth} layers"
        if reason := invalid_request(trial):
            return reason
        known = run_of_trial(trial, self.depth)
        run = known or requested_run(trial, self.sampler.make_run(layout, self._history(others)))
        if run.fidelity not in self.sampler.fidelities:
            allowed = " or ".join(map(str, self.sampler.fidelities))
            return f"a run of this study has fidelity {allowed}, not {run.fidelity}"
        if known:  # a later trial that waits for the same run is the one to be rejected
            others = [
                other for other in others if other.number < trial.number or is_finished_trial(other)
            ]
        trial_id, space = trial_id_of(trial), distributions(self.depth)
        set_trial_attributes(self.storage, trial_id, trial_attributes(run, _origin_of(trial)))
        for name, value in flag_params(run.layout).items():
            if name not in trial.params:
                internal = space[name].to_internal_repr(value)
                self.storage.set_trial_param(trial_id, name, internal, space[name])
        return _already_tried(run) if run in claimed_runs(others, self.depth) else run

    def _history(self, trials: Sequence[FrozenTrial]) -> SearchHistory:
        return read_history(trials, self.depth, self.settings.keep, self.settings.required)

    def _next_queued(
        self, trials: Sequence[FrozenTrial], history: SearchHistory
    ) -> tuple[TrialRun, str] | None:
        """Return run and origin of what comes before the sampler's proposals, None if nothing.

        Finished trials come in the same order as in a search that was never interrupted.
        """
        abandoned = list(filter(is_abandoned, trials))
        claimed = claimed_runs(trials, self.depth) if abandoned else set()
        for trial in abandoned:
            run = run_of_trial(trial, self.depth)
            if INTERRUPTED in trial.user_attrs and run is not None and run not in claimed:
                return run, _origin_of(trial)
        for origin, layout in self.settings.initial_layouts.items():
            if layout not in history.tried_layouts:
                return self.sampler.make_run(layout, history), origin
        return None

    def _is_exhausted(self, trials: Sequence[FrozenTrial], history: SearchHistory) -> bool:
        """Return whether all layouts were tried, and none can be tried again with a new seed."""
        if len(history.tried_layouts) < history.layouts:
            return False
        if any(trial.state == TrialState.WAITING for trial in trials):
            return False
        return not (self.sampler.new_seeds and (history.observations or history.running))


def reject_trial(storage: BaseStorage, trial: FrozenTrial, reason: str) -> None:
    """Close a trial that is not to be run."""
    storage.set_trial_user_attr(trial_id_of(trial), REFUSED, reason)
    storage.set_trial_state_values(trial_id_of(trial), TrialState.FAIL)


def count_running(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials are running."""
    return sum(trial.state == TrialState.RUNNING for trial in trials)


def _count_finished(trials: Sequence[FrozenTrial]) -> int:
    return sum(map(is_finished_trial, trials))


def _already_tried(run: TrialRun) -> str:
    return f"layout {run.layout} has been tried with seed {run.seed}"


def _origin_of(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("origin", SEARCH_ORIGIN))
