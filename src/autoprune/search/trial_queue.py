"""Claims: a run is one process's before it is measured, by one write that all others can see."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.layouts.layout import Layout, count
from autoprune.search.history import Past, past_of, runs_of
from autoprune.search.sampler import LayoutSampler
from autoprune.search.trial import (
    INTERRUPTED,
    REFUSED,
    SEARCHED,
    Run,
    attributes,
    bury,
    counts,
    distributions,
    given_up,
    layout_of_trial,
    misgiven,
    params,
    run_of_trial,
    tell,
)
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import BEAT, CLAIM, HOLDER, Leases
from autoprune.storage.retry import Patient


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this process, and no other, measures."""

    trial: int
    run: Run
    origin: str


@dataclass(frozen=True, slots=True)
class Desk:
    """Where this process claims the runs of a study, and for whom."""

    storage: BaseStorage
    study: int
    sampler: LayoutSampler
    keep: int
    leases: Leases

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self.sampler.depth

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number; they are not to be changed."""
        return self.storage.get_all_trials(self.study, deepcopy=False)

    def turn(self) -> AbstractContextManager[None]:
        """Wait until no other process proposes a run of this study, and let none until the end."""
        return self.storage.turn(self.study) if isinstance(self.storage, Patient) else nullcontext()

    def claim(self, run: Run, origin: str) -> Claim | None:
        """Begin a trial that makes `run`; None where another one, begun earlier, makes it.

        Whoever writes first has the lower number, and both can see it: exactly one goes on.
        """
        mark = uuid.uuid4().hex
        given = {**attributes(run.layout, origin), CLAIM: mark, **self._signature()}
        self.storage.create_new_trial(
            self.study,
            create_trial(
                state=TrialState.RUNNING,
                params=params(run),
                distributions=distributions(self.depth),
                user_attrs=given,
            ),
        )
        known = self.trials()
        # A write that came through though its answer was lost may have been made again.
        mine, *again = [trial for trial in known if trial.user_attrs.get(CLAIM) == mark]
        for trial in again:
            refuse(self.storage, trial, "the same claim, written twice")
        if why := self._clash(run, known[: mine.number]):
            refuse(self.storage, mine, why)
            return None
        self.leases.hold(mine._trial_id)
        return Claim(mine._trial_id, run, origin)

    def _clash(self, run: Run, earlier: Sequence[FrozenTrial]) -> str:
        """Say why `run` cannot be made beside trials begun earlier; empty where it can.

        Two workers that knew different things may have given one seed to two layouts. A run that
        is offered again keeps its seed, and so does one that goes on from a pause.
        """
        others = runs_of(earlier, self.depth)
        if run in others:
            return f"layout {run.layout} has been tried with seed {run.seed}"
        offered = any(run_of_trial(one, self.depth) == run for one in earlier if given_up(one))
        taken = {other.seed for other in others if other.layout != run.layout}
        if self.sampler.fresh and not offered and run.seed in taken:
            return f"seed {run.seed} is that of another run"
        return ""

    def take(self, trial: FrozenTrial) -> Claim | None:
        """Begin a trial that waits; None where it does not fit or another process takes it."""
        try:
            if not self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            return None
        self.leases.hold(trial._trial_id)
        tell(self.storage, trial._trial_id, self._signature())
        claim = self._settle(trial)
        if claim is None:
            self.leases.drop(trial._trial_id)
        return claim

    def _settle(self, trial: FrozenTrial) -> Claim | None:
        """Give a trial enqueued by people what they left open, or refuse it."""
        layout, run = layout_of_trial(trial, self.depth), run_of_trial(trial, self.depth)
        others = [other for other in self.trials() if other.number != trial.number]
        if layout is None or len(layout.keep) != self.keep:
            keeps = f"a layout of this study keeps {self.keep} of {self.depth} layers"
            refuse(self.storage, trial, keeps)
            return None
        if why := misgiven(trial):
            refuse(self.storage, trial, why)
            return None
        if run and run.fidelity not in self.sampler.fidelities:
            known = " or ".join(map(str, self.sampler.fidelities))
            why = f"a run of this study has fidelity {known}, not {run.fidelity}"
            refuse(self.storage, trial, why)
            return None
        if run is None:  # its seed is settled now, so nobody could yield to it before
            run = self.sampler.run(layout, past_of(others, self.depth, self.keep))
        else:
            others = [other for other in others if other.number < trial.number or counts(other)]
        self._write(trial, run)
        if run in runs_of(others, self.depth):
            refuse(self.storage, trial, f"layout {layout} has been tried with seed {run.seed}")
            return None
        if "layout" not in trial.user_attrs:
            tell(self.storage, trial._trial_id, attributes(layout, SEARCHED))
        return Claim(trial._trial_id, run, trial.user_attrs.get("origin", SEARCHED))

    def _write(self, trial: FrozenTrial, run: Run) -> None:
        spaces = distributions(self.depth)
        for name, value in params(run).items():
            if name not in trial.params:
                space = spaces[name]
                self.storage.set_trial_param(
                    trial._trial_id, name, space.to_internal_repr(value), space
                )

    def _signature(self) -> dict[str, object]:
        return {HOLDER: self.leases.holder.as_value(), BEAT: 0}


def refuse(storage: BaseStorage, trial: FrozenTrial, why: str) -> None:
    """Close a trial that is not to be run."""
    storage.set_trial_user_attr(trial._trial_id, REFUSED, why)
    storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def running(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials are under way."""
    return sum(trial.state == TrialState.RUNNING for trial in trials)


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
