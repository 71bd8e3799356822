"""The bench: everything that must not differ between the candidates it measures."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.cost import Parameters, count_parameters
from autoprune.encoders.surgery import keep_layers
from autoprune.encoders.vocabulary import keep_tokens
from autoprune.layouts.layout import Layout
from autoprune.scoring.budget import Budget
from autoprune.scoring.frozen import computed_once
from autoprune.scoring.memory import Parts
from autoprune.scoring.methods import METHODS, merge
from autoprune.scoring.metrics import score
from autoprune.scoring.score import Score
from autoprune.scoring.training import Clock, predict, train
from autoprune.tasks.tokenising import Encoded

Check = Callable[[float, int], None]  # validation quality, steps done


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained candidate: the plain model and its validation score.

    `steps` is how many were done before the weights it ends with; `busy` the share of the time
    spent in forward, backward and optimizer steps.
    """

    model: PreTrainedModel
    score: Score
    steps: int
    busy: float


def go_on(quality: float, step: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True, slots=True)
class _Best:
    """The check to go back to, and the weights that learn as they were there."""

    score: Score
    steps: int
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Bench:
    """Trains and scores layouts of one model on one task within one budget.

    `load` returns a full classifier of its own each time, whose new head depends on the seed alone,
    so that every layout starts from the same head. `rows` are the train rows; where their tokens
    are renumbered, the embedding rows of all other tokens are left out, and whatever is predicted
    must be numbered alike. Same seed, same machine, same
    number of threads: the same score, bit for bit on a processor.
    """

    load: Callable[[int], PreTrainedModel]
    rows: Encoded
    validation: Encoded
    budget: Budget
    device: torch.device
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        assert self.validation.kept is self.rows.kept, "all rows are numbered alike"

    def measure(self, layout: Layout, seed: int, check: Check = go_on) -> Score:
        """Return the validation score of `layout`; nothing of the trained model stays.

        `check` is called with the validation quality at each check and may raise to stop the run.
        Raises `TrialError` when the loss is not a number.
        """
        return self.train(layout, seed, check).score

    def train(self, layout: Layout, seed: int, check: Check = go_on) -> Trained:
        """Return `layout` trained from the loaded weights; see `measure`."""
        started = time.perf_counter()
        clock, parts = Clock(), Parts(-(-self.budget.batch // self.budget.parts))
        model = self._learning(layout, seed)
        best: _Best | None = None
        budget = self.budget
        if check is go_on and budget.patience is None:
            budget = replace(budget, checks=1)  # nobody looks at the others, and they draw nothing
        with self._splits(model, parts) as (rows, validation):
            for steps in train(model, rows, budget, seed, self.device, parts, clock):
                checked = self._score(model, validation, seed, parts, clock)
                check(checked.quality, steps)
                if self.budget.patience is None:
                    best = _Best(checked, steps, {})
                elif best is None or checked.quality > best.score.quality:
                    best = _Best(checked, steps, _snapshot(model))
                elif self._waited(best.steps, steps):
                    break
        assert best is not None, "the last step is a check"
        model.load_state_dict(best.weights, strict=False)
        plain, final = merge(model), best.score
        if plain is not model:  # merging an adapter rounds: score what is handed over
            final = self._score(plain, self.validation, seed, parts, clock)
        seconds = time.perf_counter() - started
        busy = clock.seconds / seconds
        final = replace(final, seconds=seconds, note="; ".join(parts.notes))
        return Trained(plain, final, best.steps, busy)

    def untrained(self, layout: Layout, seed: int) -> PreTrainedModel:
        """Return the loaded model with only the layers of `layout`, on the device.

        Its weights are copied out of the checkpoint's file, which is mapped into memory: else all
        that was ever read of it would stay there, at base size 0.8 GB beside the training.
        """
        model = self.load(seed)
        keep_layers(model, layout)
        if self.rows.kept is not None:
            keep_tokens(model, self.rows.kept)
        for weight in model.parameters():
            weight.data = weight.data.clone()
        placed: Any = model.to(self.device)
        return cast(PreTrainedModel, placed)

    def parameters(self, layout: Layout) -> Parameters:
        """Count the parameters of `layout`, the classifier included."""
        model = self.load(0)
        keep_layers(model, layout)
        return count_parameters(model)

    def seconds_per_step(self, layout: Layout, steps: int = 3) -> float:
        """Measure the median time of an optimizer step of `layout` on this device.

        Two steps before the measured ones warm up; the first allocate memory and pick kernels.
        """
        brief = replace(self.budget, steps=steps + 2, checks=steps + 2)
        model = self._learning(layout, 0)
        parts = Parts(-(-brief.batch // brief.parts))
        times = [time.perf_counter()]
        for _ in train(model, self.rows, brief, 0, self.device, parts, Clock()):
            times.append(time.perf_counter())
        return statistics.median(later - earlier for earlier, later in pairwise(times[2:]))

    def _splits(self, model: nn.Module, parts: Parts) -> AbstractContextManager[Sequence[Encoded]]:
        """Return train and validation rows in the form in which `model` is to take them."""
        splits = (self.rows, self.validation)
        if self.budget.method == "probe":
            return computed_once(model, splits, parts.rows, self.device)
        return nullcontext(splits)

    def _score(
        self, model: nn.Module, rows: Encoded, seed: int, parts: Parts, clock: Clock
    ) -> Score:
        logits = predict(model, rows, self.device, parts, clock)
        return score(logits, rows.labels, self.metric, "validation", seed, 0.0)

    def _waited(self, best: int, now: int) -> bool:
        """Tell whether the budget's patience has run out since step `best`."""
        checks = (now - best) * self.budget.checks / self.budget.steps
        return self.budget.patience is not None and checks >= self.budget.patience

    def _learning(self, layout: Layout, seed: int) -> nn.Module:
        """Return the pruned model on the device with the weights that the method trains."""
        model = self.untrained(layout, seed)
        torch.manual_seed(seed)  # adapters are drawn
        return METHODS[self.budget.method](model)


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights that learn; the others are as they were."""
    return {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
