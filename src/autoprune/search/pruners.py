"""Pruners: rules that stop a weak trial at one of its checks.

The default is none. With `mr-12` on short headlines the quality after one of three epochs has a
correlation of 0.53 with a layout's true quality, after two 0.79: a trial that looks weak at the
first check is often a good layout, and in a search of some tens of trials little time is saved.
The initial layouts are never pruned, since their scores are compared with the best one.
"""

from collections.abc import Callable

from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoprune.search.trial import is_finished_trial


class HalvingPruner(BasePruner):
    """Asynchronous successive halving: the better half of all trials at a check continues.

    The rungs are our checks (https://arxiv.org/abs/1810.05934). Optuna's own pruner has rungs at
    powers of steps, and counts interrupted trials twice.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether `trial` is in the weaker half at its last check."""
        step = trial.last_step
        if step is None:
            return False
        value = trial.intermediate_values[step]
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if is_finished_trial(other) and step in other.intermediate_values
        ]
        better = sum(other > value for other in others)
        return better > len(others) // 2


def reaches_end(study: Study, step: int) -> bool:
    """Return whether complete trials ended at `step`, so that pruning would save nothing."""
    last_steps = [
        trial.last_step
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.last_step is not None
    ]
    return bool(last_steps) and step >= max(last_steps)


PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "halving": HalvingPruner,
}
