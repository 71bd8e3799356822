"""The bench: everything that must not differ between the candidates it measures."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.embeddings import keep_embedding_rows
from autoprune.encoders.profiling import Parameters, count_parameters
from autoprune.encoders.pruning import keep_layers
from autoprune.errors import TrialError
from autoprune.interrupts import stop_requested
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.activation_cache import cached_activations
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import (
    CheckpointFile,
    TrainingCheckpoint,
    data_fingerprint,
    identity_text,
)
from autoprune.training.devices import fast_in_bfloat16
from autoprune.training.loop import (
    BestCheckpoint,
    MicroBatcher,
    TrainingClock,
    TrainingState,
    evaluation_steps,
    make_optimizer,
    predict_logits,
    train,
)
from autoprune.training.methods import CACHES_ACTIVATIONS, METHODS, merge_adapters
from autoprune.training.metrics import Score, score_predictions

EvaluationCallback = Callable[[float, int], None]  # validation quality, steps done


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained candidate: the plain model and its validation score.

    `steps` is how many were done before the weights it ends with; `busy` the share of the time
    spent in forward, backward and optimizer steps.
    """

    model: PreTrainedModel
    score: Score
    steps: int
    busy: float


def never_stop(quality: float, step: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True, slots=True)
class LayoutEvaluator:
    """Trains and scores layouts of one model on one task within one budget.

    `load` returns a full classifier of its own each time, whose new head depends on the seed alone,
    so that every layout starts from the same head. `rows` are the train rows; where their tokens
    are renumbered, the embedding rows of all other tokens are left out, and whatever is predicted
    must be numbered alike. Same seed, same machine, same
    number of threads: the same score, bit for bit on a processor.
    """

    load: Callable[[int], PreTrainedModel]
    rows: EncodedSplit
    validation: EncodedSplit
    budget: Budget
    device: torch.device
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        assert self.validation.kept is self.rows.kept, "all rows are numbered alike"

    def measure(
        self,
        layout: Layout,
        seed: int,
        check: EvaluationCallback = never_stop,
        saved: CheckpointFile | None = None,
    ) -> Score:
        """Return the validation score of `layout`; nothing of the trained model stays.

        `check` is called with the validation quality at each check and may raise to stop the run.
        With `saved`, the run's state is kept there from time to time; where it is found, the run
        goes on from it, and `check` hears of earlier checks again. A budget that pauses leaves
        its state there, and who goes on from it counts the seconds from there. Raises `TrialError`
        when the loss is not a number, KeyboardInterrupt when it is asked to leave, its state kept.
        """
        return self.train(layout, seed, check, saved).score

    def train(
        self,
        layout: Layout,
        seed: int,
        check: EvaluationCallback = never_stop,
        saved: CheckpointFile | None = None,
    ) -> TrainedModel:
        """Return `layout` trained from the loaded weights; see `measure`."""
        started = time.perf_counter()
        course = self._course(self._learning(layout, seed), started)
        budget = self.budget
        if check is never_stop and budget.patience is None:
            budget = replace(budget, checks=1)  # nobody looks at the others, and they draw nothing
        with self._splits(course) as splits:
            checkpoint = self._checkpoint(saved, course, layout, seed)
            for quality, steps in course.heard:
                check(quality, steps)
            self._run(course, splits, budget, seed, check, checkpoint)
            if budget.pause_at is not None and checkpoint is not None:
                checkpoint.pause()
        assert course.best is not None, "the last step is a check"
        best, parts = course.best, course.parts
        course.model.load_state_dict(best.weights, strict=False)
        plain, final = merge_adapters(course.model), best.score
        if plain is not course.model:  # merging an adapter rounds: score what is handed over
            final = self._score(plain, self.validation, seed, parts, course.clock)
        seconds = course.seconds()
        final = replace(final, seconds=seconds, note="; ".join(parts.notes))
        return TrainedModel(plain, final, best.steps, course.clock.seconds / seconds)

    def _run(
        self,
        course: TrainingState,
        splits: Sequence[EncodedSplit],
        budget: Budget,
        seed: int,
        check: EvaluationCallback,
        checkpoint: TrainingCheckpoint | None,
    ) -> None:
        """Train to the end of the budget, or of the patience; the best check is in `course`."""
        rows, validation = splits
        checks = evaluation_steps(budget)
        for steps in train(course, rows, budget, seed, self.device):
            if steps in checks:
                now = self._score(course.model, validation, seed, course.parts, course.clock)
                course.heard.append((now.quality, steps))
                if budget.patience is None:
                    course.best = BestCheckpoint(now, steps, {})
                elif course.best is None or now.quality > course.best.score.quality:
                    course.remember(now)
            try:
                if steps in checks:
                    check(course.heard[-1][0], steps)
                if stop_requested():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:  # between two steps: the state is whole
                if checkpoint is not None:
                    checkpoint.write()
                raise
            if steps in checks and course.best and self._waited(course.best.steps, steps):
                return
            if checkpoint is not None:
                checkpoint.keep()

    def untrained(self, layout: Layout, seed: int) -> PreTrainedModel:
        """Return the loaded model with only the layers of `layout`, on the device.

        Its weights are copied out of the checkpoint's file, which is mapped into memory: else all
        that was ever read of it would stay there, at base size 0.8 GB beside the training.
        """
        model = self.load(seed)
        keep_layers(model, layout)
        if self.rows.kept is not None:
            keep_embedding_rows(model, self.rows.kept)
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
        brief = replace(self.budget, steps=steps + 2, pause_at=None)
        times = [time.perf_counter()]
        course = self._course(self._learning(layout, 0), times[0])
        for _ in train(course, self.rows, brief, 0, self.device):
            times.append(time.perf_counter())
        return statistics.median(later - earlier for earlier, later in pairwise(times[2:]))

    def _course(self, model: nn.Module, started: float) -> TrainingState:
        """Return the course of a run of `model` at its begin."""
        parts = MicroBatcher(-(-self.budget.batch // self.budget.parts))
        return TrainingState(
            model, make_optimizer(model, self.device), parts, TrainingClock(), started
        )

    def _checkpoint(
        self, saved: CheckpointFile | None, course: TrainingState, layout: Layout, seed: int
    ) -> TrainingCheckpoint | None:
        """Bring `course` to where an earlier process left it, and return what keeps it."""
        if saved is None:
            return None
        data = data_fingerprint((self.rows, self.validation))
        fast = fast_in_bfloat16(self.device)
        run = (layout, seed, self.budget.whole(), self.metric, self.device.type, fast, data)
        checkpoint = TrainingCheckpoint(saved, course, self.device, identity_text(run))
        checkpoint.take_up()
        return checkpoint

    def _splits(self, course: TrainingState) -> AbstractContextManager[Sequence[EncodedSplit]]:
        """Return train and validation rows in the form in which the model is to take them."""
        splits = (self.rows, self.validation)
        if self.budget.method in CACHES_ACTIVATIONS:
            return cached_activations(
                cast(PreTrainedModel, course.model), splits, course.parts.rows, self.device
            )
        return nullcontext(splits)

    def _score(
        self,
        model: nn.Module,
        rows: EncodedSplit,
        seed: int,
        parts: MicroBatcher,
        clock: TrainingClock,
    ) -> Score:
        logits = predict_logits(model, rows, self.device, parts, clock)
        if not np.isfinite(logits).all():
            raise TrialError(
                f"the model's outputs with seed {seed} are not finite numbers, try a smaller "
                "--learning-rate"
            )
        return score_predictions(logits, rows.labels, self.metric, "validation", seed, 0.0)

    def _waited(self, best: int, now: int) -> bool:
        """Tell whether the budget's patience has run out since step `best`."""
        checks = (now - best) * self.budget.checks / self.budget.steps
        return self.budget.patience is not None and checks >= self.budget.patience

    def _learning(self, layout: Layout, seed: int) -> nn.Module:
        """Return the pruned model on the device with the weights that the method trains."""
        model = self.untrained(layout, seed)
        torch.manual_seed(seed)  # adapters are drawn
        return METHODS[self.budget.method](model)
