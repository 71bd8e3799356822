"""How a trial ends: with a score, without one, stopped, or with the death of its worker."""

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from autoprune.errors import TrialError
from autoprune.scoring.score import Score
from autoprune.search.failures import storage_failures
from autoprune.search.holder import Holder
from autoprune.search.marks import (
    DIED,
    FAILED,
    HOLDER,
    INTERRUPTED,
    STOPPED,
    given_up,
    run_of_trial,
    score_attributes,
)
from autoprune.search.writing import end

OFFERS = 2
"""How often a run is offered again after the death of its worker."""


def finish(storage: BaseStorage, trial: int, wait: Callable[[], Score]) -> None:
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
            end(storage, trial, told, TrialState.PRUNED, last)
    except TrialError as error:
        told = {STOPPED: "could not be scored", FAILED: str(error)}
        with storage_failures():
            end(storage, trial, told, TrialState.FAIL)
    else:
        told = {STOPPED: "at the end of its budget"}
        with storage_failures():
            end(storage, trial, told | score_attributes(score), TrialState.COMPLETE, score.quality)


def interrupt(storage: BaseStorage, trial: int) -> None:
    """Close a trial of this process that was stopped; it is run again."""
    told = {STOPPED: "interrupted", INTERRUPTED: "stopped before its end"}
    end(storage, trial, told, TrialState.FAIL)


def bury(
    storage: BaseStorage, trial: FrozenTrial, known: Sequence[FrozenTrial], depth: int
) -> None:
    """Close a trial whose worker died: it is offered again, at most twice, else it has failed.

    A run that kills its worker, for lack of memory say, would else kill one after the other.
    """
    run = run_of_trial(trial, depth)
    deaths = 1 + sum(
        DIED in other.user_attrs and given_up(other) and run_of_trial(other, depth) == run
        for other in known
        if other.number != trial.number
    )
    holder = Holder.read(trial.user_attrs.get(HOLDER))
    who = "its worker" if holder is None else holder.named
    told: dict[str, Any] = {STOPPED: "its worker died", DIED: True}
    if deaths > OFFERS:
        told[FAILED] = f"its worker died each of the {deaths} times it was run, at last {who}"
    else:
        told[INTERRUPTED] = f"{who} died before its end"
    end(storage, trial._trial_id, told, TrialState.FAIL)
