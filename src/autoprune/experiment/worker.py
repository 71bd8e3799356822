"""Joining: a study's settings come from its storage; model and data must be the study's."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoprune.encoders.registry import ENCODERS
from autoprune.errors import StudyError
from autoprune.experiment.progress import Show
from autoprune.experiment.proxy_scores import hints_for
from autoprune.experiment.search_step import Pauses, beginner, identity, show_trial
from autoprune.experiment.setup import Ground, lay
from autoprune.experiment.study_store import STUDIES, find_study
from autoprune.experiment.tracking import Trials, tell
from autoprune.search.result import Finding
from autoprune.search.study import findings, join_study, work
from autoprune.storage.retry import LONG_PAUSES
from autoprune.storage.storage import JOURNAL, Storage, open_existing, open_storage
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import Columns
from autoprune.training.workers import Crew


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


def find_place(study: str, storage: str | None) -> tuple[Storage, Path]:
    """Open the storage of a study; return it with the folder in which its runs are kept."""
    if storage is not None:
        return open_existing(storage, LONG_PAUSES), STUDIES / study
    folder = find_study(study)
    if not (folder / JOURNAL).is_file():
        raise StudyError(
            f"study {study} has no {JOURNAL} in {folder}: name its database with --storage"
        )
    return open_storage(None, folder, LONG_PAUSES), folder


def ground_of(
    settings: Mapping[str, Any], here: Mapping[str, Any], trust_remote_code: bool
) -> Ground:
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
    return lay(**known, trust_remote_code=trust_remote_code)


def make_trials(
    ground: Ground,
    settings: Mapping[str, Any],
    storage: Storage,
    folder: Path,
    most: int | None,
    show: Show,
) -> bool:
    """Make trials until the study has all, or `most` here; tell whether it was interrupted.

    Raises `StudyError` before the first where model or data are not the study's.
    """
    name, depth, trials = folder.name, ground.checkpoint.depth, settings["trials"]
    study = join_study(
        storage, name, depth, ground.keep, settings["seed"], identity(ground, settings["proxy"])
    )
    hints = hints_for(ground, folder, settings["proxy"], settings["seed"], show)
    done = len(findings(storage, name, depth))
    told, pauses = Trials(name), Pauses(folder, ground.promotes)
    tell("study joined", study=name, model=ground.model, task=ground.task.name, done=done)
    show.say(f"joined {name}: {done} of {trials} trials are finished")

    def watch(finding: Finding) -> None:
        pauses.ends(finding)
        show_trial(show, finding, ground)
        told.ends(finding)

    with (
        Crew(1 if settings["pruner"] != "none" else ground.workers) as crew,
        show.phase("trial", done, max(trials, done), crew.workers),
    ):
        return work(
            study,
            storage,
            beginner(ground, show, pauses, crew, told),
            depth,
            ground.keep,
            trials=trials,
            sampler=settings["sampler"],
            pruner=settings["pruner"],
            seed=settings["seed"],
            fidelity=ground.fidelity,
            hints=hints,
            promotes=ground.promotes,
            first=ground.strategies,
            watch=watch,
            side_by_side=crew.workers,
            most=most,
        )
