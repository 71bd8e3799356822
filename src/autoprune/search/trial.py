"""Trial: how a run and its result are stored in an Optuna trial."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import nan
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from autoprune.errors import LayoutError, TrialError
from autoprune.layouts.layout import Layout
from autoprune.storage.errors import storage_failures
from autoprune.storage.heartbeat import worker_of_trial
from autoprune.storage.optuna_internals import trial_id_of
from autoprune.storage.retry import RetryStorage
from autoprune.training.metrics import METRICS, Score


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
"""User attributes of a trial; parameters where a person enqueued them, and in older studies."""

FIXED_PARAMS = "fixed_params"
"""System attribute that `study.enqueue_trial` writes: parameters that the trial will have."""

_LARGEST_SEED = 2**32

_SCORE_FIELDS = ("accuracy", "macro_f1", "split")  # stored as they are

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
    """Return the search space: a flag for each layer of the full model."""
    return {name: IntDistribution(0, 1) for name in flag_names(depth)}


def flag_params(layout: Layout) -> dict[str, int]:
    """Return the flags of `layout` by name, which are the parameters of its trials."""
    return dict(zip(flag_names(layout.depth), layout.flags, strict=True))


def seed_attributes(run: TrialRun) -> dict[str, int | float]:
    """Return the user attributes that make a layout's flags a run."""
    return {SEED: run.seed, FIDELITY: run.fidelity}


def trial_attributes(run: TrialRun, origin: str) -> dict[str, str | int | float]:
    """Return the user attributes that a trial has from its start."""
    layout = run.layout
    shown = {"layout": str(layout), "picture": layout.picture, "origin": origin}
    return {**shown, **seed_attributes(run)}


def layout_of_trial(trial: FrozenTrial, depth: int) -> Layout | None:
    """Return the layout of a trial, None if its flags are missing or invalid."""
    try:
        return _layout(depth, tuple(map(_all_params(trial).get, flag_names(depth))))
    except TypeError:  # enqueued with a list as a flag: not hashable
        return None


def requested_run(trial: FrozenTrial, default: TrialRun) -> TrialRun:
    """Return the run of an enqueued trial; what it does not name of seed and fidelity is default.

    Both must be valid, see `invalid_request`.
    """
    values = {**seed_attributes(default), **_seed_and_fidelity(trial)}
    return TrialRun(default.layout, int(values[SEED]), float(values[FIDELITY]))


def run_of_trial(trial: FrozenTrial, depth: int) -> TrialRun | None:
    """Return the run of a trial, None if flags, seed or fidelity are missing or invalid."""
    layout, values = layout_of_trial(trial, depth), _seed_and_fidelity(trial)
    if layout is None or len(values) < 2 or invalid_request(trial):
        return None
    return TrialRun(layout, int(values[SEED]), float(values[FIDELITY]))


def invalid_request(trial: FrozenTrial) -> str:
    """Return what is wrong with the seed or fidelity of an enqueued trial, empty if nothing is.

    Optuna does not check the values that are enqueued.
    """
    values = _seed_and_fidelity(trial)
    seed, fidelity = values.get(SEED, 0), values.get(FIDELITY, 1.0)
    if not (isinstance(seed, int | float) and 0 <= seed <= _LARGEST_SEED and seed == int(seed)):
        return f"a seed is a whole number from 0 to {_LARGEST_SEED}, not {seed!r}"
    if not (isinstance(fidelity, int | float) and 0 < fidelity <= 1):
        return f"a fidelity is a share of the full budget, above 0 and at most 1, not {fidelity!r}"
    return ""


def _seed_and_fidelity(trial: FrozenTrial) -> dict[str, Any]:
    """Return what is known of both: as parameters in older studies, as attributes, as requested."""
    sources = (trial.system_attrs.get(FIXED_PARAMS) or {}, trial.user_attrs, trial.params)
    names = (SEED, FIDELITY)
    return {name: source[name] for source in sources for name in names if name in source}


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


def score_to_attributes(score: Score, metric: str) -> dict[str, str | int | float]:
    """Return the user attributes that hold a score; its quality is the trial's value.

    What people look for comes first and is short: loss to 1e-6, seconds to 0.01.
    """
    attributes: dict[str, str | int | float] = {
        "validation": METRICS[metric].format(score.quality),
        "loss": round(score.loss, 6),
        "seconds": round(score.seconds, 2),
        **{name: getattr(score, name) for name in _SCORE_FIELDS},
    }
    return attributes | ({"note": score.note} if score.note else {})


def score_from_attributes(trial: FrozenTrial, seed: int) -> Score | None:
    """Return the score of a complete trial with this seed, None for any other."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return None
    attrs = trial.user_attrs
    stored = {name: attrs[name] for name in (*_SCORE_FIELDS, "loss", "seconds")}
    return Score(quality=trial.value, seed=seed, note=attrs.get("note", ""), **stored)


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
    intermediate_values: Mapping[int, float] | None = None,
) -> None:
    """Set what is known of a trial, then its state; nothing if it is closed already."""
    values = intermediate_values or {}
    with suppress(UpdateFinishedTrialError):
        if isinstance(storage, RetryStorage) and storage.database is not None:
            close = storage.database.close_trial
            storage.call(close, trial_id, attributes, state, value, values)
            return
        for step, quality in values.items():
            storage.set_trial_intermediate_value(trial_id, step, quality)
        set_trial_attributes(storage, trial_id, attributes)
        storage.set_trial_state_values(trial_id, state, None if value is None else [value])


MAX_RETRIES = 2
"""How often a run is repeated after the death of its worker."""


@dataclass(slots=True)
class IntermediateValues:
    """Validation qualities of a running trial by optimizer step.

    They are stored together when the trial ends, or if `live` one by one: a pruner needs them.
    """

    live: bool
    values: dict[int, float] = field(default_factory=dict)

    def report(self, storage: BaseStorage, trial_id: int, quality: float, step: int) -> None:
        """Take a value; the first one counts where a step is reported again."""
        if step not in self.values:
            self.values[step] = quality
            if self.live:
                storage.set_trial_intermediate_value(trial_id, step, quality)

    @property
    def unwritten(self) -> dict[int, float]:
        """The values that are not in the storage yet."""
        return {} if self.live else self.values


def finish_trial(
    storage: BaseStorage,
    trial_id: int,
    get_score: Callable[[], Score],
    intermediate: IntermediateValues,
    metric: str,
) -> None:
    """Wait for the score of a trial and close it.

    If another process took this one for dead and closed the trial, the score is dropped: the run
    is repeated there.
    """
    attributes: dict[str, Any]
    try:
        score = get_score()
    except optuna.TrialPruned:
        state = TrialState.PRUNED
        value = intermediate.values[max(intermediate.values)] if intermediate.values else None
        attributes = {STOPPED: "weak beside other trials at the same step"}
    except TrialError as error:
        state, value = TrialState.FAIL, None
        attributes = {STOPPED: "could not be scored", FAILED: str(error)}
    else:
        state, value = TrialState.COMPLETE, score.quality
        attributes = {STOPPED: "at the end of its budget"} | score_to_attributes(score, metric)
    with storage_failures():
        close_trial(storage, trial_id, attributes, state, value, intermediate.unwritten)


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
    worker = worker_of_trial(trial)
    name = "its worker" if worker is None else worker.description
    attributes: dict[str, Any] = {STOPPED: "its worker died", DIED: True}
    if deaths > MAX_RETRIES:
        attributes[FAILED] = (
            f"its worker died each of the {deaths} times it was run, at last {name}"
        )
    else:
        attributes[INTERRUPTED] = f"{name} died before its end"
    close_trial(storage, trial_id_of(trial), attributes, TrialState.FAIL)
