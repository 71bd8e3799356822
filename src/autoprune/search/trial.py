"""Trial: how a run and its result are stored in an Optuna trial."""

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
from autoprune.storage.optuna_internals import trial_id_of
from autoprune.storage.retry import RetryStorage
from autoprune.training.metrics import Score


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One training of a layout.

    `seed` sets the initial head and the order of the data; `fidelity`, in (0, 1], is the share of
    the full budget.
    """

    layout: Layout
    seed: int
    fidelity: float = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of a run on the validation split; `loss` is NaN where it is unknown."""

    run: TrialRun
    quality: float
    loss: float = nan


# User attributes of a trial. An interrupted or rejected one does not count.
FAILED = "failed"  # why the layout could not be scored; such a trial counts as finished
INTERRUPTED = "interrupted"  # why the trial was interrupted; its run is repeated
DIED = "died"  # the trial's worker died, or ended by an error outside the trial
STOPPED = "stopped"  # why a trial ended, in words for people; no code reads it
REFUSED = "refused"  # why an enqueued or claimed trial was rejected

SEED, FIDELITY = "seed", "fidelity"
"""Parameters of a trial beside its layers' flags."""

FIXED_PARAMS = "fixed_params"
"""System attribute that `study.enqueue_trial` writes: parameters that the trial will have."""

_LARGEST_SEED = 2**32

_SCORE_FIELDS = ("accuracy", "macro_f1", "split", "seed")  # stored as they are

SEARCH_ORIGIN = "search"
"""Origin of a layout that a sampler proposed; that of an initial layout is its name."""


@cache
def flag_names(depth: int) -> tuple[str, ...]:
    """Return the parameter name of each layer, with enough digits to sort.

    >>> flag_names(12)[-1], flag_names(101)[0]
    ('layer_11', 'layer_000')
    """
    digits = max(2, len(str(depth - 1)))
    return tuple(f"layer_{layer:0{digits}d}" for layer in range(depth))


def distributions(depth: int) -> dict[str, BaseDistribution]:
    """Return the search space: a flag for each layer of the full model, the seed, the fidelity."""
    return {
        **{name: IntDistribution(0, 1) for name in flag_names(depth)},
        SEED: IntDistribution(0, _LARGEST_SEED),
        FIDELITY: FloatDistribution(0.0, 1.0),
    }


def flag_params(layout: Layout) -> dict[str, int]:
    """Return the flags of `layout` by parameter name."""
    return dict(zip(flag_names(layout.depth), layout.flags, strict=True))


def trial_params(run: TrialRun) -> dict[str, int | float]:
    """Return the parameters of the trial for `run`."""
    return {**flag_params(run.layout), SEED: run.seed, FIDELITY: run.fidelity}


def trial_attributes(layout: Layout, origin: str) -> dict[str, str]:
    """Return the user attributes that show which layout a trial has."""
    return {"layout": str(layout), "picture": layout.picture, "origin": origin}


def layout_of_trial(trial: FrozenTrial, depth: int) -> Layout | None:
    """Return the layout of a trial, None if its flags are missing or invalid."""
    try:
        return _layout(depth, tuple(map(_all_params(trial).get, flag_names(depth))))
    except TypeError:  # enqueued with a list as a flag: not hashable
        return None


def run_of_trial(trial: FrozenTrial, depth: int) -> TrialRun | None:
    """Return the run of a trial, None if parameters are missing or invalid."""
    params, layout = _all_params(trial), layout_of_trial(trial, depth)
    if layout is None or SEED not in params or FIDELITY not in params or invalid_request(trial):
        return None
    return TrialRun(layout, int(params[SEED]), float(params[FIDELITY]))


def invalid_request(trial: FrozenTrial) -> str:
    """Return what is wrong with the seed or fidelity of an enqueued trial, empty if nothing is.

    Optuna does not check the values that are enqueued.
    """
    params = _all_params(trial)
    seed, fidelity = params.get(SEED, 0), params.get(FIDELITY, 1.0)
    if not (isinstance(seed, int | float) and 0 <= seed <= _LARGEST_SEED and seed == int(seed)):
        return f"a seed is a whole number from 0 to {_LARGEST_SEED}, not {seed!r}"
    if not (isinstance(fidelity, int | float) and 0 < fidelity <= 1):
        return f"a fidelity is a share of the full budget, above 0 and at most 1, not {fidelity!r}"
    return ""


def _all_params(trial: FrozenTrial) -> dict[str, Any]:
    fixed = trial.system_attrs.get(FIXED_PARAMS)
    return {**fixed, **trial.params} if fixed else trial.params


@lru_cache(maxsize=100_000)  # a study's trials are read again for each claim
def _layout(depth: int, bits: tuple[Any, ...]) -> Layout | None:
    if any(bit not in (0, 1) for bit in bits):
        return None
    try:
        return Layout(depth, tuple(layer for layer, bit in enumerate(bits) if bit))
    except LayoutError:
        return None


def is_finished_trial(trial: FrozenTrial) -> bool:
    """Return whether a trial is finished: complete, pruned, or could not be scored."""
    failed = trial.state == TrialState.FAIL and FAILED in trial.user_attrs
    return failed or trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def is_abandoned(trial: FrozenTrial) -> bool:
    """Return whether a trial ended without a result: interrupted or rejected."""
    return trial.state.is_finished() and not is_finished_trial(trial)


def score_to_attributes(score: Score) -> dict[str, str | int | float]:
    """Return the user attributes that hold a score; its quality is the trial's value.

    What people look for comes first and is short: loss to 1e-6, seconds to 0.01.
    """
    attributes: dict[str, str | int | float] = {
        "validation": f"{100 * score.quality:.1f} %",
        "loss": round(score.loss, 6),
        "seconds": round(score.seconds, 2),
        **{name: getattr(score, name) for name in _SCORE_FIELDS},
    }
    return attributes | ({"note": score.note} if score.note else {})


def score_from_attributes(trial: FrozenTrial) -> Score | None:
    """Return the score of a complete trial, None for any other."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return None
    attrs = trial.user_attrs
    stored = {name: attrs[name] for name in (*_SCORE_FIELDS, "loss", "seconds")}
    return Score(quality=trial.value, note=attrs.get("note", ""), **stored)


def set_trial_attributes(
    storage: BaseStorage, trial_id: int, attributes: Mapping[str, Any]
) -> None:
    """Set user attributes of a trial; raises `UpdateFinishedTrialError`."""
    if isinstance(storage, RetryStorage) and storage.database is not None:
        storage.call(storage.database.set_trial_user_attrs, trial_id, attributes)
        return
    for key, value in attributes.items():
        storage.set_trial_user_attr(trial_id, key, value)


def close_trial(
    storage: BaseStorage,
    trial_id: int,
    attributes: Mapping[str, Any],
    state: TrialState,
    value: float | None = None,
) -> None:
    """Set user attributes of a trial, then its state; nothing if it is closed already."""
    with suppress(UpdateFinishedTrialError):
        if isinstance(storage, RetryStorage) and storage.database is not None:
            storage.call(storage.database.close_trial, trial_id, attributes, state, value)
            return
        set_trial_attributes(storage, trial_id, attributes)
        storage.set_trial_state_values(trial_id, state, None if value is None else [value])


MAX_RETRIES = 2
"""How often a run is repeated after the death of its worker."""


def finish_trial(storage: BaseStorage, trial_id: int, get_score: Callable[[], Score]) -> None:
    """Wait for the score of a trial and close it.

    If another process took this one for dead and closed the trial, the score is dropped: the run
    is repeated there.
    """
    try:
        score = get_score()
    except optuna.TrialPruned:
        with storage_failures():
            trial = storage.get_trial(trial_id)
            step = trial.last_step
            value = None if step is None else trial.intermediate_values[step]
            attributes = {STOPPED: "weak beside other trials at the same step"}
            close_trial(storage, trial_id, attributes, TrialState.PRUNED, value)
    except TrialError as error:
        attributes = {STOPPED: "could not be scored", FAILED: str(error)}
        with storage_failures():
            close_trial(storage, trial_id, attributes, TrialState.FAIL)
    else:
        result = {STOPPED: "at the end of its budget"} | score_to_attributes(score)
        with storage_failures():
            close_trial(storage, trial_id, result, TrialState.COMPLETE, score.quality)


def requeue_trial(storage: BaseStorage, trial_id: int) -> None:
    """Close an interrupted trial of this process; its run is repeated."""
    attributes = {STOPPED: "interrupted", INTERRUPTED: "stopped before its end"}
    close_trial(storage, trial_id, attributes, TrialState.FAIL)


def fail_stale_trial(
    storage: BaseStorage, trial: FrozenTrial, trials: Sequence[FrozenTrial], depth: int
) -> None:
    """Close a stale trial, one whose worker died: it is repeated at most twice, then has failed.

    A run that kills its worker, for lack of memory say, would otherwise kill one after the other.
    """
    run = run_of_trial(trial, depth)
    deaths = 1 + sum(
        DIED in other.user_attrs and is_abandoned(other) and run_of_trial(other, depth) == run
        for other in trials
        if other.number != trial.number
    )
    worker = WorkerId.from_dict(trial.user_attrs.get(HOLDER))
    name = "its worker" if worker is None else worker.description
    attributes: dict[str, Any] = {STOPPED: "its worker died", DIED: True}
    if deaths > MAX_RETRIES:
        attributes[FAILED] = (
            f"its worker died each of the {deaths} times it was run, at last {name}"
        )
    else:
        attributes[INTERRUPTED] = f"{name} died before its end"
    close_trial(storage, trial_id_of(trial), attributes, TrialState.FAIL)
