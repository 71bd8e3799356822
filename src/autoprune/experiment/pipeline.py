"""Studying: for each number of layers the search, then the comparison, and the study's end."""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import AutopruneError, StorageError
from autoprune.evaluation.comparison import Comparison, compare
from autoprune.evaluation.entrants import Entrant, Progress, tune
from autoprune.evaluation.records import lend
from autoprune.evaluation.study_files import RECORDS, read_study
from autoprune.experiment.progress import Show, stoppable
from autoprune.experiment.proxy_scores import share_hints
from autoprune.experiment.result import check_places, finish
from autoprune.experiment.search_step import (
    begin_study,
    conditions,
    find_layout,
    fresh_seeds,
    say_cost,
    say_data,
    say_stopped,
)
from autoprune.experiment.setup import Ground
from autoprune.experiment.study_store import STUDIES
from autoprune.experiment.tracking import tell_entrant
from autoprune.experiment.worker import plain_settings
from autoprune.reporting.dashboard_note import note, opening, plots
from autoprune.search.dashboard import annotate, introduce
from autoprune.search.study import is_begun, keep_settings, undo_begin
from autoprune.storage.locks import lead
from autoprune.storage.storage import Storage, lock, open_storage
from autoprune.training.checkpoint import sweep
from autoprune.training.ray_workers import team_of
from autoprune.training.workers import Team


def note_begin(ground: Ground, storage: Storage, name: str) -> None:
    """Give a study without a note one that says what it is about; raises `StorageError`."""
    first = opening(
        ground.model,
        ground.task.name,
        ground.splits.names,
        ground.task.metric,
        ground.checkpoint.depth,
        ground.keep,
        ground.quick,
        ground.full,
    )
    introduce(storage, name, first)


def note_end(folder: Path, storage: Storage) -> None:
    """Give the finished study in `folder` its result as a note, and its plots.

    Raises `StudyError`, `StorageError`.
    """
    studied = read_study(folder)
    said = note(studied.setting, studied.comparison, len(studied.trials))
    annotate(storage, folder.name, said, plots(studied.trials))


def begin_each(
    grounds: Sequence[Ground],
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
            stack.enter_context(lock(folder))
            if new:  # and locked: nobody else is at work in it
                made.append(folder)
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            new = storage is not None and not is_begun(place, folder.name)
            begin_study(ground, place, folder.name, seed, settings["proxy"])
            if storage is not None:  # the folder's lock is not seen from other machines
                stack.enter_context(lead(place, folder.name))
            if new:  # and led: nobody else searches in it
                begun.append((place, folder.name))
            keep_settings(place, folder.name, {**settings, "keep": ground.keep})
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            note_begin(ground, place, folder.name)
    except AutopruneError:
        _undo(begun)
        _take_away(made)
        raise
    return places


def _undo(begun: Sequence[tuple[Storage, str]]) -> None:
    for place, name in begun:
        with suppress(StorageError):  # the mistake that led here is the one to tell
            undo_begin(place, name)


def _take_away(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for place in [*{folder.parent for folder in folders} - {STUDIES}, STUDIES]:  # plans' first
        if folders and not any(place.iterdir()):
            place.rmdir()


def choose_rates(
    ground: Ground,
    show: Show,
    folder: Path,
    crew: Team,
    variants: Sequence[Sequence[Entrant]],
    seed: int,
) -> list[Entrant]:
    """Return each entrant with the learning rate that is best on validation with the search's seed.

    Where there is none to choose, nothing is run.
    """
    if not ground.rates:
        return [entrant for (entrant,) in variants]
    layouts = {entrant.origin: entrant.layout for entrant, *_ in variants}

    def watch(progress: Progress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = record.reason or f"peak rate {record.budget.learning_rate:g}"
        remark += ", on file" if progress.reused else ""
        show.ends(progress.origin, layouts[progress.origin], quality, remark, not progress.reused)
        tell_entrant(folder.name, progress)

    total = len(variants) * len(ground.full_budgets)
    with show.phase("rate", 0, total, crew.workers):
        return tune(variants, seed, conditions(ground), folder / RECORDS, watch)


def hold_against(
    ground: Ground,
    show: Show,
    folder: Path,
    crew: Team,
    entrants: Sequence[Entrant],
    seeds: list[int],
) -> Comparison:
    """Train all entrants on fresh seeds with the full budget and compare them on the test split."""
    layouts = {entrant.origin: entrant.layout for entrant in entrants}

    def watch(progress: Progress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = "on file" if progress.reused else record.reason or f"seed {progress.seed}"
        layout = layouts[progress.origin]
        show.ends(progress.origin, layout, quality, remark, not progress.reused)
        tell_entrant(folder.name, progress)

    under = conditions(ground)
    with show.phase("run", 0, len(entrants) * len(seeds), crew.workers):
        comparison = compare(entrants, seeds, ground.test, under, folder / RECORDS, watch)
    sweep(folder)
    return comparison


@dataclass(frozen=True, slots=True)
class Done:
    """A study that came to its end; `result` is what `--json` tells of it."""

    ground: Ground
    folder: Path
    comparison: Comparison
    result: dict[str, Any]


def folder_of(ground: Ground, name: str | None, several: bool) -> Path:
    """Return the study's folder; a name that several studies share is told apart by the layers."""
    mine = f"{name}-keep{ground.keep}" if name and several else name
    return STUDIES / (mine or ground.study)


def study_each(
    grounds: Sequence[Ground],
    name: str | None,
    asked: Mapping[str, Any],
    show: Show,
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
) -> list[Done]:
    """Search and compare on each ground in turn; `quiet` leaves standard output alone.

    Runs are made here, or with `ray` by tasks of the cluster there, each with so many `gpus`.
    `lenders` are folders of other studies, whose runs of the full model and of rivals serve too.
    All folders are locked, and every study begun or refused, before the first is worked on.
    Raises `typer.Exit` where the user stops it.
    """
    folders = [folder_of(ground, name, len(grounds) > 1) for ground in grounds]
    for folder in folders:
        check_places(folder)
    done: list[Done] = []
    settings = plain_settings(asked, trials=trials, sampler=sampler, pruner=pruner, proxy=proxy)
    with ExitStack() as stack:
        crew = stack.enter_context(team_of(grounds[0].workers, ray, gpus, grounds[0].device))
        places = begin_each(grounds, folders, storage, seed, settings, stack)
        stack.enter_context(stoppable(show.say))
        say_data(grounds[0], show)
        share_hints(grounds, folders, proxy, seed, show)
        for ground, folder, place in zip(grounds, folders, places, strict=True):
            if len(grounds) > 1:
                show.say(f"{ground.keep} of {ground.checkpoint.depth} layers: {folder}")
            earlier = [one / RECORDS for one in (*lenders, *(one.folder for one in done))]
            lend(earlier, folder / RECORDS, ground.whole_models)
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
    ground: Ground,
    folder: Path,
    place: Storage,
    asked: Mapping[str, Any],
    show: Show,
    crew: Team,
    *,
    trials: int,
    minutes: float | None,
    sampler: str,
    pruner: str,
    proxy: str,
    seed: int,
    seeds: int,
    quiet: bool,
) -> Done:
    started = time.perf_counter()
    say_cost(ground, show, trials, seeds)
    outcome = find_layout(
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
        say_stopped(show, outcome)
        raise KeyboardInterrupt
    variants = ground.entrants(outcome.found, crew)
    entrants = choose_rates(ground, show, folder, crew, variants, seed)
    comparison = hold_against(ground, show, folder, crew, entrants, fresh_seeds(seed, seeds))
    seconds = time.perf_counter() - started
    result = finish(ground, asked, folder, entrants, comparison, outcome, seconds, quiet)
    note_end(folder, place)
    return Done(ground, folder, comparison, result)
