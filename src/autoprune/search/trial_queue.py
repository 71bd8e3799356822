"""Claims: a run is one process's before it is measured, by one write that all others can see."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.layouts.layout import Layout, count_layouts
from autoprune.search.history import SearchHistory, observations_of, read_history
from autoprune.search.sampler import LayoutSampler
from autoprune.search.trial import (
    INTERRUPTED,
    REFUSED,
    SEARCH_ORIGIN,
    TrialRun,
    distributions,
    fail_stale_trial,
    invalid_request,
    is_abandoned,
    is_finished_trial,
    layout_of_trial,
    run_of_trial,
    tell_result,
    trial_attributes,
    trial_params,
)
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import BEAT, CLAIM, HOLDER, Heartbeat
from autoprune.storage.retry import RetryStorage


@dataclass(frozen=True, slots=True)
class ClaimedTrial:
    """A trial that this process, and no other, measures."""

    trial: int
    run: TrialRun
    origin: str


@dataclass(frozen=True, slots=True)
class TrialQueue:
    """Where this process claims the runs of a study, and for whom."""

    storage: BaseStorage
    study: int
    sampler: LayoutSampler
    keep: int
    leases: Heartbeat

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self.sampler.depth

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number; they are not to be changed."""
        return self.storage.get_all_trials(self.study, deepcopy=False)

    def turn(self) -> AbstractContextManager[None]:
        """Wait until no other process proposes a run of this study, and let none until the end."""
        return (
            self.storage.turn(self.study)
            if isinstance(self.storage, RetryStorage)
            else nullcontext()
        )

    def claim(self, run: TrialRun, origin: str) -> ClaimedTrial | None:
        """Begin a trial that makes `run`; None where another one, begun earlier, makes it.

        Whoever writes first has the lower number, and both can see it: exactly one goes on.
        """
        mark = uuid.uuid4().hex
        given = {**trial_attributes(run.layout, origin), CLAIM: mark, **self._signature()}
        self.storage.create_new_trial(
            self.study,
            create_trial(
                state=TrialState.RUNNING,
                params=trial_params(run),
                distributions=distributions(self.depth),
                user_attrs=given,
            ),
        )
        known = self.trials()
        # A write that came through though its answer was lost may have been made again.
        mine, *again = [trial for trial in known if trial.user_attrs.get(CLAIM) == mark]
        for trial in again:
            reject_trial(self.storage, trial, "the same claim, written twice")
        if why := self._clash(run, known[: mine.number]):
            reject_trial(self.storage, mine, why)
            return None
        self.leases.hold(mine._trial_id)
        return ClaimedTrial(mine._trial_id, run, origin)

    def _clash(self, run: TrialRun, earlier: Sequence[FrozenTrial]) -> str:
        """Say why `run` cannot be made beside trials begun earlier; empty where it can.

        Two workers that knew different things may have given one seed to two layouts. A run that
        is offered again keeps its seed, and so does one that goes on from a pause.
        """
        others = observations_of(earlier, self.depth)
        if run in others:
            return f"layout {run.layout} has been tried with seed {run.seed}"
        offered = any(run_of_trial(one, self.depth) == run for one in earlier if is_abandoned(one))
        taken = {other.seed for other in others if other.layout != run.layout}
        if self.sampler.fresh and not offered and run.seed in taken:
            return f"seed {run.seed} is that of another run"
        return ""

    def take(self, trial: FrozenTrial) -> ClaimedTrial | None:
        """Begin a trial that waits; None where it does not fit or another process takes it."""
        try:
            if not self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        self.leases.hold(trial._trial_id)
        tell_result(self.storage, trial._trial_id, self._signature())
        claim = self._settle(trial)
        if claim is None:
            self.leases.drop(trial._trial_id)
        return claim

    def _settle(self, trial: FrozenTrial) -> ClaimedTrial | None:
        """Give a trial enqueued by people what they left open, or refuse it."""
        layout, run = layout_of_trial(trial, self.depth), run_of_trial(trial, self.depth)
        others = [other for other in self.trials() if other.number != trial.number]
        if layout is None or len(layout.keep) != self.keep:
            keeps = f"a layout of this study keeps {self.keep} of {self.depth} layers"
            reject_trial(self.storage, trial, keeps)
            return None
        if why := invalid_request(trial):
            reject_trial(self.storage, trial, why)
            return None
        if run and run.fidelity not in self.sampler.fidelities:
            known = " or ".join(map(str, self.sampler.fidelities))
            why = f"a run of this study has fidelity {known}, not {run.fidelity}"
            reject_trial(self.storage, trial, why)
            return None
        if run is None:  # its seed is settled now, so nobody could yield to it before
            run = self.sampler.run(layout, read_history(others, self.depth, self.keep))
        else:
            others = [
                other for other in others if other.number < trial.number or is_finished_trial(other)
            ]
        self._write(trial, run)
        if run in observations_of(others, self.depth):
            reject_trial(
                self.storage, trial, f"layout {layout} has been tried with seed {run.seed}"
            )
            return None
        if "layout" not in trial.user_attrs:
            tell_result(self.storage, trial._trial_id, trial_attributes(layout, SEARCH_ORIGIN))
        return ClaimedTrial(trial._trial_id, run, trial.user_attrs.get("origin", SEARCH_ORIGIN))

    def _write(self, trial: FrozenTrial, run: TrialRun) -> None:
        spaces = distributions(self.depth)
        for name, value in trial_params(run).items():
            if name not in trial.params:
                space = spaces[name]
                self.storage.set_trial_param(
                    trial._trial_id, name, space.to_internal_repr(value), space
                )

    def _signature(self) -> dict[str, object]:
        return {HOLDER: self.leases.holder.as_value(), BEAT: 0}


def reject_trial(storage: BaseStorage, trial: FrozenTrial, why: str) -> None:
    """Close a trial that is not to be run."""
    storage.set_trial_user_attr(trial._trial_id, REFUSED, why)
    storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def running_trials(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials are under way."""
    return sum(trial.state == TrialState.RUNNING for trial in trials)


def claim_next_trial(
    desk: TrialQueue, trials: int, first: Mapping[str, Layout]
) -> ClaimedTrial | None:
    """Claim the next run; None when `trials` are finished or under way, or no run is left."""
    with storage_failures():
        while True:
            with desk.turn():
                known = reap_stale_trials(desk)
                if sum(map(is_finished_trial, known)) + running_trials(known) >= trials:
                    return None
                waiting = [trial for trial in known if trial.state == TrialState.WAITING]
                past = read_history(known, desk.depth, desk.keep)
                if waiting:
                    claim = desk.take(waiting[0])
                elif (queued := _queued(desk, known, past, first)) is not None:
                    claim = desk.claim(*queued)
                elif not _exhausted(desk, known, past):
                    claim = desk.claim(desk.sampler.after(past), SEARCH_ORIGIN)
                else:
                    return None
                if claim is not None:
                    return claim


def all_trials_done(desk: TrialQueue, trials: int, first: Mapping[str, Layout]) -> bool:
    """Say whether nothing is under way, and nothing is left to be done."""
    with storage_failures():
        known = reap_stale_trials(desk)
        if running_trials(known):
            return False
        if sum(map(is_finished_trial, known)) >= trials:
            return True
        past = read_history(known, desk.depth, desk.keep)
        return _queued(desk, known, past, first) is None and _exhausted(desk, known, past)


def _exhausted(desk: TrialQueue, known: Sequence[FrozenTrial], past: SearchHistory) -> bool:
    """Say whether all layouts were tried, and none can be tried again on another seed."""
    if len(past.tried) < count_layouts(desk.depth, desk.keep):
        return False
    if any(trial.state == TrialState.WAITING for trial in known):
        return False
    return not (desk.sampler.fresh and (past.observed or past.running))


def reap_stale_trials(desk: TrialQueue) -> list[FrozenTrial]:
    """Return all trials, those of dead workers closed."""
    known = desk.trials()
    dead = desk.leases.dead(known)
    for trial in dead:
        fail_stale_trial(desk.storage, trial, known, desk.depth)
    return desk.trials() if dead else known


def _queued(
    desk: TrialQueue, known: Sequence[FrozenTrial], past: SearchHistory, first: Mapping[str, Layout]
) -> tuple[TrialRun, str] | None:
    """Return what must run before the sampler is asked: interrupted trials, then `first`.

    Read from the study each time rather than kept in a queue, so a kill at any moment loses
    nothing, and finished trials come in the order of an undisturbed search.
    """
    lost = list(filter(is_abandoned, known))
    made = observations_of(known, desk.depth) if lost else set()
    for trial in lost:
        run = run_of_trial(trial, desk.depth)
        if INTERRUPTED in trial.user_attrs and run is not None and run not in made:
            return run, trial.user_attrs.get("origin", SEARCH_ORIGIN)
    for origin, layout in first.items():
        if layout not in past.tried:
            return desk.sampler.run(layout, past), origin
    return None
