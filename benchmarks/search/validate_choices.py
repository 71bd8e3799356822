"""Train what each strategy chose on fresh seeds, at the full budget: what it is really worth.

    python benchmarks/search/validate_choices.py MODEL TASK DATA_DIR --table studies/exhaustive-NAME

The truth behind `search_efficiency.py` is a model's, of the kind that the search fits. Here the
strategies are played on the measured rows, and what they chose at `--cost` is trained again on
seeds that no table has; `chosen.csv` beside the table keeps these runs. A strategy's figure is the
mean validation accuracy over its replays and these seeds, and its distance from the first named,
on the same seeds. Errors allow for the seeds; where few layouts are chosen they are most of it.
The truth they are held to is fitted to the other tables alone.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import optuna
import torch

from autoprune.layouts.layout import Layout
from autoprune.search.search_space import layout_to_flags
from autoprune.training.workers import WorkerPool, available_cores
from exhaustive import append, read, run
from replay_strategies import play
from replay_tables import CHOSEN, World, fit
from replay_tables import read as read_runs
from search_efficiency import PLAYED, TABLE


def picks(world: World, names: Sequence[str], cost: int, replays: int) -> dict[str, list[Layout]]:
    """Return what each strategy chooses in each replay on the measured rows."""
    return {
        name: [
            play(name, world, world.rows(replay), replay, None, [cost])[cost]
            for replay in range(replays)
        ]
        for name in names
    }


def main() -> None:
    """Play, train what is not there yet, and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        arguments.add_argument(name)
    arguments.add_argument("--table", type=Path, default=TABLE)
    arguments.add_argument("--cost", type=int, default=12)
    arguments.add_argument("--replays", type=int, default=8)
    arguments.add_argument("--seeds", type=int, nargs="*", default=[5, 6])
    arguments.add_argument("--only", nargs="*", choices=PLAYED, default=PLAYED)
    arguments.add_argument("--tokens", type=int)
    asked = arguments.parse_args()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    world, table = World(asked.table), asked.table / CHOSEN
    chosen = picks(world, asked.only, asked.cost, asked.replays)
    for name, layouts in chosen.items():
        times = ", ".join(f"{layout} ({n})" for layout, n in Counter(layouts).most_common())
        print(f"{name}: {times}", flush=True)
    where = (asked.model, asked.task, asked.data_dir, world.keep, asked.tokens)
    wanted = sorted({str(layout) for layouts in chosen.values() for layout in layouts})
    done = {(row["layout"], int(row["seed"])) for row in read(table)}
    todo = [(one, seed) for seed in asked.seeds for one in wanted if (one, seed) not in done]
    print(f"{len(todo)} of {len(wanted) * len(asked.seeds)} runs to do", flush=True)
    with WorkerPool(available_cores()) as crew:
        for wait in [crew.start(run, where, one, seed, True) for one, seed in todo]:
            append(table, wait())
    last = {
        (row["layout"], int(row["seed"])): 100 * float(row["validation_accuracy"])
        for row in read(table)  # the last check comes last
    }
    worth = {
        name: [statistics.mean(last[str(one), seed] for one in layouts) for seed in asked.seeds]
        for name, layouts in chosen.items()
    }
    model = fit(read_runs(asked.table, without=CHOSEN))

    def truths(layouts: Sequence[Layout]) -> list[float]:
        return [float(mean) for mean in model.predict(layout_to_flags(layouts))[0]]

    for name, layouts in chosen.items():
        apart = [
            mine - first for mine, first in zip(worth[name], worth[asked.only[0]], strict=True)
        ]
        print(
            f"{name:10} {len(set(layouts)):2} layouts on {len(asked.seeds)} seeds: "
            f"{_mean(worth[name])}, {_mean(apart)} from {asked.only[0]}; "
            f"truth {statistics.mean(truths(layouts)):.2f}"
        )
    fresh = {one: [last[key] for key in last if key[0] == one] for one, _ in last}
    found = statistics.correlation(
        truths([Layout.parse(one) for one in fresh]),
        [statistics.mean(runs) for runs in fresh.values()],
    )
    print(f"truth and mean of the fresh runs, {len(fresh)} layouts: correlation {found:+.2f}")


def _mean(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.2f} ± {error:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
