"""Search efficiency: replay every strategy on an exhaustive table, and compare regret with cost.

    python benchmarks/search/search_efficiency.py --seeds 100 --plot reports/search-efficiency.png
    ... --json                              {"regret": {STRATEGY: {COST: points}}}

Cost counts fine-tunes of one candidate with the full budget; a quick run costs 0.3 of it. Regret is
how many points of ground truth the chosen layout is below the best one, the mean over replays.
Ground truth and runs come from `replay_tables.World`, for all strategies alike. `--rows` replays
the rows of the table as they are: the first run of a layout is that on seed 0, the next that on its
next seed, and so on. `--variants` adds what was tried beside the default: its choice after random
runs, the choice of budgets, a race of its leaders by full runs, and each proxy. `--world` replays
elsewhere (`replay_worlds.py`): `pauses`, where a quick run is a full one that pauses, for the
promotions and `default` beside them; `misled`, where a pause says nothing of the end; `tuned` and
`tuned-1`, for runs that begin from two supernets or from one.

The table has layouts of one size only, so `greedy` cannot remove layer by layer; it exchanges
single layers of the best fixed strategy while that is better.
"""

import argparse
import csv
import json
import multiprocessing
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import optuna
import plotly.graph_objects as go

from autoprune.layouts.layout import Layout
from autoprune.training.proxies import PROXIES
from replay import COSTS
from replay_strategies import PROMOTIONS, SUPERNETS, replay_strategy
from replay_tables import World
from replay_worlds import MisleadingWorld, OneSupernetWorld, PausingWorld, SupernetWorld

TABLE = Path(__file__).parents[2] / "studies" / "exhaustive-mr-12-shc-keep6"
PROXY = "default with "
STRATEGY_NAMES = ("default", "random", "tpe", "greedy", "evolution", "fixed")
VARIANT_NAMES = (
    *PROMOTIONS,
    *SUPERNETS,
    "random, posterior mean",
    "either budget",
    "race of finalists",
    *(PROXY + proxy for proxy in PROXIES),
)

WORLDS = {
    "table": World,
    "pauses": PausingWorld,
    "misled": MisleadingWorld,
    "tuned": SupernetWorld,
    "tuned-1": OneSupernetWorld,
}

_worlds: dict[Path, World] = {}


def replay_regrets(
    table: Path, rows: bool, world_name: str, costs: Sequence[int], name: str, number: int
) -> dict[int, float]:
    """Replay a strategy once, in a worker process; return the regret at each cost."""
    if table not in _worlds:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _worlds[table] = WORLDS[world_name](table)
    world = _worlds[table]
    measure = world.rows(number) if rows else partial(world.measure, replay=number)
    scores = None
    if name.startswith(PROXY):
        scores = read_proxy_scores(table / "proxies.csv", name.removeprefix(PROXY))
    chosen = replay_strategy(name, world, measure, number, scores, costs)
    return {cost: world.regret(layout) for cost, layout in chosen.items()}


def read_proxy_scores(table: Path, proxy: str) -> dict[Layout, float]:
    """Return a proxy's score of each layout."""
    with table.open(newline="") as lines:
        return {
            Layout.parse(row["layout"]): float(row["value"])
            for row in csv.DictReader(lines)
            if row["proxy"] == proxy
        }


def save_plot(results: dict[str, list[dict[int, float]]], path: Path, title: str) -> None:
    """Plot the mean regrets with their standard errors; Chromium makes the picture."""
    figure, costs = go.Figure(), sorted(next(iter(results.values()))[0])
    for name, regrets in results.items():
        means, errors = zip(*(mean_and_error(regrets, cost) for cost in costs), strict=True)
        figure.add_scatter(
            x=costs, y=means, error_y={"array": errors}, name=name, mode="lines+markers"
        )
    figure.update_layout(
        title=title,
        xaxis={
            "title": "cost, in full fine-tunes of one candidate",
            "type": "log",
            "tickvals": costs,
        },
        yaxis={"title": "regret in truth, points", "rangemode": "tozero"},
        template="plotly_white",
        width=900,
        height=520,
    )
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    from playwright.sync_api import sync_playwright  # of the dev extra, for the picture alone

    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": 900, "height": 520}
        )
        page.set_content(figure.to_html(include_plotlyjs=True), wait_until="load")
        page.screenshot(path=path)


def mean_and_error(regrets: list[dict[int, float]], cost: int) -> tuple[float, float]:
    """Return the mean over replays and its standard error."""
    values = [by_cost[cost] for by_cost in regrets]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), error


def main() -> None:
    """Replay all strategies and print their regrets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--world", choices=WORLDS, default="table")
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--only", nargs="*", choices=STRATEGY_NAMES + VARIANT_NAMES)
    parser.add_argument("--costs", type=int, nargs="*", default=COSTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    names = arguments.only or STRATEGY_NAMES + VARIANT_NAMES * arguments.variants
    setting = (arguments.table, arguments.rows, arguments.world, arguments.costs)
    # For their own numpy: with two threads in each of two, 20 replays took over 12 minutes.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {
            name: [
                pool.submit(replay_regrets, *setting, name, number)
                for number in range(arguments.seeds)
            ]
            for name in names
        }
        results = {name: [job.result() for job in jobs] for name, jobs in futures.items()}
    figures = {
        name: {str(cost): mean_and_error(regrets, cost) for cost in arguments.costs}
        for name, regrets in results.items()
    }
    for name, costs in figures.items():
        line = "  ".join(f"{mean:5.2f} ± {error:.2f}" for mean, error in costs.values())
        print(f"{name:28} {line}", file=sys.stderr)
    if arguments.plot:
        save_plot(results, arguments.plot, f"{arguments.table.name}, {arguments.seeds} replays")
    if arguments.json:
        regret = {
            name: {cost: mean for cost, (mean, _) in costs.items()}
            for name, costs in figures.items()
        }
        print(json.dumps({"regret": regret}))


if __name__ == "__main__":
    main()
