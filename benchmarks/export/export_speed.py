"""Print the speed of a model with six layers in torch, ONNX and 8 bits, and the loss of 8 bits.

    python benchmarks/export/export_speed.py [MODEL] [TASK] [DATA_DIR] [--threads N] [--rounds N]

Defaults to the built-in model and task. The layers that `top` keeps are fine-tuned to the full
budget and exported; then all run in turn on the test rows in batches of 32, in the order of the
file. Medians of wall time and of processor time, with 95 % intervals.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.config import silence_libraries
from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.profiling import (
    Classifier,
    MedianInterval,
    measure_in_turns,
    median_interval,
    open_classifier,
)
from autoprune.encoders.pruning import keep_layers, restore_embeddings
from autoprune.encoders.registry import Encoder
from autoprune.evaluation.records import installed_versions
from autoprune.experiment.setup import Experiment
from autoprune.export.onnx import export_onnx, open_onnx_model
from autoprune.export.predict import TokenTensors, make_tokenizer
from experiments import build_default_experiment

KEEP, BATCH, SEED = 6, 32, 1
FULL, SIX, ONNX, INT8 = "full", f"{KEEP} layers", f"{KEEP} layers, ONNX", f"{KEEP} layers, int8"
# What is divided by what, and the least that it should be.
GAINS = ((SIX, FULL, 1.7), (ONNX, SIX, 1.5), (INT8, ONNX, 1.3))
CPU = torch.device("cpu")

Run = Callable[[TokenTensors], NDArray[np.float32]]


def export(experiment: Experiment, folder: Path) -> None:
    """Fine-tune the six lowest layers and save them, with their ONNX files, in `folder`."""
    layout = experiment.strategies["top"]
    trained = experiment.evaluator(experiment.full).train(layout, SEED).model
    model = load_classifier(experiment.checkpoint, experiment.splits.names, SEED)
    keep_layers(model, layout)
    weights = {name: weight.numpy() for name, weight in trained.state_dict().items()}
    restore_embeddings(model, weights, experiment.inputs.train.kept)
    tokenizer = load_tokenizer(experiment.checkpoint)
    tokenizer.model_max_length = experiment.full.tokens
    with silence_libraries():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    export_onnx(folder, experiment.splits.validation.texts, int8=True)


def open_models(experiment: Experiment, folder: Path) -> dict[str, Run]:
    """Return the models by name; the full model's weights do not change its speed."""
    full = load_classifier(experiment.checkpoint, experiment.splits.names, SEED)
    six = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    return {
        FULL: Classifier(full, CPU),
        SIX: open_classifier(six, CPU),
        ONNX: open_onnx_model(folder / "model.onnx"),
        INT8: open_onnx_model(folder / "model-int8.onnx"),
    }


def measure(
    runs: dict[str, Run], batches: Sequence[TokenTensors], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the wall and the processor seconds of each run over all batches in each round."""
    busy: dict[str, list[float]] = {name: [] for name in runs}

    def each(name: str) -> None:
        started = time.process_time()
        for tokens in batches:
            runs[name](tokens)
        busy[name].append(time.process_time() - started)

    wall = measure_in_turns({name: partial(each, name) for name in runs}, rounds)
    return wall, {name: seconds[-rounds:] for name, seconds in busy.items()}


def accuracies(
    runs: dict[str, Run], batches: Sequence[TokenTensors], experiment: Experiment
) -> dict[str, float]:
    """Return the shares of right answers on the cleaned test rows; the full model has no head."""
    kept, labels = np.array(experiment.test.kept), np.array(experiment.test.rows.labels)
    found = {}
    for name in (SIX, ONNX, INT8):
        answers = np.concatenate([runs[name](tokens).argmax(-1) for tokens in batches])
        found[name] = float((answers == labels)[kept].mean())
    return found


def speed_up(upper: Sequence[float], lower: Sequence[float]) -> MedianInterval:
    """Return the median over rounds of how many times faster `upper` is than `lower`."""
    return median_interval([slow / fast for fast, slow in zip(upper, lower, strict=True)])


def result(experiment: Experiment, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, export and measure; return plain values, times in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(experiment, folder)
        torch.set_num_threads(arguments.threads)
        runs, tokenise = open_models(experiment, folder), make_tokenizer(folder)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("model*"))}
    texts = experiment.test.rows.texts
    batches = [tokenise(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    wall, busy = measure(runs, batches, arguments.rounds)
    right = accuracies(runs, batches, experiment)
    masks = np.concatenate([tokens["attention_mask"].ravel() for tokens in batches])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()} {torch.cpu.get_capabilities().get('cpu_name', '')}",
        "versions": {**installed_versions(), "onnxruntime": version("onnxruntime")},
        "model": experiment.model,
        "task": experiment.task.name,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "texts": len(texts),
        "padding": 1 - float(masks.mean()),
        "bytes": sizes,
        "texts_per_second": {
            name: asdict(median_interval([len(texts) / spent for spent in wall[name]]))
            for name in runs
        },
        "gains": [
            {
                "of": upper,
                "over": lower,
                "least": least,
                "wall": asdict(speed_up(wall[upper], wall[lower])),
                "processor": asdict(speed_up(busy[upper], busy[lower])),
            }
            for upper, lower, least in GAINS
        ],
        "accuracy": right,
        "points_lost": {name: 100 * (right[SIX] - right[name]) for name in (ONNX, INT8)},
    }


def print_text(found: dict[str, Any]) -> None:
    """Print the result for people."""
    print(f"{found['date']}, {found['machine']}, {found['threads']} threads, {found['versions']}")
    print(
        f"{found['model']} on {found['task']}: {found['texts']} test texts in batches of {BATCH}, "
        f"{found['padding']:.0%} of the places padding, {found['rounds']} rounds in turn"
    )
    for name, speed in found["texts_per_second"].items():
        right = f", accuracy {found['accuracy'][name]:.1%}" if name in found["accuracy"] else ""
        print(f"{name:15} {interval(speed, ',.0f')} texts a second{right}")
    for gain in found["gains"]:
        print(
            f"{gain['of']} over {gain['over']}: {interval(gain['wall'], '.2f')} times, by "
            f"processor time {interval(gain['processor'], '.2f')} (wanted: {gain['least']})"
        )
    for name, points in found["points_lost"].items():
        print(f"{name}: {points:+.2f} points lost")
    print(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in found["bytes"].items()))


def interval(value: dict[str, float], digits: str) -> str:
    """Write a median with its 95 % interval."""
    median, low, high = (format(value[name], digits) for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def main() -> None:
    """Read the arguments and print the result."""
    parser = argparse.ArgumentParser(description="How fast is an export of six layers?")
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    # A second thread gains a narrow model little, and on a busy machine it costs torch most.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    experiment = build_default_experiment(
        arguments.model, arguments.task, arguments.data_dir, KEEP, device="cpu"
    )
    if experiment.test.rows.pairs is not None:
        parser.error("this is for tasks of one text a row")
    found = result(experiment, arguments)
    if arguments.json:
        print(json.dumps(found))
    else:
        print_text(found)


if __name__ == "__main__":
    main()
