"""Joining: a study's settings come from its storage; model and data must be the study's."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoprune.encoders.registry import ENCODERS
from autoprune.errors import StudyError
from autoprune.experiment.progress import ProgressDisplay
from autoprune.experiment.proxy_scores import proxy_scores
from autoprune.experiment.search_step import PausedRuns, show_trial, study_identity, trial_starter
from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.experiment.study_store import STUDIES, find_study
from autoprune.experiment.tracking import TrialEvents, emit
from autoprune.search.result import TrialResult
from autoprune.search.settings import SearchSettings
from autoprune.search.study import finished_trials, join_study, run_worker_trials
from autoprune.storage.retry import LONG_RETRY_DELAYS
from autoprune.storage.storage import JOURNAL, Storage, open_existing, open_storage
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import Columns
from autoprune.training.workers import WorkerPool


def plain_settings(asked: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return as JSON values what a worker has to know; paths hold from every folder."""
    names = {*ENCODERS, *TASKS}
    places = {
        key: str(Path(asked[key]).resolve())
        for key in ("model", "task")
        if asked[key] not in names and Path(asked[key]).exists()
    }
    data_dir = asked["data_dir"]
    return {
        **asked,
        **places,
        "columns": asdict(asked["columns"]),
        "data_dir": None if data_dir is None else str(Path(data_dir).resolve()),
        **more,
    }


def open_study_storage(study: str, storage: str | None) -> tuple[Storage, Path]:
    """Open the storage of a study; return it with the folder in which its runs are kept."""
    if storage is not None:
        return open_existing(storage, LONG_RETRY_DELAYS), STUDIES / study
    folder = find_study(study, STUDIES)
    if not (folder / JOURNAL).is_file():
        raise StudyError(
            f"study {study} has no {JOURNAL} in {folder}: name its database with --storage"
        )
    return open_storage(None, folder, LONG_RETRY_DELAYS), folder


def worker_experiment(
    settings: Mapping[str, Any], here: Mapping[str, Any], trust_remote_code: bool
) -> Experiment:
    """Load model and data as the settings say, but for what is given of this machine (`here`)."""
    known = {
        key: value
        for key, value in settings.items()
        if key not in ("trials", "sampler", "pruner", "proxy")
    }
    known |= {key: value for key, value in here.items() if value is not None}
    known["workers"] = here["workers"]  # by default what suits this machine, not the search's
    known["columns"] = Columns(**known["columns"])
    known["data_dir"] = None if known["data_dir"] is None else Path(known["data_dir"])
    known["rivals"] = []  # they are the comparison's affair
    return build_experiment(**known, trust_remote_code=trust_remote_code)


def run_study_trials(
    ground: Experiment,
    settings: Mapping[str, Any],
    storage: Storage,
    folder: Path,
    most: int | None,
    show: ProgressDisplay,
) -> bool:
    """Make trials until the study has all, or `most` here; tell whether it was interrupted.

    Raises `StudyError` before the first where model or data are not the study's.
    """
    name, depth, trials = folder.name, ground.checkpoint.depth, settings["trials"]
    study = join_study(
        storage,
        name,
        depth,
        ground.keep,
        settings["seed"],
        study_identity(ground, settings["proxy"]),
    )
    hints = proxy_scores(ground, folder, settings["proxy"], settings["seed"], show)
    done = len(finished_trials(storage, name, depth))
    told, pauses = TrialEvents(name), PausedRuns(folder, ground.promotes)
    emit("study joined", study=name, model=ground.model, task=ground.task.name, done=done)
    show.say(f"joined {name}: {done} of {trials} trials are finished")

    def watch(finding: TrialResult) -> None:
        pauses.ends(finding)
        show_trial(show, finding, ground)
        told.ends(finding)

    with (
        WorkerPool(1 if settings["pruner"] != "none" else ground.workers) as crew,
        show.phase("trial", done, max(trials, done), crew.workers),
    ):
        return run_worker_trials(
            study,
            storage,
            trial_starter(ground, show, pauses, crew, told),
            SearchSettings(
                depth=depth,
                keep=ground.keep,
                trials=trials,
                sampler=settings["sampler"],
                pruner=settings["pruner"],
                seed=settings["seed"],
                fidelity=ground.fidelity,
                proxy_scores=hints,
                promote=ground.promotes,
                initial_layouts=ground.strategies,
                parallel_trials=crew.workers,
            ),
            callback=watch,
            max_new_trials=most,
        )
