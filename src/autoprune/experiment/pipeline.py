"""Studying: for each number of layers the search, then the comparison, and the study's end."""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import AutopruneError, StorageError
from autoprune.evaluation.comparison import Comparison, compare_entrants
from autoprune.evaluation.entrants import Entrant, EntrantProgress, choose_learning_rates
from autoprune.evaluation.records import reuse_shared_runs
from autoprune.evaluation.study_files import RECORDS_FILE, read_study
from autoprune.experiment.progress import ProgressDisplay, graceful_shutdown
from autoprune.experiment.proxy_scores import share_proxy_scores
from autoprune.experiment.result import check_study_paths, finish_study
from autoprune.experiment.search_step import (
    begin_study,
    comparison_seeds,
    measurement_conditions,
    report_data,
    report_expected_time,
    report_interrupted,
    search_layouts,
)
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import STUDIES
from autoprune.experiment.tracking import emit_entrant_run
from autoprune.experiment.worker import plain_settings
from autoprune.reporting.dashboard_note import (
    StudyDescription,
    dashboard_plots,
    first_note,
    result_note,
)
from autoprune.search.dashboard import save_first_note, save_note_and_plots
from autoprune.search.study import delete_new_study, store_config, study_exists
from autoprune.storage.locks import lock_study_folder, single_search_lock
from autoprune.storage.storage import Storage, open_storage
from autoprune.training.checkpoint import remove_old_checkpoints
from autoprune.training.ray_workers import make_executor
from autoprune.training.workers import Executor


def write_first_note(ground: Experiment, storage: Storage, name: str) -> None:
    """Give a study without a note one that says what it is about; raises `StorageError`."""
    study = StudyDescription(
        model=ground.model,
        task=ground.task.name,
        labels=ground.splits.names,
        metric=ground.task.metric,
        depth=ground.checkpoint.depth,
        keep=ground.keep,
        quick=ground.quick,
        full=ground.full,
    )
    save_first_note(storage, name, first_note(study))


def write_result_note(folder: Path, storage: Storage) -> None:
    """Give the finished study in `folder` its result as a note, and its plots.

    Raises `StudyError`, `StorageError`.
    """
    studied = read_study(folder)
    said = result_note(studied.setting, studied.comparison, len(studied.trials))
    save_note_and_plots(storage, folder.name, said, dashboard_plots(studied.trials))


def begin_studies(
    grounds: Sequence[Experiment],
    folders: Sequence[Path],
    storage: str | None,
    seed: int,
    settings: Mapping[str, Any],
    stack: ExitStack,
) -> list[Storage]:
    """Lock each folder until `stack` ends, and begin its study or go on with it.

    `settings` are what workers must know to join, but for the number of layers. Where one is
    refused, the folders and the studies in a database that were not there before are taken away
    again.
    """
    made: list[Path] = []
    begun: list[tuple[Storage, str]] = []
    places: list[Storage] = []
    try:
        for folder in folders:
            new = not folder.exists()
            places.append(open_storage(storage, folder))
            stack.enter_context(lock_study_folder(folder))
            if new:  # and locked: nobody else is at work in it
                made.append(folder)
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            new = storage is not None and not study_exists(place, folder.name)
            begin_study(ground, place, folder.name, seed, settings["proxy"])
            if storage is not None:  # the folder's lock is not seen from other machines
                stack.enter_context(single_search_lock(place, folder.name))
            if new:  # and led: nobody else searches in it
                begun.append((place, folder.name))
            store_config(place, folder.name, {**settings, "keep": ground.keep})
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            write_first_note(ground, place, folder.name)
    except AutopruneError:
        _undo(begun)
        _take_away(made)
        raise
    return places


def _undo(begun: Sequence[tuple[Storage, str]]) -> None:
    for place, name in begun:
        with suppress(StorageError):  # the mistake that led here is the one to tell
            delete_new_study(place, name)


def _take_away(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for place in [*{folder.parent for folder in folders} - {STUDIES}, STUDIES]:  # plans' first
        if folders and not any(place.iterdir()):
            place.rmdir()


def tune_entrants(
    ground: Experiment,
    show: ProgressDisplay,
    folder: Path,
    crew: Executor,
    variants: Sequence[Sequence[Entrant]],
    seed: int,
) -> list[Entrant]:
    """Return each entrant with the learning rate that is best on validation with the search's seed.

    Where there is none to choose, nothing is run.
    """
    if not ground.rates:
        return [entrant for (entrant,) in variants]
    layouts = {entrant.origin: entrant.layout for entrant, *_ in variants}

    def watch(progress: EntrantProgress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = record.reason or f"peak rate {record.budget.learning_rate:g}"
        remark += ", on file" if progress.reused else ""
        show.ends(progress.origin, layouts[progress.origin], quality, remark, not progress.reused)
        emit_entrant_run(folder.name, progress)

    total = len(variants) * len(ground.full_budgets)
    with show.phase("rate", 0, total, crew.workers):
        return choose_learning_rates(
            variants, seed, measurement_conditions(ground), folder / RECORDS_FILE, watch
        )


def run_comparison(
    ground: Experiment,
    show: ProgressDisplay,
    folder: Path,
    crew: Executor,
    entrants: Sequence[Entrant],
    seeds: list[int],
) -> Comparison:
    """Train all entrants on fresh seeds with the full budget and compare them on the test split."""
    layouts = {entrant.origin: entrant.layout for entrant in entrants}

    def watch(progress: EntrantProgress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = "on file" if progress.reused else record.reason or f"seed {progress.seed}"
        layout = layouts[progress.origin]
        show.ends(progress.origin, layout, quality, remark, not progress.reused)
        emit_entrant_run(folder.name, progress)

    under = measurement_conditions(ground)
    with show.phase("run", 0, len(entrants) * len(seeds), crew.workers):
        comparison = compare_entrants(
            entrants, seeds, ground.test, under, folder / RECORDS_FILE, watch
        )
    remove_old_checkpoints(folder)
    return comparison


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """A study that came to its end; `result` is what `--json` tells of it."""

    ground: Experiment
    folder: Path
    comparison: Comparison
    result: dict[str, Any]


def study_folder(ground: Experiment, name: str | None, several: bool) -> Path:
    """Return the study's folder; a name that several studies share is told apart by the layers."""
    mine = f"{name}-keep{ground.keep}" if name and several else name
    return STUDIES / (mine or ground.study)


def run_studies(
    grounds: Sequence[Experiment],
    name: str | None,
    asked: Mapping[str, Any],
    show: ProgressDisplay,
    *,
    trials: int,
    minutes: float | None,
    sampler: str,
    pruner: str,
    proxy: str,
    seed: int,
    seeds: int,
    storage: str | None,
    quiet: bool,
    lenders: Sequence[Path] = (),
    ray: str | None = None,
    gpus: float | None = None,
) -> list[StudyOutcome]:
    """Search and compare on each ground in turn; `quiet` leaves standard output alone.

    Runs are made here, or with `ray` by tasks of the cluster there, each with so many `gpus`.
    `lenders` are folders of other studies, whose runs of the full model and of rivals serve too.
    All folders are locked, and every study begun or refused, before the first is worked on.
    Raises `typer.Exit` where the user stops it.
    """
    folders = [study_folder(ground, name, len(grounds) > 1) for ground in grounds]
    for folder in folders:
        check_study_paths(folder)
    done: list[StudyOutcome] = []
    settings = plain_settings(asked, trials=trials, sampler=sampler, pruner=pruner, proxy=proxy)
    with ExitStack() as stack:
        crew = stack.enter_context(make_executor(grounds[0].workers, ray, gpus, grounds[0].device))
        places = begin_studies(grounds, folders, storage, seed, settings, stack)
        stack.enter_context(graceful_shutdown(show.say))
        report_data(grounds[0], show)
        share_proxy_scores(grounds, folders, proxy, seed, show)
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            if len(grounds) > 1:
                show.say(f"{ground.keep} of {ground.checkpoint.depth} layers: {folder}")
            earlier = [one / RECORDS_FILE for one in (*lenders, *(one.folder for one in done))]
            reuse_shared_runs(earlier, folder / RECORDS_FILE, ground.whole_models)
            done.append(
                _study(
                    ground,
                    folder,
                    place,
                    {**asked, "keep": ground.keep},
                    show,
                    crew,
                    trials=trials,
                    minutes=minutes,
                    sampler=sampler,
                    pruner=pruner,
                    proxy=proxy,
                    seed=seed,
                    seeds=seeds,
                    quiet=quiet,
                )
            )
    return done


def _study(
    ground: Experiment,
    folder: Path,
    place: Storage,
    asked: Mapping[str, Any],
    show: ProgressDisplay,
    crew: Executor,
    *,
    trials: int,
    minutes: float | None,
    sampler: str,
    pruner: str,
    proxy: str,
    seed: int,
    seeds: int,
    quiet: bool,
) -> StudyOutcome:
    started = time.perf_counter()
    report_expected_time(ground, show, trials, seeds)
    outcome = search_layouts(
        ground,
        show,
        folder,
        crew,
        storage=place,
        trials=trials,
        minutes=minutes,
        sampler=sampler,
        pruner=pruner,
        proxy=proxy,
        seed=seed,
    )
    if outcome.interrupted or outcome.found is None:
        report_interrupted(show, outcome)
        raise KeyboardInterrupt
    variants = ground.entrants(outcome.found, crew)
    entrants = tune_entrants(ground, show, folder, crew, variants, seed)
    comparison = run_comparison(ground, show, folder, crew, entrants, comparison_seeds(seed, seeds))
    seconds = time.perf_counter() - started
    result = finish_study(ground, asked, folder, entrants, comparison, outcome, seconds, quiet)
    write_result_note(folder, place)
    return StudyOutcome(ground, folder, comparison, result)
