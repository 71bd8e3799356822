"""Importances: what Optuna says of how much each layer's flag decides."""

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from autoprune.search.failures import storage_failures
from autoprune.search.marks import FIDELITY, flag_names

LEAST = 4  # complete trials; forests grown on fewer say nothing


def importances(storage: BaseStorage, name: str) -> dict[str, float]:
    """Return each layer's share in the scores' variance by fANOVA: `layer 3` -> [0, 1], sum 1.

    Of trials with the smallest of several budgets alone. Empty where the study is not there, too
    few such trials are complete, or all scores are equal. The same trials give the same shares.
    Source: Hutter, Hoos and Leyton-Brown, ICML 2014.
    """
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return {}
        study = optuna.load_study(study_name=name, storage=storage)
        whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    least = min((trial.params[FIDELITY] for trial in whole), default=1.0)
    whole = [trial for trial in whole if trial.params[FIDELITY] == least]
    if len(whole) < LEAST or len({trial.value for trial in whole}) == 1:
        return {}
    flags = list(flag_names(study.user_attrs["depth"]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of each study that is made
    alone = optuna.create_study(direction="maximize")
    alone.add_trials(whole)
    shares = get_param_importances(alone, evaluator=FanovaImportanceEvaluator(seed=0), params=flags)
    return {f"layer {int(flag.rpartition('_')[2])}": float(shares[flag]) for flag in sorted(shares)}
