"""Compare a search's trials with what a user would write today: Trainer and Optuna's TPE.

    python benchmarks/speed/against_trainer.py MODEL TASK DATA_DIR [--hidden 384] [--regret FILE]

The model, rows, number of layers, epochs, batch and learning rate are the same. The sides run in
turn, each in a new process, `--rounds` times; medians:

- `trainer`: trainer_baseline.py with DataCollatorWithPadding, fp32, one process with all cores;
- `trainer-bf16`: the same with `bf16=True`;
- `trainer-128`: as `trainer`, padded to 128 tokens as transformers' run_classification.py does;
- `autoprune`: as `autoprune search` runs, for narrow models one process a core;
- `autoprune-1`: the same in one process with all cores.

Seconds per trial are wall clock divided by trials. Peak memory is all processes' together.
`--hidden N` takes MODEL's shape N wide with random weights. `--regret FILE` is what
search_efficiency.py --json prints; with it, the seconds until a layout within half a point of the
best is chosen: the cost in full fine-tunes at which the mean regret is at most 0.5.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import trainer_baseline
from subprocess_memory import peak_memory, run_in_subprocess

NEAR = 0.5  # points
STRATEGIES = {"trainer": "tpe", "trainer-bf16": "tpe", "trainer-128": "tpe", "autoprune": "default"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one side: `processes` ran at a time, `mebibytes` is their peak together."""

    side: str
    seconds: float
    mebibytes: float
    processes: int


def main() -> None:
    """Measure all sides in turn and print the table, or JSON."""
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = run_in_subprocess(_save_shape, arguments.model, arguments.hidden, scratch)
        study = (model, arguments.task, arguments.data_dir, arguments.keep, arguments.epochs)
        (rows, training, machine), _ = run_in_subprocess(_describe_study, *study)
        rounds = []
        for number in range(arguments.rounds):
            for side in arguments.sides if number % 2 == 0 else reversed(arguments.sides):
                rounds.append(_measure(side, study, rows, training, arguments.trials))
                print(rounds[-1], flush=True)
    found = {
        side: _median([measured for measured in rounds if measured.side == side])
        for side in arguments.sides
    }
    curves = json.loads(Path(arguments.regret).read_text())["regret"] if arguments.regret else {}
    full = machine.pop("full_epochs") / arguments.epochs
    result = machine | {"sides": {side: asdict(measured) for side, measured in found.items()}}
    result["seconds_until_near"] = {
        side: until_near(curves[strategy], full * found[side].seconds)
        for side, strategy in STRATEGIES.items()
        if side in found and strategy in curves
    }
    print(json.dumps(result) if arguments.json else _table(result), flush=True)


def until_near(curve: dict[str, float], seconds: float) -> float | None:
    """Return the seconds to the first cost with a regret of at most half a point, or None.

    >>> until_near({"6": 1.2, "12": 0.4, "22": 0.1}, 10.0), until_near({"6": 1.2}, 10.0)
    (120.0, None)
    """
    near = [float(cost) for cost, points in curve.items() if points <= NEAR]
    return min(near) * seconds if near else None


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--keep", type=int, default=6)
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--trials", type=int, default=2, help="a process and round of autoprune")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--regret")
    parser.add_argument("--json", action="store_true")
    sides = "trainer,trainer-bf16,trainer-128,autoprune,autoprune-1"
    parser.add_argument("--sides", type=lambda text: text.split(","), default=sides.split(","))
    return parser.parse_args()


def _save_shape(model: str, hidden: int | None, folder: str) -> str:
    """Return `model`, or a folder with its tokenizer and its shape `hidden` wide."""
    if hidden is None:
        return model
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    config = AutoConfig.from_pretrained(model)
    config.num_attention_heads = hidden // 64
    config.hidden_size, config.intermediate_size = hidden, 4 * hidden
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def _describe_study(model: str, task: str, data_dir: str, keep: int, epochs: int) -> Any:
    """Return the rows as texts, the training of one trial, and a description of the machine."""
    from autoprune.evaluation.records import installed_versions
    from autoprune.training.devices import describe_device
    from experiments import build_default_experiment

    experiment = build_default_experiment(model, task, Path(data_dir), keep, epochs)
    splits, budget = experiment.splits, experiment.quick
    rows = {
        "train": (splits.train.texts, splits.train.labels),
        "validation": (splits.validation.texts, splits.validation.labels),
    }
    training = trainer_baseline.BaselineTraining(
        model, keep, epochs, budget.batch, budget.tokens, budget.learning_rate, "dynamic"
    )
    return (
        rows,
        training,
        {
            "date": time.strftime("%Y-%m-%d"),
            "device": describe_device(experiment.device),
            "versions": installed_versions(),
            "steps": budget.steps,
            "full_epochs": experiment.full.checks,
        },
    )


def _measure(
    side: str, study: Any, rows: Any, training: trainer_baseline.BaselineTraining, trials: int
) -> Measured:
    if side.startswith("trainer"):
        padding = "example" if side == "trainer-128" else "dynamic"
        baseline = replace(training, padding=padding, bfloat16=side == "trainer-bf16")
        seconds, memory = run_in_subprocess(trainer_baseline.search, baseline, rows, 1)
        return Measured(side, statistics.median(seconds), memory / 2**20, 1)
    workers = 1 if side == "autoprune-1" else None
    (seconds_each, processes, workers_memory), memory = run_in_subprocess(
        _run_autoprune, study, workers, trials
    )
    return Measured(side, seconds_each, (memory + workers_memory) / 2**20, processes)


def _run_autoprune(study: Any, workers: int | None, trials: int) -> tuple[float, int, int]:
    """Return the seconds of a trial, the number of processes, and the workers' peak memory."""
    from autoprune.layouts.layout import all_layouts
    from autoprune.training.workers import WorkerPool
    from experiments import build_default_experiment

    model, task, data_dir, keep, epochs = study
    experiment = build_default_experiment(model, task, Path(data_dir), keep, epochs, workers)
    evaluator = experiment.evaluator(experiment.quick)
    layouts = random.Random(0).sample(list(all_layouts(experiment.checkpoint.depth, keep)), 64)
    with WorkerPool(experiment.workers) as pool:
        brief = replace(evaluator, budget=replace(evaluator.budget, steps=4, checks=1))
        for wait in [pool.start(_measure_layout, brief, layouts[0]) for _ in range(pool.workers)]:
            wait()  # processes start and warm up
        started = time.perf_counter()
        jobs = [
            pool.start(_measure_layout, evaluator, layout)
            for layout in layouts[: trials * pool.workers]
        ]
        peaks = dict(wait() for wait in jobs)
        seconds = (time.perf_counter() - started) / len(jobs)
    workers_memory = sum(memory for memory in peaks.values() if pool.workers > 1)
    return seconds, experiment.workers, workers_memory


def _measure_layout(evaluator: Any, layout: Any) -> tuple[int, int]:
    """Measure one layout; return the process's id and its peak memory until now."""
    import os

    evaluator.evaluate(layout, 0)
    return os.getpid(), peak_memory()


def _median(rounds: Sequence[Measured]) -> Measured:
    return replace(
        rounds[0],
        seconds=statistics.median(measured.seconds for measured in rounds),
        mebibytes=statistics.median(measured.mebibytes for measured in rounds),
    )


def _table(result: dict[str, Any]) -> str:
    sides = result["sides"]
    lines = [f"{result['date']}, {result['device']}, {result['versions']}, {result['steps']} steps"]
    for side, measured in sides.items():
        line = f"{side:12} {measured['seconds']:8.1f} s a trial, {measured['mebibytes']:6.0f} MiB"
        lines.append(f"{line}, {measured['processes']} at a time")
        if side.startswith("autoprune"):
            for other in (name for name in sides if name.startswith("trainer")):
                share = measured["seconds"] / sides[other]["seconds"]
                memory = measured["mebibytes"] / sides[other]["mebibytes"]
                lines.append(f"{'':12} {share:8.2f} x time, {memory:.2f} x memory of {other}")
    for side, seconds in result["seconds_until_near"].items():
        reached = "not reached in the table" if seconds is None else f"{seconds:.0f} s"
        lines.append(f"{side:12} until within {NEAR} points of the best: {reached}")
    return "\n".join(lines)


if __name__ == "__main__":
    from against_trainer import main as main_of_module  # processes find its functions by this name

    main_of_module()
