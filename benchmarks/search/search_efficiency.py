"""Replay every way of choosing layers on an exhaustive table: regret in truth against cost.

    python benchmarks/search/search_efficiency.py --seeds 100 --plot reports/search-efficiency.png
    ... --json                              {"regret": {STRATEGY: {COST: points}}}

Cost counts fine-tunes of one candidate with the full budget; a quick run costs 0.3 of it. Regret is
by how many points of truth the chosen layout is below the best one, a mean over replays. Truth and
runs come from `tables.World`, for all strategies alike. `--rows` replays rows of the table as they
stand: the first run of a layout is that on seed 0, the next on its next seed, and so on.
`--variants` adds what was tried beside the default: its choice after random runs, the choice of
budget too, a race of its leaders by full runs, and each cheap score. `--world` replays elsewhere
(`replay_worlds.py`): `pauses`, where a quick run is a full one that pauses, for the promotions and
`default` beside them; `misled`, where a pause tells nothing of the end; `tuned` and `tuned-1`, for
runs that begin from two supernets or from one.

The table has layouts of one size only, so `greedy` cannot remove layer by layer; it exchanges
single layers of the best fixed strategy for as long as that helps.
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
from playwright.sync_api import sync_playwright

from autoprune.layouts.layout import Layout
from autoprune.training.proxies import PROXIES
from replay import COSTS
from replay_strategies import PROMOTIONS, SUPERNETS, play
from replay_tables import World
from replay_worlds import Misled, Pausing, Tuned, TunedFromOne

TABLE = Path(__file__).parents[2] / "studies" / "exhaustive-mr-12-shc-keep6"
PROXY = "default with "
PLAYED = ("default", "random", "tpe", "greedy", "evolution", "fixed")
VARIANTS = (
    *PROMOTIONS,
    *SUPERNETS,
    "random, posterior mean",
    "either budget",
    "race of finalists",
    *(PROXY + proxy for proxy in PROXIES),
)

WORLDS = {
    "table": World,
    "pauses": Pausing,
    "misled": Misled,
    "tuned": Tuned,
    "tuned-1": TunedFromOne,
}

_world: dict[Path, World] = {}


def one(
    table: Path, rows: bool, world: str, costs: Sequence[int], name: str, replay: int
) -> dict[int, float]:
    """Play one replay in a process of its own; the world is fitted once a process."""
    if table not in _world:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _world[table] = WORLDS[world](table)
    known = _world[table]
    measure = known.rows(replay) if rows else partial(known.measure, replay=replay)
    hints = None
    if name.startswith(PROXY):
        hints = read_hints(table / "proxies.csv", name.removeprefix(PROXY))
    chosen = play(name, known, measure, replay, hints, costs)
    return {cost: known.regret(layout) for cost, layout in chosen.items()}


def read_hints(table: Path, proxy: str) -> dict[Layout, float]:
    """Return the cheap score of each layout."""
    with table.open(newline="") as lines:
        return {
            Layout.parse(row["layout"]): float(row["value"])
            for row in csv.DictReader(lines)
            if row["proxy"] == proxy
        }


def plot(results: dict[str, list[dict[int, float]]], place: Path, title: str) -> None:
    """Draw the mean regrets with their standard errors, by means of Chromium."""
    figure, costs = go.Figure(), sorted(next(iter(results.values()))[0])
    for name, replays in results.items():
        means, errors = zip(*(moments(replays, cost) for cost in costs), strict=True)
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
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": 900, "height": 520}
        )
        page.set_content(figure.to_html(include_plotlyjs=True), wait_until="load")
        page.screenshot(path=place)


def moments(replays: list[dict[int, float]], cost: int) -> tuple[float, float]:
    """Return the mean over replays and its standard error."""
    values = [regret[cost] for regret in replays]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), error


def main() -> None:
    """Play all strategies and print their regrets."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--table", type=Path, default=TABLE)
    arguments.add_argument("--seeds", type=int, default=100)
    arguments.add_argument("--rows", action="store_true")
    arguments.add_argument("--world", choices=WORLDS, default="table")
    arguments.add_argument("--variants", action="store_true")
    arguments.add_argument("--only", nargs="*", choices=PLAYED + VARIANTS)
    arguments.add_argument("--costs", type=int, nargs="*", default=COSTS)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--plot", type=Path)
    asked = arguments.parse_args()
    names = asked.only or PLAYED + VARIANTS * asked.variants
    # For their own numpy: with two threads in each of two, 20 replays took over 12 minutes.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {
            name: [
                pool.submit(one, asked.table, asked.rows, asked.world, asked.costs, name, i)
                for i in range(asked.seeds)
            ]
            for name in names
        }
        results = {name: [job.result() for job in waits] for name, waits in jobs.items()}
    told = {
        name: {str(cost): moments(replays, cost) for cost in asked.costs}
        for name, replays in results.items()
    }
    for name, costs in told.items():
        figures = "  ".join(f"{mean:5.2f} ± {error:.2f}" for mean, error in costs.values())
        print(f"{name:28} {figures}", file=sys.stderr)
    if asked.plot:
        plot(results, asked.plot, f"{asked.table.name}, {asked.seeds} replays")
    if asked.json:
        regret = {
            name: {cost: mean for cost, (mean, _) in costs.items()} for name, costs in told.items()
        }
        print(json.dumps({"regret": regret}))


if __name__ == "__main__":
    main()
