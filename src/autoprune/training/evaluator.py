"""Layout evaluator: trains and scores all candidates alike, with early stopping and checkpoints."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.layerwise import first_token_only
from autoprune.encoders.profiling import Parameters, count_parameters
from autoprune.encoders.pruning import keep_embedding_rows, keep_layers
from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.processes import stop_requested
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.activation_cache import cached_activations
from autoprune.training.budget import DRAWN_HEAD, Budget
from autoprune.training.checkpoint import CheckpointFile, TrainingCheckpoint, data_fingerprint
from autoprune.training.devices import uses_bfloat16
from autoprune.training.distillation import (
    TeacherTargets,
    distillation_loss,
    hidden_losses,
    recorded_states,
)
from autoprune.training.loop import (
    Batch,
    BestCheckpoint,
    LossFunction,
    MicroBatcher,
    TrainingClock,
    TrainingState,
    evaluation_steps,
    load_batch,
    make_optimizer,
    predict_logits,
    train,
)
from autoprune.training.methods import (
    CACHES_ACTIVATIONS,
    METHODS,
    center_head,
    fit_head,
    merge_adapters,
)
from autoprune.training.metrics import Score
from autoprune.training.problem_types import SINGLE_LABEL, ProblemType

EvaluationCallback = Callable[[float, int], None]
"""Called after each evaluation with validation quality and steps done; may raise to stop."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained candidate: the plain model and its validation score.

    `steps` is how many steps its weights were trained; `busy` is the share of the time that was
    spent in forward, backward and optimizer steps.
    """

    model: PreTrainedModel
    score: Score
    steps: int
    busy: float


@dataclass(frozen=True, slots=True)
class LayoutEvaluator:
    """Trains and scores layouts of one model on one task within one budget.

    `load` returns a new full classifier for each call; its new head depends on the seed alone, so
    that every layout starts from the same head. `rows` are the train rows. Where their tokens are
    renumbered, the embedding rows of all other tokens are left out, and all rows to predict must be
    renumbered alike. With a budget that distills, `targets` are what the teacher says of the train
    rows; the last of these may have no label. The same seed on the same machine with the same
    number of threads gives the same score, bit for bit on a processor.
    """

    load: Callable[[int], PreTrainedModel]
    rows: EncodedSplit
    validation: EncodedSplit
    budget: Budget
    device: torch.device
    metric: str = "accuracy"
    problem_type: ProblemType = SINGLE_LABEL
    targets: TeacherTargets | None = None

    def __post_init__(self) -> None:
        assert (self.targets is None) == (self.budget.distillation is None), "a teacher has targets"
        assert self.validation.kept is self.rows.kept, "all rows are numbered alike"

    def evaluate(
        self,
        layout: Layout,
        seed: int,
        callback: EvaluationCallback | None = None,
        checkpoint: CheckpointFile | None = None,
    ) -> Score:
        """Return the validation score of `layout`; the trained model is not kept.

        With `checkpoint`, the state of the run is saved there from time to time. Where the file
        exists, the run resumes from it, and `callback` is first called for the earlier evaluations
        again. A budget that pauses saves its state at the pause; who resumes there counts the
        seconds from there. Raises `TrialError` when the loss is not a finite number, and
        KeyboardInterrupt, with the state saved, when a stop was requested.
        """
        return self.train(layout, seed, callback, checkpoint).score

    def train(
        self,
        layout: Layout,
        seed: int,
        callback: EvaluationCallback | None = None,
        checkpoint: CheckpointFile | None = None,
    ) -> TrainedModel:
        """Return `layout` trained from the loaded weights; see `evaluate`."""
        state = self._start(layout, seed)
        with self._splits(state) as splits, self._recorded_states(state) as states:
            saver = None if checkpoint is None else self._resume(state, checkpoint, layout, seed)
            if callback is not None:
                for quality, steps in state.history:
                    callback(quality, steps)
            loss = partial(self.loss, states=states, layout=layout)
            self._run(state, splits, loss, seed, callback, saver)
            if self.budget.pause_at is not None and saver is not None:
                saver.save(paused=True)
        assert state.best is not None, "validation is scored after the last step"
        state.model.load_state_dict(state.best.weights, strict=False)
        model, score = merge_adapters(state.model), state.best.score
        if model is not state.model:  # merging adapters rounds: score the merged model
            score = self._score(model, self.validation, seed, state)
        seconds = state.seconds()
        score = replace(score, seconds=seconds, note="; ".join(state.micro_batcher.notes))
        return TrainedModel(model, score, state.best.steps, state.clock.seconds / seconds)

    @property
    def evaluations_are_cheap(self) -> bool:
        """Whether all evaluations but the last take less than a tenth of the training's time.

        A row takes about three times as long in training as in an evaluation.
        """
        evaluated = (len(evaluation_steps(self.budget)) - 1) * len(self.validation)
        return 10 * evaluated < 3 * self.budget.ends * self.budget.batch

    def loss(
        self,
        logits: torch.Tensor,
        batch: Batch,
        states: Sequence[torch.Tensor] = (),
        layout: Layout | None = None,
    ) -> torch.Tensor:
        """Return the training loss, summed over the rows; the training loop is given it.

        `states` are those of the layers of `layout`, where they are learned from a teacher.
        """
        settings = self.budget.distillation
        if settings is None or self.targets is None:
            return self.problem_type.loss(logits, batch.labels)
        hidden = hidden_losses(states, self.targets, batch.rows, layout) if layout else 0.0
        return distillation_loss(logits, batch, settings, self.targets, self.problem_type, hidden)

    def untrained(self, layout: Layout, seed: int) -> PreTrainedModel:
        """Return the loaded model with only the layers of `layout`, on the device.

        Its weights are copied out of the file, which is mapped into memory. Else all that was ever
        read of it would stay in memory, at base size 0.8 GB beside the training.
        """
        model = self.load(seed)
        keep_layers(model, layout)
        if self.rows.kept is not None:
            keep_embedding_rows(model, self.rows.kept)
        for weight in model.parameters():
            weight.data = weight.data.clone()
        moved: Any = model.to(self.device)
        return cast(PreTrainedModel, moved)

    def parameters(self, layout: Layout) -> Parameters:
        """Count the parameters of `layout`, the classifier included."""
        model = self.load(0)
        keep_layers(model, layout)
        return count_parameters(model)

    def seconds_per_step(self, layout: Layout, steps: int = 3) -> float:
        """Measure the median time of an optimizer step of `layout` on this device.

        Two more steps come first: they allocate memory and select kernels.
        """
        budget = replace(self.budget, steps=steps + 2, pause_at=None, head=DRAWN_HEAD)
        state = self._start(layout, 0, budget)
        with self._splits(state) as (rows, _):
            run = train(state, rows, self.loss, budget, 0, self.device)
            times = [time.perf_counter() for _ in run]
        return statistics.median(later - earlier for earlier, later in pairwise(times[1:]))

    def _start(self, layout: Layout, seed: int, budget: Budget | None = None) -> TrainingState:
        """Return the state of a run before its first step, the model on the device."""
        budget = budget or self.budget
        started = time.perf_counter()
        pruned = self.untrained(layout, seed)
        labelled = np.arange(len(self.rows) if self.targets is None else self.targets.labelled)
        if budget.head == DRAWN_HEAD:
            center_head(pruned, self.rows.labels[labelled], self.problem_type)
        else:
            fit_head(pruned, self.rows, labelled, self.problem_type, seed, self.device)
        torch.manual_seed(seed)  # adapters are drawn at random
        model = METHODS[budget.method](pruned)
        micro_batcher = MicroBatcher(-(-budget.batch // budget.parts))
        optimizer = make_optimizer(model, self.device)
        return TrainingState(model, optimizer, micro_batcher, TrainingClock(), started)

    def _resume(
        self, state: TrainingState, file: CheckpointFile, layout: Layout, seed: int
    ) -> TrainingCheckpoint:
        """Bring `state` to where an earlier process left it; return what saves it from now on."""
        data = data_fingerprint((self.rows, self.validation))
        fast = uses_bfloat16(self.device, self.problem_type.name)
        if self.targets is not None:
            data += self.targets.fingerprint
        identity = (layout, seed, self.budget.whole(), self.metric, self.device.type, fast, data)
        checkpoint = TrainingCheckpoint(file, state, self.device, identity)
        checkpoint.resume()
        return checkpoint

    @contextmanager
    def _splits(self, state: TrainingState) -> Iterator[Sequence[EncodedSplit]]:
        """Yield train and validation rows in the form in which the model takes them.

        Inside the block the model computes little besides what its head reads.
        """
        model, splits = cast(PreTrainedModel, state.model), (self.rows, self.validation)
        if self.budget.method in CACHES_ACTIVATIONS:
            with cached_activations(model, splits, state.micro_batcher.rows, self.device) as cached:
                yield cached
            return
        longest = max(splits, key=lambda split: split.lengths.max())
        order = np.argsort(longest.lengths, kind="stable")
        with first_token_only(model, load_batch(longest, order[[0, -1]], self.device).inputs):
            yield splits

    def _recorded_states(self, state: TrainingState) -> AbstractContextManager[list[torch.Tensor]]:
        """Return a block in which the states of the kept layers are known to the loss."""
        settings = self.budget.distillation
        learned = settings is not None and settings.kind == "hidden"
        return recorded_states(state.model if learned else None)

    def _run(
        self,
        state: TrainingState,
        splits: Sequence[EncodedSplit],
        loss: LossFunction,
        seed: int,
        callback: EvaluationCallback | None,
        checkpoint: TrainingCheckpoint | None,
    ) -> None:
        """Train to the end of the budget, or to early stopping; `state` gets the best evaluation.

        Without early stopping the last evaluation counts as the best.
        """
        rows, validation = splits
        budget = self.budget
        if callback is None and budget.patience is None:
            budget = replace(budget, checks=1)  # nothing depends on the others
        evaluated = evaluation_steps(budget)
        if state.steps in evaluated and self._stops_early(state):
            return  # it was interrupted where it would have stopped
        for steps in train(state, rows, loss, budget, seed, self.device):
            if steps in evaluated:
                score = self._score(state.model, validation, seed, state)
                state.history.append((score.quality, steps))
                if budget.patience is None:
                    state.best = BestCheckpoint(score, steps, {})
                elif state.best is None or score.quality > state.best.score.quality:
                    state.mark_best(score)
            try:
                if callback is not None and steps in evaluated:
                    callback(*state.history[-1])
                if stop_requested():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:  # between two steps, so that the state is complete
                if checkpoint is not None:
                    checkpoint.save()
                raise
            if steps in evaluated and self._stops_early(state):
                return
            if checkpoint is not None:
                checkpoint.save_if_due()

    def _stops_early(self, state: TrainingState) -> bool:
        """Early stopping: tell whether the last `patience` evaluations were no better."""
        if self.budget.patience is None or state.best is None:
            return False
        best = state.best.steps
        return sum(steps > best for _, steps in state.history) >= self.budget.patience

    def _score(
        self, model: nn.Module, split: EncodedSplit, seed: int, state: TrainingState
    ) -> Score:
        logits = predict_logits(model, split, self.device, state.micro_batcher, state.clock)
        if not np.isfinite(logits).all():
            raise TrialError(
                f"the model's outputs with seed {seed} are not finite numbers, try a smaller "
                "--learning-rate"
            )
        return self.problem_type.score(logits, split.labels, self.metric, "validation", seed, 0.0)
