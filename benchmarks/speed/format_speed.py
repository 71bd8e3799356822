"""Print what each format of a pruned model gains over the full model in torch, and what it loses.

    python benchmarks/speed/format_speed.py [MODEL] [TASK] [DATA_DIR] [--layout L] [--threads N]

Defaults to the built-in model and task. A layout is fine-tuned and exported in all formats through
the gate; with --trim its vocabulary is cut before. The full model and all formats run in turn on
the test rows, in batches of 32 in the order of the file, and some rows one by one: medians of wall
time with 95 % intervals.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is loaded, as the command does

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.profiling import Classifier, measure_in_turns, median_interval
from autoprune.encoders.pruning import keep_layers, restore_embeddings
from autoprune.evaluation.records import installed_versions
from autoprune.experiment.setup import Experiment
from autoprune.export.export import save_model
from autoprune.export.formats import MODEL_FORMATS, files_of_format, find_formats, predict_rows
from autoprune.export.gate import GateRows, add_formats
from autoprune.export.predict import TokenTensors, make_tokenizer
from autoprune.export.trim_vocabulary import cut_vocabulary
from autoprune.layouts.layout import Layout
from autoprune.training.metrics import METRICS
from experiments import build_default_experiment

KEEP, BATCH, SEED = 6, 32, 1
FULL = "full, torch"

Run = Callable[[TokenTensors], NDArray[np.float32]]


def export(
    experiment: Experiment, layout: Layout, epochs: int, trim: bool, folder: Path
) -> tuple[str, ...]:
    """Fine-tune the layout and save it in all formats in `folder`; return what was refused."""
    budget = experiment.full
    if epochs:
        rows = len(experiment.splits.train)
        budget = replace(budget, steps=-(-rows // budget.batch) * epochs)
    evaluator, splits = experiment.evaluator(budget), experiment.splits
    trained = evaluator.train(layout, SEED).model
    model = load_classifier(experiment.checkpoint, splits.names, SEED)
    keep_layers(model, layout)
    weights = {name: weight.numpy() for name, weight in trained.state_dict().items()}
    restore_embeddings(model, weights, experiment.inputs.train.kept)
    tokenizer = load_tokenizer(experiment.checkpoint)
    if trim:
        cut, _ = cut_vocabulary(model, tokenizer, splits, experiment.test, [])
        tokenizer = cut.tokenizer
    tokenizer.model_max_length, tokenizer.padding_side = experiment.full.tokens, "right"
    save_model(model.eval(), tokenizer, folder)
    validation = splits.validation
    labels = evaluator.validation.labels
    rows_of_gate = GateRows(
        replace(validation, texts=validation.texts[:64], labels=validation.labels[:64]),
        splits.train,
        validation,
        labels,
        evaluator.problem_type,
        evaluator.metric,
        max_drop=1.0,
    )
    result = add_formats(folder, list(MODEL_FORMATS), rows_of_gate)
    for note in (*result.notes.values(), *result.refused):
        print(note, file=sys.stderr)
    return result.refused


def measure(
    runs: dict[str, Run], batches: Sequence[TokenTensors], single: Sequence[TokenTensors], most: int
) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each model over all batches and over the single rows in each round."""

    def each(run: Run, rows: Sequence[TokenTensors]) -> None:
        for tokens in rows:
            run(tokens)

    calls = {(name, "batches"): partial(each, run, batches) for name, run in runs.items()}
    calls |= {(name, "single"): partial(each, run, single) for name, run in runs.items()}
    return measure_in_turns(calls, most)


def result(experiment: Experiment, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, export and measure; return plain values, times in seconds."""
    layout = Layout.parse(arguments.layout) if arguments.layout else experiment.strategies["top"]
    evaluator, test = experiment.evaluator(experiment.full), experiment.test
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refused = export(experiment, layout, arguments.epochs, arguments.trim, folder)
        torch.set_num_threads(arguments.threads)
        files = find_formats(folder)
        runs: dict[str, Run] = {
            FULL: Classifier(
                load_classifier(experiment.checkpoint, experiment.splits.names, SEED).eval(),
                torch.device("cpu"),
            )
        }
        runs |= {format: MODEL_FORMATS[format].opener(file) for format, file in files.items()}
        tokenize, full_tokens = make_tokenizer(folder), make_tokenizer(experiment.checkpoint.folder)
        texts = test.rows.texts[: arguments.rows]
        kept, labels = np.array(test.kept), np.array(test.rows.labels)
        quality = {
            format: METRICS[evaluator.metric].quality(
                labels[kept],
                evaluator.problem_type.predict(predict_rows(runs[format], folder, test.rows))[kept],
            )
            for format in files
        }
        sizes = {
            format: sum(path.stat().st_size for path in files_of_format(file))
            for format, file in files.items()
        }
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        batches, single = (
            [tokenize(part) for part in parts],
            [tokenize([text]) for text in texts[:8]],
        )
        full_batches = [full_tokens(part) for part in parts]
    full_run = runs[FULL]
    by_size = {id(tokens): full for tokens, full in zip(batches, full_batches, strict=True)}
    runs[FULL] = lambda tokens: full_run(by_size.get(id(tokens), tokens))
    if arguments.trim:  # its token numbers are others
        alone = {
            id(tokens): full_tokens([text]) for tokens, text in zip(single, texts, strict=False)
        }
        by_size |= alone
    wall = measure(runs, batches, single, arguments.rounds)
    first = {part: wall[FULL, part] for part in ("batches", "single")}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()} {torch.cpu.get_capabilities().get('cpu_name', '')}",
        "versions": {
            **installed_versions(),
            **{name: version(name) for name in ("onnxruntime", "openvino", "nncf")},
        },
        "model": experiment.model,
        "task": experiment.task.name,
        "layout": str(layout),
        "trimmed": arguments.trim,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "texts": len(texts),
        "refused": refused,
        "formats": {
            name: {
                "texts_per_second": asdict(
                    median_interval([len(texts) / spent for spent in wall[name, "batches"]])
                ),
                "milliseconds_of_one_text": asdict(
                    median_interval([1000 * spent / len(single) for spent in wall[name, "single"]])
                ),
                **{
                    gain: asdict(
                        median_interval(
                            [
                                slow / fast
                                for slow, fast in zip(first[part], wall[name, part], strict=True)
                            ]
                        )
                    )
                    for gain, part in (("gain", "batches"), ("gain_of_one_text", "single"))
                },
                "test": quality.get(name),
                "bytes": sizes.get(name),
            }
            for name in runs
        },
    }


def main() -> None:
    """Read the arguments and print the result as JSON."""
    parser = argparse.ArgumentParser(description="How fast is each format of an export?")
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--layout", help="such as 12:0-3,8,10; top by default")
    parser.add_argument("--epochs", type=int, default=0, help="passes of training")
    parser.add_argument("--trim", action="store_true", help="cut the vocabulary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=320, help="test rows that are timed")
    arguments = parser.parse_args()
    experiment = build_default_experiment(
        arguments.model, arguments.task, arguments.data_dir, KEEP, device="cpu"
    )
    print(json.dumps(result(experiment, arguments)))


if __name__ == "__main__":
    main()
