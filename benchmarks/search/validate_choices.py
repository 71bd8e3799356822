"""Validate choices: train what each strategy chose on fresh seeds, with the full budget.

    python benchmarks/search/validate_choices.py MODEL TASK DATA_DIR --table studies/exhaustive-NAME
    ... --epochs 1 --full-epochs 4 --learning-rate 2e-4     the budgets of that table

The ground truth of `search_efficiency.py` is a model's, of the kind that the search fits. Here the
strategies are replayed on the measured rows, and what they chose at `--cost` is trained again on
seeds that no table has; `chosen.csv` beside the table has these runs. A strategy's figure is the
mean validation accuracy over its replays and these seeds, and the distance from the first strategy
on the same seeds. Standard errors are over the seeds. The ground truth that is printed beside it is
fitted to the other tables alone.
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
from exhaustive import Study, append_rows, measure_layout, read_rows
from replay_strategies import replay_strategy
from replay_tables import CHOSEN_FILE, World, fit_model, read_runs
from search_efficiency import STRATEGY_NAMES, TABLE


def choose(world: World, names: Sequence[str], cost: int, replays: int) -> dict[str, list[Layout]]:
    """Return what each strategy chooses in each replay on the measured rows."""
    return {
        name: [
            replay_strategy(name, world, world.rows(number), number, None, [cost])[cost]
            for number in range(replays)
        ]
        for name in names
    }


def main() -> None:
    """Replay, train what was not trained yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--cost", type=int, default=12)
    parser.add_argument("--replays", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="*", default=[5, 6])
    parser.add_argument("--only", nargs="*", choices=STRATEGY_NAMES, default=STRATEGY_NAMES)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--full-epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    arguments = parser.parse_args()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    world, table, seeds = World(arguments.table), arguments.table / CHOSEN_FILE, arguments.seeds
    chosen = choose(world, arguments.only, arguments.cost, arguments.replays)
    for name, layouts in chosen.items():
        counts = ", ".join(f"{layout} ({n})" for layout, n in Counter(layouts).most_common())
        print(f"{name}: {counts}", flush=True)
    options = {name: getattr(arguments, name) for name in Study._fields if name != "keep"}
    study = Study(keep=world.keep, **options)
    distinct = sorted({str(layout) for layouts in chosen.values() for layout in layouts})
    done = {(row["layout"], int(row["seed"])) for row in read_rows(table)}
    to_do = [(text, seed) for seed in seeds for text in distinct if (text, seed) not in done]
    print(f"{len(to_do)} of {len(distinct) * len(seeds)} runs to do", flush=True)
    with WorkerPool(available_cores()) as pool:
        for wait in [pool.start(measure_layout, study, text, seed, True) for text, seed in to_do]:
            append_rows(table, wait())
    accuracies = {
        (row["layout"], int(row["seed"])): 100 * float(row["validation_accuracy"])
        for row in read_rows(table)  # the last check of a run comes last
    }
    means = {
        name: [
            statistics.mean(accuracies[str(layout), seed] for layout in layouts) for seed in seeds
        ]
        for name, layouts in chosen.items()
    }
    model = fit_model(read_runs(arguments.table, without=CHOSEN_FILE))

    def truths(layouts: Sequence[Layout]) -> list[float]:
        return [float(mean) for mean in model.predict(layout_to_flags(layouts))[0]]

    first = arguments.only[0]
    for name, layouts in chosen.items():
        distances = [mean - other for mean, other in zip(means[name], means[first], strict=True)]
        print(
            f"{name:10} {len(set(layouts)):2} layouts on {len(seeds)} seeds: "
            f"{_format_mean(means[name])}, {_format_mean(distances)} from {first}; "
            f"truth {statistics.mean(truths(layouts)):.2f}"
        )
    by_layout: dict[str, list[float]] = {}
    for (text, _), accuracy in accuracies.items():
        by_layout.setdefault(text, []).append(accuracy)
    found = statistics.correlation(
        truths([Layout.parse(text) for text in by_layout]),
        list(map(statistics.mean, by_layout.values())),
    )
    print(f"truth and mean of the fresh runs, {len(by_layout)} layouts: correlation {found:+.2f}")


def _format_mean(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.2f} ± {error:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
