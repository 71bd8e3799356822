"""Rejected proxies: how well they rank layouts and what they cost, as measured before rejection.

    python benchmarks/proxies/rejected_proxies.py MODEL TASK DATA_DIR --keep 6 --study FOLDER

- a supernet, trained with one layout drawn at random in each step, its layers at `--share` of the
  learning rate of what all layouts have in common: its weights as they are, and fine-tuned for one
  epoch for each layout by itself;
- gradients of each untrained layout: their norm, and the sum of the sizes of weight times gradient
  (Lee et al. 2019, https://arxiv.org/abs/1810.02340), kept layers alone;
- how far the loss falls in `--steps` steps.

Each is compared with the table's runs as in `one_shot.py`: Spearman's rank correlation with its 95
% bootstrap interval, on the layouts that have full runs and `--more` drawn at random. Costs are the
processor's time for one layout, in full fine-tunes of `top`; of a supernet's training, in all.
"""

import argparse
import copy
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice, product, repeat
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.pruning import encoder_layers
from autoprune.evaluation.statistics import rank_correlation
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.tokenization import EncodedSplit, collate, shuffled_batches
from autoprune.training.devices import fast_in_bfloat16
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import (
    MAX_GRADIENT_NORM,
    MicroBatcher,
    TrainingClock,
    TrainingState,
    learning_rate_at,
    make_optimizer,
    train,
)
from autoprune.training.one_shot import sample_rows, score_all
from experiments import build_default_experiment
from one_shot import read_trained_scores, run_as_pruned

SEED = 0
SHOWN = 160  # validation rows that a supernet's weights are scored on
BATCH = 64  # train rows that gradients are taken on

Values = dict[Layout, float]


def loss_on(
    model: PreTrainedModel, rows: EncodedSplit, index: np.ndarray, device: torch.device
) -> torch.Tensor:
    """Return the mean loss over a batch, in the arithmetic of a search."""
    batch = {name: values.to(device) for name, values in collate(rows, index).items()}
    labels = batch.pop("labels")
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_in_bfloat16(device)):
        logits = model(**batch).logits
    return nn.functional.cross_entropy(logits.float(), labels)


def train_supernet(
    evaluator: LayoutEvaluator, layouts: Sequence[Layout], share: float, passes: int, seed: int
) -> PreTrainedModel:
    """Train the full model with one layout a step; its layers have `share` of the learning rate."""
    model = evaluator.untrained(Layout.full(layouts[0].depth), seed).train()
    optimizer = make_optimizer(model, evaluator.device)
    inside = {id(weight) for weight in encoder_layers(model).parameters()}
    for group in list(optimizer.param_groups):
        slow = [weight for weight in group["params"] if id(weight) in inside]
        group["params"] = [weight for weight in group["params"] if id(weight) not in inside]
        optimizer.add_param_group(group | {"params": slow, "share": share})
    budget, draw = evaluator.budget, random.Random(seed)
    steps = -(-len(evaluator.rows) // budget.batch) * passes
    rng = np.random.default_rng(seed)
    order = chain.from_iterable(
        shuffled_batches(evaluator.rows.lengths, budget.batch, rng) for _ in repeat(None)
    )
    torch.manual_seed(seed)
    for step, index in enumerate(islice(order, steps)):
        for group in optimizer.param_groups:
            group["lr"] = (
                budget.learning_rate * learning_rate_at(step, steps) * group.get("share", 1.0)
            )
        with run_as_pruned(model, draw.choice(layouts)):
            loss_on(model, evaluator.rows, index, evaluator.device).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def tune_from_supernet(
    evaluator: LayoutEvaluator, net: PreTrainedModel, seed: int, layout: Layout
) -> tuple[float, float]:
    """Return the negative loss and the accuracy of a layout after one epoch from a supernet."""
    rows, validation = replace(evaluator.rows, kept=None), replace(evaluator.validation, kept=None)
    steps = -(-len(rows) // evaluator.budget.batch)
    brief = replace(
        evaluator.budget, steps=steps, checks=1, learning_rate=evaluator.budget.learning_rate / 2
    )
    begun = replace(
        evaluator, load=lambda _: copy.deepcopy(net), rows=rows, validation=validation, budget=brief
    )
    score = begun.evaluate(layout, seed)
    return -score.loss, score.quality


def gradients(evaluator: LayoutEvaluator, layout: Layout) -> tuple[float, float]:
    """Return the norm of the kept layers' gradients and the sum of |weight times gradient|."""
    model = evaluator.untrained(layout, SEED).eval()
    rows = sample_rows(evaluator.rows, BATCH, SEED)
    loss_on(model, rows, np.arange(len(rows)), evaluator.device).backward()
    pairs = [(w, w.grad) for w in encoder_layers(model).parameters() if w.grad is not None]
    norm = sum(float((grad**2).sum()) for _, grad in pairs) ** 0.5
    return norm, sum(float((weight.detach() * grad).abs().sum()) for weight, grad in pairs)


def loss_decrease(evaluator: LayoutEvaluator, layout: Layout, steps: int) -> float:
    """Return the decrease of the loss on some train rows after a few steps on them."""
    model = evaluator.untrained(layout, SEED)
    rows = sample_rows(evaluator.rows, BATCH, SEED)
    everything = np.arange(len(rows))
    with torch.no_grad():
        before = float(loss_on(model.eval(), rows, everything, evaluator.device))
    budget = replace(evaluator.budget, steps=steps, batch=BATCH, checks=1)
    state = TrainingState(
        model, make_optimizer(model, evaluator.device), MicroBatcher(BATCH), TrainingClock()
    )
    for _ in train(state, rows, evaluator.loss, budget, SEED, evaluator.device):
        pass
    with torch.no_grad():
        return before - float(loss_on(model.eval(), rows, everything, evaluator.device))


def print_ranking(study: Path, name: str, values: Values, cost: str) -> None:
    """Print the rank correlation of a proxy with the runs of the layouts."""
    for file, column, sign in (
        ("quick.csv", "validation_loss", -1),
        ("quick.csv", "validation_accuracy", 1),
        ("full.csv", "validation_accuracy", 1),
    ):
        reached = {
            Layout.parse(text): value
            for text, value in read_trained_scores(study / file, column).items()
        }
        both = [layout for layout in values if layout in reached]
        found = rank_correlation(
            [values[layout] for layout in both], [sign * reached[layout] for layout in both]
        )
        print(f"{name:34} {file[:-4]:5} {column[11:]:8} {len(both):4} layouts  {found}  {cost}")


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.3])
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[SEED], help="of supernets")
    parser.add_argument("--supernets-alone", action="store_true")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--more", type=int, default=140)
    arguments = parser.parse_args()

    experiment = build_default_experiment(
        arguments.model, arguments.task, Path(arguments.data_dir), arguments.keep
    )
    torch.set_num_threads(1)
    evaluator, layouts = (
        experiment.evaluator(experiment.quick),
        all_layouts(experiment.checkpoint.depth, arguments.keep),
    )
    full_runs = read_trained_scores(arguments.study / "full.csv", "validation_accuracy")
    with_full_runs = [layout for layout in layouts if str(layout) in full_runs]
    others = [layout for layout in layouts if str(layout) not in full_runs]
    sample = with_full_runs + random.Random(SEED).sample(others, arguments.more)

    evaluator.evaluate(experiment.strategies["top"], SEED)
    started = time.process_time()
    evaluator.evaluate(experiment.strategies["top"], SEED)
    full = (time.process_time() - started) * experiment.full.steps / experiment.quick.steps
    print(f"{time.strftime('%Y-%m-%d')}: a full fine-tune takes {full:.1f} s", flush=True)

    def timed(
        ask: Callable[[Layout], tuple[float, ...]], these: Sequence[Layout], *names: str
    ) -> None:
        started = time.process_time()
        found = {layout: ask(layout) for layout in these}
        each = (time.process_time() - started) / len(these) / full
        for index, name in enumerate(names):
            values = {layout: value[index] for layout, value in found.items()}
            print_ranking(
                arguments.study, name, values, f"{each:.4f} each, {each * len(layouts):.1f} for all"
            )

    if not arguments.supernets_alone:
        timed(partial(gradients, evaluator), sample, "norm of gradients", "|weight x gradient|")
        timed(
            lambda layout: (loss_decrease(evaluator, layout, arguments.steps),),
            sample,
            f"fall in {arguments.steps} steps",
        )
    rows = sample_rows(evaluator.validation, SHOWN, SEED)
    for share, seed in product(arguments.shares, arguments.seeds):
        started = time.process_time()
        net = train_supernet(evaluator, layouts, share, arguments.passes, seed)
        trained_for = (time.process_time() - started) / full
        started = time.process_time()
        scores = score_all(
            net, layouts, rows, evaluator.budget.batch, evaluator.device, evaluator.problem_type
        ).scores
        whole = trained_for + (time.process_time() - started) / full
        mean = np.mean([score.accuracy for score in scores])
        name, cost = f"supernet {seed}, layers at {share:g}", f"{whole:.1f} for all"
        print(f"{name}: {100 * mean:.1f} % on average, trained for {trained_for:.1f}", flush=True)
        print_ranking(
            arguments.study, f"{name}: loss", {score.layout: -score.loss for score in scores}, cost
        )
        print_ranking(
            arguments.study,
            f"{name}: accuracy",
            {score.layout: score.accuracy or 0.0 for score in scores},
            cost,
        )
        timed(
            partial(tune_from_supernet, evaluator, net, seed),
            with_full_runs,
            f"{name}, tuned: loss",
            f"{name}, tuned: accuracy",
        )


if __name__ == "__main__":
    main()
