"""Studying: for each number of layers the search, then the comparison, and the study's end."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.cli.beginning import begin_each
from autoprune.cli.comparing import choose_rates, hold_against
from autoprune.cli.ground import Ground
from autoprune.cli.hinting import share_hints
from autoprune.cli.joining import plain_settings
from autoprune.cli.noting import note_end
from autoprune.cli.past import STUDIES
from autoprune.cli.ray_crew import team_of
from autoprune.cli.result import check_places, finish
from autoprune.cli.run import (
    find_layout,
    fresh_seeds,
    say_cost,
    say_data,
    say_stopped,
)
from autoprune.cli.show import Show
from autoprune.cli.stopping import stoppable
from autoprune.evidence.comparison import Comparison
from autoprune.evidence.lending import lend
from autoprune.evidence.studied import RECORDS
from autoprune.scoring.crew import Team
from autoprune.search.storage import Storage


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
