r"""Head start: start and learning rate of the new head, for better scores of quick runs.

    python benchmarks/search/head_start.py MODEL TASK DATA_DIR --layouts top 0-3,8,10 \
        --variants drawn rate=10 pooler=scaled+head=fitted+rate=3 --out FILE
    ... --seeds 0 1 --epochs 1          other seeds, shorter runs with a schedule of their own
    ... --rank 0-3,8,10=84.0 top=82.0   no training: table, and rank agreement with these figures

Only the train and validation splits are read. One JSON line for each run is appended to FILE; runs
that it has are not repeated. After Ctrl-C or a kill the same command resumes.

A variant is `drawn` (as transformers draws the head), or parts joined by `+`:

    rate=R           the learning rate of pooler and classifier is R times that of the layers
    pooler=identity  the pooler's weight is the identity, its bias 0
    pooler=centred   the drawn weight; the bias makes the mean of the train rows 0
    pooler=scaled    a diagonal weight and a bias give the train rows mean 0 and deviation 0.5
    head=zero        the classifier's weight and bias are 0
    head=fitted      the classifier is a logistic regression on the untrained layout's pooled states
    rows=N           these statistics and fits see N train rows, not all
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from transformers import PreTrainedModel

from autoprune.encoders.pruning import head_parameters
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches
from autoprune.training.devices import describe_device, mixed_precision
from autoprune.training.loop import (
    WEIGHT_DECAY,
    MicroBatcher,
    TrainingClock,
    TrainingState,
    evaluation_steps,
    load_batch,
    predict_logits,
    train,
)

sys.path.append(str(Path(__file__).parents[1]))
from experiments import build_default_experiment

KEY = ("layout", "variant", "seed", "epochs", "learning_rate")  # what tells two runs apart

POOLED_DEVIATION = 0.5  # tanh is nearly linear there
INVERSE_L2 = (
    0.1  # scikit-learn's C: of 0.01, 0.1, 1 the best on validation, untrained top and bottom
)


@dataclass(frozen=True, slots=True)
class Variant:
    """How the head starts and at which rate it learns; see the module's docstring."""

    rate: float = 1.0
    pooler: str = "drawn"
    head: str = "drawn"
    rows: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Read the form that the command line takes."""
        if text == "drawn":
            return cls()
        values = dict(part.split("=") for part in text.split("+"))
        return cls(
            rate=float(values.get("rate", 1)),
            pooler=values.get("pooler", "drawn"),
            head=values.get("head", "drawn"),
            rows=int(values["rows"]) if "rows" in values else None,
        )


class HeadRateAdamW(torch.optim.AdamW):  # type: ignore[misc]
    """AdamW in which a group's rate, which the loop sets before each step, is times `scale`."""

    def step(self, closure: Any = None) -> Any:
        """Do a step."""
        for group in self.param_groups:
            group["lr"] *= group["scale"]
        return super().step(closure)


def make_scaled_optimizer(model: PreTrainedModel, rate: float) -> HeadRateAdamW:
    """Return autoprune's optimizer, with `rate` times the learning rate for pooler and head."""
    head = head_parameters(model)
    groups = [
        {
            "params": [
                weight
                for name, weight in model.named_parameters()
                if (name in head) == new and (weight.ndim >= 2) == matrix
            ],
            "weight_decay": WEIGHT_DECAY if matrix else 0.0,
            "scale": rate if new else 1.0,
        }
        for new in (False, True)
        for matrix in (True, False)
    ]
    return HeadRateAdamW(groups, fused=True)


def prepare_head(
    model: PreTrainedModel, split: EncodedSplit, variant: Variant, device: torch.device
) -> None:
    """Change pooler and classifier of a BERT classifier in place, before training."""
    bert: Any = model
    pooler, classifier = bert.base_model.pooler.dense, bert.classifier
    with torch.no_grad():
        if variant.pooler == "identity":
            pooler.weight.copy_(torch.eye(len(pooler.bias)))
            pooler.bias.zero_()
        if variant.pooler in ("centred", "scaled") or variant.head == "fitted":
            order = np.random.default_rng(0).permutation(len(split))[: variant.rows]
            states = first_states(model, split, order, device)
            mean, deviation = states.mean(0), states.std(0) + 1e-6
            if variant.pooler == "centred":
                pooler.bias.copy_(-pooler.weight @ mean)
            if variant.pooler == "scaled":
                pooler.weight.copy_(torch.diag(POOLED_DEVIATION / deviation))
                pooler.bias.copy_(-POOLED_DEVIATION * mean / deviation)
        if variant.head == "zero":
            classifier.weight.zero_()
            classifier.bias.zero_()
        if variant.head == "fitted":
            pooled = torch.tanh(pooler(states)).numpy().astype(np.float64)
            fit = LogisticRegression(C=INVERSE_L2, max_iter=200).fit(pooled, split.labels[order])
            assert len(fit.classes_) == len(classifier.bias), "a class has no rows"
            classifier.weight.copy_(torch.from_numpy(fit.coef_))
            classifier.bias.copy_(torch.from_numpy(fit.intercept_))


def first_states(
    model: PreTrainedModel, split: EncodedSplit, rows: NDArray[np.int64], device: torch.device
) -> torch.Tensor:
    """Return the untrained encoder's states of the first token, (rows, hidden), without dropout."""
    model.eval()
    states = torch.empty(len(rows), model.config.hidden_size)
    for part in length_sorted_batches(split.lengths[rows], 32):
        batch = load_batch(split, rows[part], device)
        with torch.inference_mode(), mixed_precision(model, device):
            output = model.base_model(**batch.inputs).last_hidden_state[:, 0]
        states[torch.from_numpy(part)] = output.float().cpu()
    return states


def measure(
    experiment: Experiment, layout: str, variant: str, seed: int, rate: float
) -> dict[str, Any]:
    """Train one run; return what its JSON line holds. `seconds` are processor time."""
    budget = replace(experiment.quick, learning_rate=rate)
    evaluator, parsed = experiment.evaluator(budget), Variant.parse(variant)
    kept = _layout(layout, experiment.depth, experiment.keep)
    model = evaluator.untrained(kept, seed)
    started = time.process_time()
    prepare_head(model, experiment.inputs.train, parsed, experiment.device)
    start_seconds = time.process_time() - started
    batcher = MicroBatcher(budget.batch)
    optimizer = make_scaled_optimizer(model, parsed.rate)
    state = TrainingState(model, optimizer, batcher, TrainingClock())
    checks = [_check(experiment, state, seed)] if parsed.head == "fitted" else []
    seconds, started = 0.0, time.process_time()
    split, device = experiment.inputs.train, experiment.device
    for step in train(state, split, evaluator.loss, budget, seed, device):
        if step in evaluation_steps(budget):
            seconds += time.process_time() - started
            checks.append(_check(experiment, state, seed))
            started = time.process_time()
    return {
        "layout": str(kept),
        "variant": variant,
        "seed": seed,
        "epochs": experiment.config.budget.epochs,
        "learning_rate": rate,
        "accuracy": checks[-1]["accuracy"],
        "loss": checks[-1]["loss"],
        "checks": checks,
        "start_seconds": round(start_seconds, 1),
        "seconds": round(seconds, 1),
        "device": describe_device(experiment.device),
    }


def _check(experiment: Experiment, state: TrainingState, seed: int) -> dict[str, Any]:
    validation = experiment.inputs.validation
    logits = predict_logits(state.model, validation, experiment.device, state.micro_batcher)
    score = experiment.problem_type.score(
        logits, validation.labels, "accuracy", "validation", seed, 0.0
    )
    return {
        "step": state.steps,
        "accuracy": round(score.quality, 5),
        "loss": round(score.loss, 5),
    }


def _layout(text: str, depth: int, keep: int) -> Layout:
    if text in STRATEGIES:
        return STRATEGIES[text](depth, keep)
    return Layout.parse(text if ":" in text else f"{depth}:{text}")


def read_runs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the runs of the file; none where there is no file."""
    if path.exists():
        with path.open() as lines:
            yield from map(json.loads, lines)


def show_table(runs: Sequence[dict[str, Any]], truth: dict[str, float]) -> None:
    """Print each variant's validation accuracy and loss, and Spearman's rho with `truth`.

    A layout's figure is the mean over its seeds; loss enters with its sign changed.
    """
    settings = sorted({(run["epochs"], run["learning_rate"], run["variant"]) for run in runs})
    for setting in settings:
        print(f"{setting[0]} epochs at {setting[1]}, {setting[2]}")
        means = {}
        for layout in truth:
            mine = [
                run
                for run in runs
                if (run["epochs"], run["learning_rate"], run["variant"]) == setting
                and run["layout"] == layout
            ]
            if mine:
                accuracy, loss = np.mean([(run["accuracy"], run["loss"]) for run in mine], axis=0)
                means[layout] = (accuracy, -loss)
                print(f"  {layout:18} {100 * accuracy:5.1f} {loss:.3f}  seeds {len(mine)}")
        if len(means) > 3:
            known = [truth[layout] for layout in means]
            ranks = [
                spearmanr(known, values).statistic for values in zip(*means.values(), strict=True)
            ]
            print(f"  rank agreement: accuracy {ranks[0]:+.2f}, loss {ranks[1]:+.2f}")


def main() -> None:
    """Do the runs that the file lacks, or show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--keep", type=int, default=6)
    parser.add_argument("--layouts", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--variants", nargs="+", default=["drawn"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", nargs="+")
    arguments = parser.parse_args()

    experiment = build_default_experiment(
        arguments.model, arguments.task, arguments.data_dir, arguments.keep, arguments.epochs
    )
    if arguments.rank:
        truth = {}
        for entry in arguments.rank:
            name, _, figure = entry.partition("=")
            truth[str(_layout(name, experiment.depth, arguments.keep))] = float(figure)
        show_table(list(read_runs(arguments.out)), truth)
        return
    layouts = [str(_layout(name, experiment.depth, arguments.keep)) for name in arguments.layouts]
    done = {tuple(run[field] for field in KEY) for run in read_runs(arguments.out)}
    rate = arguments.learning_rate
    for seed, variant, layout in product(arguments.seeds, arguments.variants, layouts):
        if (layout, variant, seed, arguments.epochs, rate) in done:
            continue
        run = measure(experiment, layout, variant, seed, rate)
        with arguments.out.open("a") as out:
            out.write(json.dumps(run) + "\n")
        print(f"{layout} {variant} seed {seed} {run['accuracy']} {run['seconds']} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.nice(19)
    main()
