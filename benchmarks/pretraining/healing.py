r"""Healing: a pruned encoder pre-trained a little on texts, then fine-tuned, against not doing so.

    python benchmarks/pretraining/healing.py MODEL TASK DATA_DIR CORPUS --out FILE
        [--layouts 12:0-2 12:0-5] [--tokens 600000] [--rates 2e-4] [--epochs 2 4] [--seeds 0]

The first `--lines` lines of CORPUS are read. Fine-tuning has `--fine-tuning-rate`; scores are of
the validation split. One JSON line for each run is appended to FILE; runs that it has are not
repeated. `--keep FOLDER` holds the healed models, so that they are made once.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch

from autoprune.layouts.layout import Layout
from autoprune.pretraining.config import GivenEncoder, PretrainingConfig, PretrainingSchedule
from autoprune.pretraining.run import PretrainingProgress, pretrain_model
from autoprune.training.devices import describe_device
from autoprune.training.workers import available_cores

sys.path.append(str(Path(__file__).parents[1]))
from experiments import build_default_experiment

KEY = ("layout", "healing_tokens", "healing_rate", "epochs", "seed")  # what tells two runs apart


def heal(arguments: argparse.Namespace, layout: str, rate: float) -> Path:
    """Return the folder of the healed model, which is made where it is not there."""
    folder: Path = arguments.keep / f"{layout.replace(':', '-')}_{arguments.tokens}_{rate:g}"
    texts = arguments.keep / f"texts-{arguments.lines}.txt"
    if folder.exists():
        return folder
    if not texts.exists():
        with arguments.corpus.open(encoding="utf-8") as lines:
            texts.write_text("".join(islice(lines, arguments.lines)), encoding="utf-8")
    config = PretrainingConfig(
        corpus=(texts,),
        out=folder,
        encoder=GivenEncoder(arguments.model, Layout.parse(layout), 64),
        schedule=PretrainingSchedule(32, rate, 0, None, arguments.tokens),
    )
    started = time.process_time()
    result = pretrain_model(config, PretrainingProgress())
    line = {
        "healed": layout,
        "healing_tokens": arguments.tokens,
        "healing_rate": rate,
        "perplexity_before": result.perplexity_before and round(result.perplexity_before, 1),
        "perplexity": result.perplexity and round(result.perplexity, 1),
        "seconds": round(time.process_time() - started, 1),
    }
    append(arguments.out, line)
    return folder


def fine_tune(
    arguments: argparse.Namespace, model: str, layout: str | None, epochs: int, seed: int
) -> dict[str, Any]:
    """Fine-tune a layout of `model`, None: the whole of it. `seconds` are processor time."""
    experiment = build_default_experiment(
        model, arguments.task, arguments.data_dir, keep=1, epochs=epochs
    )
    kept = Layout.full(experiment.depth) if layout is None else Layout.parse(layout)
    budget = replace(experiment.quick, learning_rate=arguments.fine_tuning_rate)
    started = time.process_time()
    score = experiment.evaluator(budget).evaluate(kept, seed)
    return {
        "accuracy": round(score.quality, 5),
        "loss": round(score.loss, 5),
        "seconds": round(time.process_time() - started, 1),
        "device": describe_device(experiment.device),
    }


def append(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON line to a file, and print it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def read_done(path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the keys of the runs in the file; none where there is no file."""
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            for run in map(json.loads, lines):
                if "epochs" in run:
                    yield tuple(run[field] for field in KEY)


def main() -> None:
    """Do the runs that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, default=Path("healed"))
    parser.add_argument("--layouts", nargs="+", default=["12:0-2", "12:0-5"])
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--lines", type=int, default=30_000)
    parser.add_argument("--rates", nargs="+", type=float, default=[2e-4])
    parser.add_argument("--epochs", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--fine-tuning-rate", type=float, default=2e-4)
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(available_cores())
    done = {*read_done(arguments.out)}
    for layout, seed, epochs in product(arguments.layouts, arguments.seeds, arguments.epochs):
        for rate in (None, *arguments.rates):
            tokens = 0 if rate is None else arguments.tokens
            key = (layout, tokens, rate, epochs, seed)
            if key in done:
                continue
            if rate is None:
                measured = fine_tune(arguments, arguments.model, layout, epochs, seed)
            else:
                folder = heal(arguments, layout, rate)
                measured = fine_tune(arguments, str(folder), None, epochs, seed)
            append(arguments.out, dict(zip(KEY, key, strict=True)) | measured)


if __name__ == "__main__":
    main()
