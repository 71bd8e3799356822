"""Hold a search's trials against what a user would write today: Trainer and Optuna's TPE.

    python benchmarks/speed/against_trainer.py MODEL TASK DATA_DIR [--hidden 384] [--regret FILE]

Same model, rows, layers kept, passes, batch and learning rate. Sides, each in a fresh process and
in turn, `--rounds` times; medians:

- `trainer`: trainer_baseline.py with DataCollatorWithPadding, fp32, one process with all cores;
- `trainer-bf16`: the same with `bf16=True`;
- `trainer-128`: as `trainer`, padded to 128 tokens as transformers' run_classification.py does;
- `autoprune`: as `autoprune search` runs, for narrow models one process a core;
- `autoprune-1`: the same in one process with all cores.

Seconds per trial are wall clock divided by trials. Peak memory is all processes' together.
`--hidden N` takes MODEL's shape N wide with random weights. `--regret FILE` is what
search_efficiency.py --json prints; with it, the seconds until a layout within half a point of the
best in truth is chosen: the cost in full fine-tunes at which the mean regret is at most 0.5.
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
from subprocess_memory import apart, peak

NEAR = 0.5  # points
STRATEGIES = {"trainer": "tpe", "trainer-bf16": "tpe", "trainer-128": "tpe", "autoprune": "default"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one side; `processes` trained side by side, `mebibytes` their peak together."""

    side: str
    seconds: float
    mebibytes: float
    processes: int


def main() -> None:
    """Measure all sides in turn and print the table, or JSON."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = apart(_shaped, asked.model, asked.hidden, scratch)
        where = (model, asked.task, asked.data_dir, asked.keep, asked.epochs)
        (rows, course, machine), _ = apart(_lay, *where)
        rounds = []
        for number in range(asked.rounds):
            for side in asked.sides if number % 2 == 0 else reversed(asked.sides):
                rounds.append(_measure(side, where, rows, course, asked.trials))
                print(rounds[-1], flush=True)
    found = {side: _median([one for one in rounds if one.side == side]) for side in asked.sides}
    curves = json.loads(Path(asked.regret).read_text())["regret"] if asked.regret else {}
    full = machine.pop("full_epochs") / asked.epochs
    result = machine | {"sides": {side: asdict(one) for side, one in found.items()}}
    result["seconds_until_near"] = {
        side: until_near(curves[strategy], full * found[side].seconds)
        for side, strategy in STRATEGIES.items()
        if side in found and strategy in curves
    }
    print(json.dumps(result) if asked.json else _table(result), flush=True)


def until_near(curve: dict[str, float], seconds: float) -> float | None:
    """Return the seconds to the first cost with a regret of at most half a point, or None.

    >>> until_near({"6": 1.2, "12": 0.4, "22": 0.1}, 10.0), until_near({"6": 1.2}, 10.0)
    (120.0, None)
    """
    near = [float(cost) for cost, points in curve.items() if points <= NEAR]
    return min(near) * seconds if near else None


def _arguments() -> argparse.Namespace:
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


def _shaped(model: str, hidden: int | None, folder: str) -> str:
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


def _lay(model: str, task: str, data_dir: str, keep: int, epochs: int) -> Any:
    """Return the rows as a user has them, the course of one trial, and the machine in words."""
    from autoprune.evaluation.records import installed_versions
    from autoprune.training.devices import describe_device
    from experiments import ground

    laid = ground(model, task, Path(data_dir), keep, epochs)
    splits, budget = laid.splits, laid.quick
    rows = {
        "train": (splits.train.texts, splits.train.labels),
        "validation": (splits.validation.texts, splits.validation.labels),
    }
    course = trainer_baseline.Course(
        model, keep, epochs, budget.batch, budget.tokens, budget.learning_rate, "dynamic"
    )
    return (
        rows,
        course,
        {
            "date": time.strftime("%Y-%m-%d"),
            "device": describe_device(laid.device),
            "versions": installed_versions(),
            "steps": budget.steps,
            "full_epochs": laid.full.checks,
        },
    )


def _measure(
    side: str, where: Any, rows: Any, course: trainer_baseline.Course, trials: int
) -> Measured:
    if side.startswith("trainer"):
        padding = "example" if side == "trainer-128" else "dynamic"
        theirs = replace(course, padding=padding, bfloat16=side == "trainer-bf16")
        seconds, most = apart(trainer_baseline.search, theirs, rows, 1)
        return Measured(side, statistics.median(seconds), most / 2**20, 1)
    workers = 1 if side == "autoprune-1" else None
    (each, processes, beside), mine = apart(_ours, where, workers, trials)
    return Measured(side, each, (mine + beside) / 2**20, processes)


def _ours(where: Any, workers: int | None, trials: int) -> tuple[float, int, int]:
    """Return seconds per trial, how many processes trained, and the peak of those beside this."""
    from autoprune.layouts.layout import all_layouts
    from autoprune.training.workers import WorkerPool
    from experiments import ground

    model, task, data_dir, keep, epochs = where
    laid = ground(model, task, Path(data_dir), keep, epochs, workers)
    bench = laid.bench(laid.quick)
    layouts = random.Random(0).sample(list(all_layouts(laid.checkpoint.depth, keep)), 64)
    with WorkerPool(laid.workers) as crew:
        brief = replace(bench, budget=replace(bench.budget, steps=4, checks=1))
        for wait in [crew.start(_one, brief, layouts[0]) for _ in range(crew.workers)]:
            wait()  # processes start and warm up
        started = time.perf_counter()
        jobs = [crew.start(_one, bench, layout) for layout in layouts[: trials * crew.workers]]
        peaks = dict(wait() for wait in jobs)
        seconds = (time.perf_counter() - started) / len(jobs)
    beside = sum(most for process, most in peaks.items() if crew.workers > 1)
    return seconds, laid.workers, beside


def _one(bench: Any, layout: Any) -> tuple[int, int]:
    """Measure one layout; return which process did and its peak memory until now."""
    import os

    bench.evaluate(layout, 0)
    return os.getpid(), peak()


def _median(rounds: Sequence[Measured]) -> Measured:
    return replace(
        rounds[0],
        seconds=statistics.median(one.seconds for one in rounds),
        mebibytes=statistics.median(one.mebibytes for one in rounds),
    )


def _table(result: dict[str, Any]) -> str:
    sides = result["sides"]
    lines = [f"{result['date']}, {result['device']}, {result['versions']}, {result['steps']} steps"]
    for side, one in sides.items():
        line = f"{side:12} {one['seconds']:8.1f} s a trial, {one['mebibytes']:6.0f} MiB"
        lines.append(f"{line}, {one['processes']} at a time")
        if side.startswith("autoprune"):
            for other in (name for name in sides if name.startswith("trainer")):
                share = one["seconds"] / sides[other]["seconds"]
                memory = one["mebibytes"] / sides[other]["mebibytes"]
                lines.append(f"{'':12} {share:8.2f} x time, {memory:.2f} x memory of {other}")
    for side, seconds in result["seconds_until_near"].items():
        reached = "not reached in the table" if seconds is None else f"{seconds:.0f} s"
        lines.append(f"{side:12} until within {NEAR} points of the best: {reached}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
