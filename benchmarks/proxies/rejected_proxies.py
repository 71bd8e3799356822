"""Measure cheap scores that were tried and are not in the product: what they rank, what they cost.

    python benchmarks/proxies/rejected_proxies.py MODEL TASK DATA_DIR --keep 6 --study FOLDER

- a supernet, trained with one layout drawn at random in each step, its layers at `--share` of the
  learning rate of what all layouts have in common: its weights as they are, and tuned shortly (one
  pass) for each layout by itself;
- gradients of each untrained layout: their norm, and the sum of the sizes of weight times gradient
  (Lee et al. 2019, https://arxiv.org/abs/1810.02340), kept layers alone;
- how far the loss falls in `--steps` steps.

Each is held against the table's runs as `one_shot.py` does: Spearman's rank correlation with its 95
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

from autoprune.encoders.layerwise import run_as_pruned
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
from experiments import ground
from one_shot import trained

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


def supernet(
    bench: LayoutEvaluator, layouts: Sequence[Layout], share: float, passes: int, seed: int
) -> PreTrainedModel:
    """Train the full model by one layout a step; its layers learn at `share` of the rate."""
    model = bench.untrained(Layout.full(layouts[0].depth), seed).train()
    optimizer = make_optimizer(model, bench.device)
    inside = {id(weight) for weight in encoder_layers(model).parameters()}
    for group in list(optimizer.param_groups):
        slow = [weight for weight in group["params"] if id(weight) in inside]
        group["params"] = [weight for weight in group["params"] if id(weight) not in inside]
        optimizer.add_param_group(group | {"params": slow, "share": share})
    budget, draw = bench.budget, random.Random(seed)
    steps = -(-len(bench.rows) // budget.batch) * passes
    rng = np.random.default_rng(seed)
    order = chain.from_iterable(
        shuffled_batches(bench.rows.lengths, budget.batch, rng) for _ in repeat(None)
    )
    torch.manual_seed(seed)
    for step, index in enumerate(islice(order, steps)):
        for group in optimizer.param_groups:
            group["lr"] = (
                budget.learning_rate * learning_rate_at(step, steps) * group.get("share", 1.0)
            )
        with run_as_pruned(model, draw.choice(layouts)):
            loss_on(model, bench.rows, index, bench.device).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


def tuned(
    bench: LayoutEvaluator, net: PreTrainedModel, seed: int, layout: Layout
) -> tuple[float, float]:
    """Return loss (its sign turned) and accuracy of a layout after one pass from a supernet."""
    rows, validation = replace(bench.rows, kept=None), replace(bench.validation, kept=None)
    steps = -(-len(rows) // bench.budget.batch)
    brief = replace(
        bench.budget, steps=steps, checks=1, learning_rate=bench.budget.learning_rate / 2
    )
    begun = replace(
        bench, load=lambda _: copy.deepcopy(net), rows=rows, validation=validation, budget=brief
    )
    score = begun.evaluate(layout, seed)
    return -score.loss, score.quality


def gradients(bench: LayoutEvaluator, layout: Layout) -> tuple[float, float]:
    """Return the norm of the kept layers' gradients and the sum of |weight times gradient|."""
    model = bench.untrained(layout, SEED).eval()
    rows = sample_rows(bench.rows, BATCH, SEED)
    loss_on(model, rows, np.arange(len(rows)), bench.device).backward()
    pairs = [(w, w.grad) for w in encoder_layers(model).parameters() if w.grad is not None]
    norm = sum(float((grad**2).sum()) for _, grad in pairs) ** 0.5
    return norm, sum(float((weight.detach() * grad).abs().sum()) for weight, grad in pairs)


def fall(bench: LayoutEvaluator, layout: Layout, steps: int) -> float:
    """Return how far the loss on some train rows falls in a few steps on them."""
    model = bench.untrained(layout, SEED)
    rows = sample_rows(bench.rows, BATCH, SEED)
    everything = np.arange(len(rows))
    with torch.no_grad():
        before = float(loss_on(model.eval(), rows, everything, bench.device))
    budget = replace(bench.budget, steps=steps, batch=BATCH, checks=1)
    course = TrainingState(
        model, make_optimizer(model, bench.device), MicroBatcher(BATCH), TrainingClock()
    )
    for _ in train(course, rows, bench.loss, budget, SEED, bench.device):
        pass
    with torch.no_grad():
        return before - float(loss_on(model.eval(), rows, everything, bench.device))


def told(study: Path, name: str, values: Values, cost: str) -> None:
    """Print how far a score ranks layouts as their runs do."""
    for file, column, sign in (
        ("quick.csv", "validation_loss", -1),
        ("quick.csv", "validation_accuracy", 1),
        ("full.csv", "validation_accuracy", 1),
    ):
        reached = {Layout.parse(one): value for one, value in trained(study / file, column).items()}
        both = [layout for layout in values if layout in reached]
        found = rank_correlation(
            [values[layout] for layout in both], [sign * reached[layout] for layout in both]
        )
        print(f"{name:34} {file[:-4]:5} {column[11:]:8} {len(both):4} layouts  {found}  {cost}")


def main() -> None:
    """Measure all and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        arguments.add_argument(name)
    arguments.add_argument("--keep", type=int, required=True)
    arguments.add_argument("--study", type=Path, required=True)
    arguments.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.3])
    arguments.add_argument("--passes", type=int, default=10)
    arguments.add_argument("--seeds", type=int, nargs="*", default=[SEED], help="of supernets")
    arguments.add_argument("--supernets-alone", action="store_true")
    arguments.add_argument("--steps", type=int, default=4)
    arguments.add_argument("--more", type=int, default=140)
    asked = arguments.parse_args()

    laid = ground(asked.model, asked.task, Path(asked.data_dir), asked.keep)
    torch.set_num_threads(1)
    bench, layouts = laid.bench(laid.quick), all_layouts(laid.checkpoint.depth, asked.keep)
    full_runs = trained(asked.study / "full.csv", "validation_accuracy")
    looked = [layout for layout in layouts if str(layout) in full_runs]
    others = [layout for layout in layouts if str(layout) not in full_runs]
    sample = looked + random.Random(SEED).sample(others, asked.more)

    bench.evaluate(laid.strategies["top"], SEED)
    started = time.process_time()
    bench.evaluate(laid.strategies["top"], SEED)
    full = (time.process_time() - started) * laid.full.steps / laid.quick.steps
    print(f"{time.strftime('%Y-%m-%d')}: a full fine-tune takes {full:.1f} s", flush=True)

    def timed(
        ask: Callable[[Layout], tuple[float, ...]], these: Sequence[Layout], *names: str
    ) -> None:
        started = time.process_time()
        found = {layout: ask(layout) for layout in these}
        each = (time.process_time() - started) / len(these) / full
        for place, name in enumerate(names):
            values = {layout: value[place] for layout, value in found.items()}
            told(asked.study, name, values, f"{each:.4f} each, {each * len(layouts):.1f} for all")

    if not asked.supernets_alone:
        timed(partial(gradients, bench), sample, "norm of gradients", "|weight x gradient|")
        timed(lambda one: (fall(bench, one, asked.steps),), sample, f"fall in {asked.steps} steps")
    rows = sample_rows(bench.validation, SHOWN, SEED)
    for share, seed in product(asked.shares, asked.seeds):
        started = time.process_time()
        net = supernet(bench, layouts, share, asked.passes, seed)
        trained_for = (time.process_time() - started) / full
        started = time.process_time()
        scores = score_all(net, layouts, rows, bench.budget.batch, bench.device).scores
        whole = trained_for + (time.process_time() - started) / full
        mean = np.mean([one.accuracy for one in scores])
        name, cost = f"supernet {seed}, layers at {share:g}", f"{whole:.1f} for all"
        print(f"{name}: {100 * mean:.1f} % on average, trained for {trained_for:.1f}", flush=True)
        told(asked.study, f"{name}: loss", {one.layout: -one.loss for one in scores}, cost)
        told(asked.study, f"{name}: accuracy", {one.layout: one.accuracy for one in scores}, cost)
        timed(
            partial(tuned, bench, net, seed),
            looked,
            f"{name}, tuned: loss",
            f"{name}, tuned: accuracy",
        )


if __name__ == "__main__":
    main()
