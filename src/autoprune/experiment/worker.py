"""Worker: joins a study from its storage; its model and data must be the study's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune.errors import AutopruneError, OptionError, StudyError, format_count
from autoprune.evaluation.study_files import RECORDS_FILE
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.context import RunContext
from autoprune.experiment.events import StudyJoined
from autoprune.experiment.proxy_scores import proxy_scores
from autoprune.experiment.search_step import (
    TrialRunner,
    find_trials,
    search_settings,
    trial_executor,
)
from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.experiment.study_store import find_study
from autoprune.experiment.teacher import with_stored_teacher
from autoprune.files import path_exists
from autoprune.search.study import (
    finished_trials,
    open_study,
    run_worker_trials,
    stored_config,
)
from autoprune.storage.errors import stored_values
from autoprune.storage.retry import LONG_RETRY_DELAYS
from autoprune.storage.storage import (
    JOURNAL,
    Storage,
    open_existing,
    open_storage,
    storage_name,
)
from autoprune.training.workers import WorkerPool


def run_worker(
    study: str,
    options: RunOptions,
    context: RunContext,
    local: Mapping[str, str | Path | None],
    data_dir: Path | None = None,
    max_trials: int | None = None,
) -> tuple[int, int]:
    """Run trials of a study until it has all, or `max_trials` here.

    `study` is the study's name or its folder. `local` names the `model`, `task`, `teacher` and
    `unlabelled` texts that are elsewhere on this machine, and `data_dir` the folder of the data.
    Returns how many trials are finished, and how many the study asks for.

    Raises:
        StudyError: model or data are not the study's.
        KeyboardInterrupt: the user stops it.
    """
    storage, folder = open_study_storage(study, options)
    name = folder.name
    with stored_values(name, storage_name(storage)):
        config = _read_config(stored_config(storage, name), name, storage_name(storage))
    experiment = build_experiment(_localize(config, local, data_dir), options)
    experiment = with_stored_teacher(experiment, folder)
    with experiment.threads(), context.shutdown():
        if run_study_trials(experiment, storage, folder, context, max_trials):
            raise KeyboardInterrupt
    finished = len(finished_trials(storage, folder.name, experiment.depth))
    return finished, config.search.trials


def _read_config(stored: Mapping[str, Any], name: str, source: str) -> StudyConfig:
    try:
        return StudyConfig.from_stored(stored)
    except AutopruneError as error:
        raise StudyError(
            f"the settings of study {name} in {source} cannot be read ({error}): repeat the "
            "search's command, which stores them anew"
        ) from error


def _localize(
    config: StudyConfig, local: Mapping[str, str | Path | None], data_dir: Path | None
) -> StudyConfig:
    """Return the study as this machine has it; rivals enter the comparison only."""
    given = {name: value for name, value in local.items() if value is not None}
    taught: dict[str, Any] = {
        name: given.pop(name) for name in ("teacher", "unlabelled") if name in given
    }
    if taught and config.distillation.distill == "none":
        raise OptionError(f"this study is not distilled: leave --{min(taught)} out")
    distillation = config.distillation.model_copy(update=taught)
    data = config.data
    if data_dir is not None:
        data = data.model_copy(update={"data_dir": data_dir})
    comparison = config.comparison.model_copy(update={"rivals": ()})
    sections = {"data": data, "comparison": comparison, "distillation": distillation}
    return config.model_copy(update={**given, **sections})


def open_study_storage(study: str, options: RunOptions) -> tuple[Storage, Path]:
    """Open the storage of a study; return it with the folder in which its runs are stored."""
    if options.storage is not None:
        folder = options.studies / (Path(study).resolve().name if study.startswith(".") else study)
        return open_existing(options.storage, LONG_RETRY_DELAYS), folder
    folder = find_study(study, options.studies)
    if not path_exists(folder / JOURNAL):
        raise StudyError(
            f"study {study} has no {JOURNAL} in {folder}: name its database with --storage"
        )
    return open_storage(None, folder, LONG_RETRY_DELAYS), folder


def run_study_trials(
    experiment: Experiment,
    storage: Storage,
    folder: Path,
    context: RunContext,
    max_trials: int | None,
) -> bool:
    """Run trials until the study has all, or `max_trials` here; return whether interrupted."""
    name, trials, progress = folder.name, experiment.config.search.trials, context.progress
    study = open_study(
        storage,
        name,
        experiment.depth,
        experiment.keep,
        experiment.seed,
        experiment.identity,
        create=False,
    )
    scores = proxy_scores(experiment, folder, progress)
    earlier, lost = find_trials(experiment, folder, storage)
    if lost:
        raise StudyError(
            f"missing in {storage_name(storage)}: {format_count(len(lost), 'trial')} of "
            f"{folder / RECORDS_FILE}; repeat the search's command first, which takes them up"
        )
    done = len(earlier)
    context.emit(StudyJoined(name, experiment.model, experiment.task.name, done))
    progress.say(f"joined {name}: {done} of {format_count(trials, 'trial')} finished")
    with WorkerPool(experiment.workers) as pool:
        executor = trial_executor(experiment, pool)
        runner = TrialRunner(experiment, folder, executor, context)
        metric = experiment.task.metric
        with progress.phase("trial", done, max(trials, done), executor.workers, metric):
            return run_worker_trials(
                study,
                storage,
                runner.start,
                search_settings(experiment, scores, executor),
                runner.finished,
                max_trials,
            )
