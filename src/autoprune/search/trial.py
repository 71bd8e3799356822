"""How a run and what became of it are written into an Optuna trial."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from math import nan
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from autoprune.errors import LayoutError, TrialError
from autoprune.layouts.layout import Layout
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import HOLDER, WorkerId
from autoprune.storage.retry import RetryStorage
from autoprune.training.metrics import Score


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A layout trained from the seed's head, in the seed's order, with a share of the full budget.

    `fidelity` lies in (0, 1]; 1 is the budget that the answer is about.
    """

    layout: Layout
    seed: int
    fidelity: float = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What came of a run on the validation split; `loss` is NaN where it is not known."""

    run: TrialRun
    quality: float
    loss: float = nan


FAILED = "failed"
"""User attribute: why this candidate could not be scored; such a trial counts as finished."""

INTERRUPTED = "interrupted"
"""User attribute: why the trial came to no end; it does not count and is run again."""

DIED = "died"
"""User attribute: the trial's worker died, or ended by an error that is not the trial's."""

STOPPED = "stopped"
"""User attribute: why a trial ended, in words; nothing but people reads it."""

REFUSED = "refused"
"""User attribute: why an enqueued or a claimed trial was not run; it does not count."""

SEED, FIDELITY = "seed", "fidelity"
"""Parameters of a trial beside its layers' flags."""

FIXED_ORIGINS = "fixed_params"
"""System attribute of a trial that Optuna enqueued: its parameters, which it may not have yet."""

_LARGEST_SEED = 2**32

SEARCH_ORIGIN = "search"
"""Origin of a layout that a sampler proposed; others carry the name they were enqueued with."""


@cache
def flag_names(depth: int) -> tuple[str, ...]:
    """Return the parameter name of each layer, with enough digits to sort.

    >>> flag_names(12)[-1], flag_names(101)[0]
    ('layer_11', 'layer_000')
    """
    digits = max(2, len(str(depth - 1)))
    return tuple(f"layer_{layer:0{digits}d}" for layer in range(depth))


def distributions(depth: int) -> dict[str, BaseDistribution]:
    """Return the parameters of a study: a flag for each layer of the full model, seed, fidelity."""
    return {
        **{name: IntDistribution(0, 1) for name in flag_names(depth)},
        SEED: IntDistribution(0, _LARGEST_SEED),
        FIDELITY: FloatDistribution(0.0, 1.0),
    }


def flags(layout: Layout) -> dict[str, int]:
    """Return the flags of `layout` by parameter name."""
    return dict(zip(flag_names(layout.depth), layout.flags, strict=True))


def trial_params(run: TrialRun) -> dict[str, int | float]:
    """Return the parameters of the trial that makes `run`."""
    return {**flags(run.layout), SEED: run.seed, FIDELITY: run.fidelity}


def trial_attributes(layout: Layout, origin: str) -> dict[str, str]:
    """Return the user attributes that say which layout a trial runs."""
    return {"layout": str(layout), "picture": layout.picture, "origin": origin}


def layout_of_trial(trial: FrozenTrial, depth: int) -> Layout | None:
    """Return the layout a trial runs, or is to run; None where its flags name none."""
    return _layout_of(_given(trial), depth)


def run_of_trial(trial: FrozenTrial, depth: int) -> TrialRun | None:
    """Return what a trial runs, or is to run; None where its parameters do not say all of it."""
    given = _given(trial)
    layout = _layout_of(given, depth)
    if layout is None or SEED not in given or FIDELITY not in given or _misgiven(given):
        return None
    return TrialRun(layout, int(given[SEED]), float(given[FIDELITY]))


def invalid_request(trial: FrozenTrial) -> str:
    """Say which seed or fidelity a trial was enqueued with that is none; empty where both are.

    Optuna takes anything from who enqueues.
    """
    return _misgiven(_given(trial))


def _misgiven(given: dict[str, Any]) -> str:
    seed, fidelity = given.get(SEED, 0), given.get(FIDELITY, 1.0)
    if not (isinstance(seed, int | float) and 0 <= seed <= _LARGEST_SEED and seed == int(seed)):
        return f"a seed is a whole number from 0 to {_LARGEST_SEED}, not {seed!r}"
    if not (isinstance(fidelity, int | float) and 0 < fidelity <= 1):
        return f"a fidelity is a share of the full budget, above 0 and at most 1, not {fidelity!r}"
    return ""


def _given(trial: FrozenTrial) -> dict[str, Any]:
    fixed = trial.system_attrs.get(FIXED_ORIGINS)
    return {**fixed, **trial.params} if fixed else trial.params


def _layout_of(given: dict[str, Any], depth: int) -> Layout | None:
    try:
        return _layout(depth, tuple(map(given.get, flag_names(depth))))
    except TypeError:  # enqueued by another hand with a list for a flag: not hashable
        return None


@lru_cache(maxsize=100_000)  # a study's trials are read anew for each claim
def _layout(depth: int, bits: tuple[Any, ...]) -> Layout | None:
    if any(bit not in (0, 1) for bit in bits):
        return None
    try:
        return Layout(depth, tuple(layer for layer, bit in enumerate(bits) if bit))
    except LayoutError:
        return None


def is_finished_trial(trial: FrozenTrial) -> bool:
    """Say whether a trial is finished: complete, pruned, or could not be scored."""
    failed = trial.state == TrialState.FAIL and FAILED in trial.user_attrs
    return failed or trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def is_abandoned(trial: FrozenTrial) -> bool:
    """Say whether a trial ended without finishing: interrupted or refused."""
    return trial.state.is_finished() and not is_finished_trial(trial)


def score_to_attributes(score: Score) -> dict[str, str | int | float]:
    """Return the user attributes that hold a score, all but its quality: the trial's value.

    What people look for comes first and is short: loss to 1e-6, seconds to 0.01.
    """
    told: dict[str, str | int | float] = {
        "validation": f"{100 * score.quality:.1f} %",
        "loss": round(score.loss, 6),
        "seconds": round(score.seconds, 2),
        **{name: getattr(score, name) for name in ("accuracy", "macro_f1", "split", "seed")},
    }
    return told | ({"note": score.note} if score.note else {})


def score_from_attributes(trial: FrozenTrial) -> Score | None:
    """Return the score of a complete trial, None of any other."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return None
    attrs = trial.user_attrs
    return Score(
        quality=trial.value,
        accuracy=attrs["accuracy"],
        macro_f1=attrs["macro_f1"],
        loss=attrs["loss"],
        split=attrs["split"],
        seed=attrs["seed"],
        seconds=attrs["seconds"],
        note=attrs.get("note", ""),
    )


def tell_result(storage: BaseStorage, trial: int, told: Mapping[str, Any]) -> None:
    """Set user attributes of a trial; raises `UpdateFinishedTrialError`."""
    if isinstance(storage, RetryStorage) and storage.database is not None:
        storage.call(storage.database.set_trial_user_attrs, trial, told)
        return
    for key, value in told.items():
        storage.set_trial_user_attr(trial, key, value)


def tell_end(
    storage: BaseStorage,
    trial: int,
    told: Mapping[str, Any],
    state: TrialState,
    value: float | None = None,
) -> None:
    """Set user attributes of a trial, its state last; nothing where somebody else has ended it."""
    with suppress(UpdateFinishedTrialError):
        if isinstance(storage, RetryStorage) and storage.database is not None:
            storage.call(storage.database.end, trial, told, state, value)
            return
        tell_result(storage, trial, told)
        storage.set_trial_state_values(trial, state, None if value is None else [value])


MAX_RETRIES = 2
"""How often a run is offered again after the death of its worker."""


def finish_trial(storage: BaseStorage, trial: int, wait: Callable[[], Score]) -> None:
    """Wait for a measurement and close its trial.

    Where others thought this process dead and closed it, the score is left out: they make the run
    again.
    """
    try:
        score = wait()
    except optuna.TrialPruned:
        with storage_failures():
            whole = storage.get_trial(trial)
            last = None if whole.last_step is None else whole.intermediate_values[whole.last_step]
            told = {STOPPED: "weak beside other trials at the same step"}
            tell_end(storage, trial, told, TrialState.PRUNED, last)
    except TrialError as error:
        told = {STOPPED: "could not be scored", FAILED: str(error)}
        with storage_failures():
            tell_end(storage, trial, told, TrialState.FAIL)
    else:
        told = {STOPPED: "at the end of its budget"}
        with storage_failures():
            tell_end(
                storage,
                trial,
                told | score_to_attributes(score),
                TrialState.COMPLETE,
                score.quality,
            )


def requeue_trial(storage: BaseStorage, trial: int) -> None:
    """Close a trial of this process that was stopped; it is run again."""
    told = {STOPPED: "interrupted", INTERRUPTED: "stopped before its end"}
    tell_end(storage, trial, told, TrialState.FAIL)


def fail_stale_trial(
    storage: BaseStorage, trial: FrozenTrial, known: Sequence[FrozenTrial], depth: int
) -> None:
    """Close a trial whose worker died: it is offered again, at most twice, else it has failed.

    A run that kills its worker, for lack of memory say, would else kill one after the other.
    """
    run = run_of_trial(trial, depth)
    deaths = 1 + sum(
        DIED in other.user_attrs and is_abandoned(other) and run_of_trial(other, depth) == run
        for other in known
        if other.number != trial.number
    )
    holder = WorkerId.read(trial.user_attrs.get(HOLDER))
    who = "its worker" if holder is None else holder.named
    told: dict[str, Any] = {STOPPED: "its worker died", DIED: True}
    if deaths > MAX_RETRIES:
        told[FAILED] = f"its worker died each of the {deaths} times it was run, at last {who}"
    else:
        told[INTERRUPTED] = f"{who} died before its end"
    tell_end(storage, trial._trial_id, told, TrialState.FAIL)
