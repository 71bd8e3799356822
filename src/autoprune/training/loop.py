"""Training loop: gradient accumulation over micro-batches, learning rate schedule, prediction."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autoprune.errors import TrialError, is_out_of_memory
from autoprune.tasks.tokenization import (
    EncodedSplit,
    collate,
    length_sorted_batches,
    shuffled_batches,
)
from autoprune.training.budget import Budget
from autoprune.training.devices import mixed_precision
from autoprune.training.metrics import NO_WORD, Score

WARMUP_SHARE = 0.1  # share of the steps over which the learning rate rises

WEIGHT_DECAY = 0.01

MAX_GRADIENT_NORM = 1.0

_MAX_REUSED_BYTES = 32 * 2**20
"""The largest block of memory that glibc reuses for the next tensor of its size. A larger one is
mapped anew by the system each time, page by page: this took half the time of long texts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a split on a device.

    `rows` are their indices in the split, (rows,); `inputs` is what the model takes, each (rows,
    longest); `labels` (rows,), or as `metrics.Labels`; `words`, where each word has a label, is the
    place of its first token, int64 (rows, words).
    """

    rows: NDArray[np.int64]
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    words: torch.Tensor | None = None

    def at_words(self, values: torch.Tensor) -> torch.Tensor:
        """Return of `values` (rows, longest, n) those of the words: (rows, words, n).

        After the last word of a row they are 0. Where rows have labels, not words, all is returned.
        """
        if self.words is None:
            return values
        index = self.words.unsqueeze(-1).expand(-1, -1, values.shape[-1])
        is_word = (self.labels != NO_WORD).unsqueeze(-1)
        return torch.where(is_word, values.gather(1, index), 0)


LossFunction = Callable[[torch.Tensor, Batch], torch.Tensor]
"""From logits in fp32, (rows, classes), and their batch: the loss, summed over the rows."""


@dataclass(slots=True, eq=False)
class MicroBatcher:
    """Gradient accumulation: how many rows go through the model at once, as micro-batches.

    `rows` is halved each time memory runs out. The optimizer's batch stays as it is, since the
    gradients of its micro-batches are added up. `notes` say what happened.
    """

    rows: int
    notes: list[str] = field(default_factory=list)

    def halve(self, error: RuntimeError) -> None:
        """Halve the rows; raises `error` again if it is another one, or if one row is left."""
        if self.rows == 1 or not is_out_of_memory(error):
            raise error
        self.rows = (self.rows + 1) // 2
        self.notes.append(f"out of memory: went on with {self.rows} rows at once")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(slots=True)
class TrainingClock:
    """Seconds spent in forward, backward and optimizer steps; the rest of a trial is overhead."""

    seconds: float = 0.0
    _started: float = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The evaluation to return to: its score, after how many steps, the trained weights there."""

    score: Score
    steps: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True, eq=False)
class TrainingState:
    """A run of `model` after `steps` steps: what a checkpoint stores, and what resumes from it.

    `history` is validation quality and steps of each evaluation so far; `earlier_seconds` is the
    time spent in earlier processes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    micro_batcher: MicroBatcher
    clock: TrainingClock
    started: float = field(default_factory=time.perf_counter)
    earlier_seconds: float = 0.0
    steps: int = 0
    best: BestCheckpoint | None = None
    history: list[tuple[float, int]] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the wall time of the run so far."""
        return self.earlier_seconds + time.perf_counter() - self.started

    def trained_weights(self) -> dict[str, nn.Parameter]:
        """Return the weights that are trained, by name; the others stay as they were loaded."""
        return {name: w for name, w in self.model.named_parameters() if w.requires_grad}

    def mark_best(self, score: Score) -> None:
        """Make this evaluation the one to return to, with a copy of the trained weights."""
        weights = {name: w.detach().clone() for name, w in self.trained_weights().items()}
        self.best = BestCheckpoint(score, self.steps, weights)


def make_optimizer(model: nn.Module, device: torch.device) -> torch.optim.AdamW:
    """Return AdamW over the weights that are trained, without decay of biases and norms."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [w for w in trained if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))


def learning_rate_at(step: int, steps: int) -> float:
    """Learning rate schedule: return the share of the peak learning rate at `step`.

    Linear warm-up, then linear decay to 0, as the scheduler `linear` of transformers.

    >>> [round(learning_rate_at(step, 10), 2) for step in (0, 1, 5, 9)]
    [1.0, 1.0, 0.56, 0.11]
    """
    warmup = max(1, round(WARMUP_SHARE * steps))
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / (steps - warmup)


def evaluation_steps(budget: Budget) -> set[int]:
    """Return after which steps validation is scored: evenly spread, and where the run ends."""
    spread = {math.ceil(budget.steps * i / budget.checks) for i in range(1, budget.checks + 1)}
    return {step for step in spread if step < budget.ends} | {budget.ends}


def train(
    state: TrainingState,
    split: EncodedSplit,
    loss_function: LossFunction,
    budget: Budget,
    seed: int,
    device: torch.device,
) -> Iterator[int]:
    """Train `state` in place to the end of the budget; yield the steps done after each step.

    The order of the rows and the dropout depend on `seed` alone. torch's global generator is seeded
    before the first step; a run that resumes must find it in the state in which it left it. Raises
    `TrialError` when the loss is not a finite number.
    """
    if state.steps == 0:
        torch.manual_seed(seed)
    model, optimizer = state.model, state.optimizer
    rng = np.random.default_rng(seed)
    epochs = (shuffled_batches(split.lengths, budget.batch, rng) for _ in count())
    for rows in islice(chain.from_iterable(epochs), state.steps, budget.ends):
        if not model.training:
            model.train()
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate * learning_rate_at(state.steps, budget.steps)
        loss = _accumulate_gradients(state, split, rows, loss_function, device)
        if not math.isfinite(loss):
            raise TrialError(
                f"the loss is {loss} at step {state.steps + 1} with seed {seed}, "
                "try a smaller --learning-rate"
            )
        with state.clock:
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        state.steps += 1
        yield state.steps


def predict_logits(
    model: nn.Module,
    split: EncodedSplit,
    device: torch.device,
    micro_batcher: MicroBatcher,
    clock: TrainingClock | None = None,
) -> NDArray[np.float32]:
    """Return the logits (rows, classes) in the order of `split`, without dropout.

    Where each word has a label, they are (rows, words, classes), 0 after a row's last word.
    """
    clock = clock or TrainingClock()
    model.eval()
    done: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    waiting = length_sorted_batches(split.lengths, micro_batcher.rows)
    while waiting:
        try:
            with torch.inference_mode():
                logits = forward(model, load_batch(split, waiting[0], device), clock)
        except RuntimeError as error:
            micro_batcher.halve(error)
            waiting = [part for rows in waiting for part in _split(rows, micro_batcher.rows)]
            continue
        done.append((waiting.pop(0), logits.float().cpu().numpy()))
    ordered = np.zeros(output_shape(split, done[0][1].shape[-1]), dtype=np.float32)
    for rows, part in done:
        if part.ndim == 2:
            ordered[rows] = part
        else:
            ordered[rows, : part.shape[1]] = part
    return ordered


def output_shape(split: EncodedSplit, width: int) -> tuple[int, ...]:
    """Return the shape of what a model says of a split, `width` numbers for each row or word."""
    return (len(split), width) if split.words is None else (*split.labels.shape, width)


def load_batch(split: EncodedSplit, rows: NDArray[np.int64], device: torch.device) -> Batch:
    """Return the rows `rows` of `split`, padded, on `device`."""
    inputs = {name: values.to(device) for name, values in collate(split, rows).items()}
    return Batch(rows, inputs, inputs.pop("labels"), inputs.pop("words", None))


def forward(model: nn.Module, batch: Batch, clock: TrainingClock) -> torch.Tensor:
    """Return the logits (rows, classes), computed in bfloat16 where this is faster.

    Where each word has a label, they are (rows, words, classes).
    """
    with clock, mixed_precision(model, batch.labels.device):
        return batch.at_words(model(**batch.inputs).logits)


def microbatch_rows(model: nn.Module, longest: int, max_rows: int, device: torch.device) -> int:
    """Return how many rows of `longest` tokens go through the layers at once.

    On a processor so few that neither a layer's attention (heads of 64, fp32) nor the inner layer
    of its feed-forward part needs more than `_MAX_REUSED_BYTES`: this is faster and needs less
    memory. Elsewhere `max_rows`.
    """
    width = getattr(getattr(model, "config", None), "hidden_size", 0)
    if device.type != "cpu" or not width:
        return max_rows
    row_bytes = 4 * longest * max(4 * width, longest * width // 64)
    return max(1, min(max_rows, _MAX_REUSED_BYTES // row_bytes))


def _accumulate_gradients(
    state: TrainingState,
    split: EncodedSplit,
    rows: NDArray[np.int64],
    loss_function: LossFunction,
    device: torch.device,
) -> float:
    """Gradient accumulation: add up the gradients of all micro-batches; return the mean loss."""
    model, micro_batcher, longest = state.model, state.micro_batcher, int(split.lengths[rows].max())
    while True:
        try:
            total = 0.0
            for part in _split(rows, microbatch_rows(model, longest, micro_batcher.rows, device)):
                batch = load_batch(split, part, device)
                logits = forward(model, batch, state.clock)
                with state.clock:
                    loss = loss_function(logits.float(), batch) / len(rows)
                    loss.backward()
                    total += loss.item()
            return total
        except RuntimeError as error:
            micro_batcher.halve(error)
            model.zero_grad(set_to_none=True)


def _split(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
