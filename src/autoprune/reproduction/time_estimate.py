"""Time estimate: how long the cells of a grid take at most, from the duration of one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.evaluation.records import Record
from autoprune.experiment.setup import Experiment
from autoprune.reproduction.grid import Grid, GridCell, finished_study
from autoprune.training.budget import Budget


@dataclass(frozen=True, slots=True)
class CellEstimate:
    """What a cell still takes at most: `seconds` in all, at `step` seconds a step."""

    cell: GridCell
    step: float
    trials: int
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GridEstimate:
    """The cells of a grid that are `done`, and what the others take at most."""

    plan: str
    done: tuple[GridCell, ...]
    to_do: tuple[CellEstimate, ...]

    @property
    def seconds(self) -> float:
        """The seconds that all cells still take at most."""
        return sum(estimate.seconds for estimate in self.to_do)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "plan": self.plan,
            "done": [cell.path for cell in self.done],
            "to_do": {
                estimate.cell.path: {
                    "seconds_per_step": estimate.step,
                    "trials": estimate.trials,
                    "runs": estimate.runs,
                    "seconds": estimate.seconds,
                }
                for estimate in self.to_do
            },
            "at_most_seconds": self.seconds,
        }


def estimate_grid(grid: Grid) -> GridEstimate:
    """Measure a step of each selected cell that is not finished, on this device.

    The full model counts once for all cells of a model and a task.
    """
    to_do = [cell for cell in grid.selected if finished_study(cell, grid.plan) is None]
    counted: set[tuple[str, str]] = set()
    estimates = []
    for cell in to_do:
        with_full = (cell.model, cell.task) not in counted
        estimates.append(_estimate_cell(cell, grid.plan.trials, grid.plan.seeds, with_full))
        counted.add((cell.model, cell.task))
    done = tuple(cell for cell in grid.selected if cell not in to_do)
    return GridEstimate(grid.plan.name, done, tuple(estimates))


def _estimate_cell(cell: GridCell, trials: int, seeds: int, with_full: bool) -> CellEstimate:
    experiment, records = cell.experiment, cell.records
    layout = next(iter(experiment.strategies.values()))
    step = experiment.evaluator(experiment.timed).seconds_per_step(layout)
    left = max(0, trials - sum(record.phase == "search" for record in records))
    measured = [record for record in records if record.state == "complete"]
    budgets = _chosen_budgets(experiment, measured)
    compared = {
        (record.origin, record.seed)
        for record in measured
        if record.phase == "comparison" and record.budget == budgets.get(record.origin)
    }
    tuned = {(record.origin, record.budget) for record in measured if record.phase == "tuning"}
    inputs = experiment.inputs
    runs, steps = 0, left * inputs.steps_of_run(experiment.quick, tested=False)
    for origin, depth in _entrants(cell, with_full):
        choices, first = experiment.entrant_budgets(origin), cell.experiment.config.seed + 1
        count = sum((origin, seed) not in compared for seed in range(first, first + seeds))
        if len(choices) > 1:
            count += sum((origin, budget) not in tuned for budget in choices)
        runs += count
        steps += count * inputs.steps_of_run(choices[0], tested=True) * depth / experiment.keep
    return CellEstimate(cell, step, left, runs, steps * step / experiment.workers)


def _chosen_budgets(experiment: Experiment, measured: Sequence[Record]) -> Mapping[str, Budget]:
    """Return the full budget of each origin; without those that have not yet chosen among several.

    The choice is that of the best validation quality.
    """
    qualities: dict[str, dict[Budget, float]] = {}
    for record in measured:
        if record.phase == "tuning" and record.budget in experiment.entrant_budgets(record.origin):
            quality = record.score("validation").quality
            qualities.setdefault(record.origin, {})[record.budget] = quality
    chosen = {}
    for origin in {record.origin for record in measured}:
        budgets, by_budget = experiment.entrant_budgets(origin), qualities.get(origin, {})
        if len(budgets) == 1:
            chosen[origin] = budgets[0]
        elif len(by_budget) == len(budgets):
            chosen[origin] = max(budgets, key=by_budget.__getitem__)
    return chosen


def _entrants(cell: GridCell, with_full: bool) -> list[tuple[str, int]]:
    """Return the origin and the number of layers of each entrant of the comparison."""
    experiment = cell.experiment
    entrants = [(name, cell.keep) for name in ("found", *experiment.strategies, "scratch")]
    entrants += [(rival.encoder.name, rival.depth) for rival in experiment.rivals]
    return entrants + [("full", experiment.checkpoint.depth)] * with_full
