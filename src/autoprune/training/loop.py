"""The fine-tuning loop: a generator that hands over after each step."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

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
from autoprune.training.devices import fast_in_bfloat16, supports_bfloat16
from autoprune.training.metrics import Score


class MicroBatcher:
    """How many rows go through the model at once; halved each time memory runs out.

    Halving keeps the optimizer's batch as it is: the gradients of the parts are added up.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.notes: list[str] = []

    def halve(self, error: RuntimeError) -> None:
        """Halve the rows, in place; raises `error` again if it is another, or one row is left."""
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
    _since: float = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The check to go back to, and the weights that learn as they were there."""

    score: Score
    steps: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True, eq=False)
class TrainingState:
    """A run of `model`, `steps` of it done, `before` seconds of it in earlier processes.

    `heard` is validation quality and steps of the checks so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    parts: MicroBatcher
    clock: TrainingClock
    started: float = field(default_factory=time.perf_counter)
    before: float = 0.0
    steps: int = 0
    best: BestCheckpoint | None = None
    heard: list[tuple[float, int]] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the run's wall time so far."""
        return self.before + time.perf_counter() - self.started

    def learning(self) -> dict[str, nn.Parameter]:
        """Return the weights that learn; the others are as they were."""
        return {name: w for name, w in self.model.named_parameters() if w.requires_grad}

    def remember(self, score: Score) -> None:
        """Make this check the one to go back to."""
        weights = {name: weight.detach().clone() for name, weight in self.learning().items()}
        self.best = BestCheckpoint(score, self.steps, weights)


WARMUP_SHARE = 0.1  # share of the steps over which the learning rate rises

WEIGHT_DECAY = 0.01

MAX_GRADIENT_NORM = 1.0

_REUSED = 32 * 2**20
"""Bytes of the largest piece of memory that glibc keeps for the next tensor of its size. A larger
one comes anew from the system each time, page by page: that took half the time of long texts."""


def make_optimizer(model: nn.Module, device: torch.device) -> torch.optim.AdamW:
    """Return AdamW over the weights that learn, without decay on biases and norms."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in learning if w.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [w for w in learning if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))


def learning_rate_at(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at `step`: linear rise, then linear fall to 0.

    >>> [round(rate(step, 10), 2) for step in (0, 1, 5, 9)]
    [1.0, 1.0, 0.56, 0.11]
    """
    rising = max(1, round(WARMUP_SHARE * steps))
    if step < rising:
        return (step + 1) / rising
    return (steps - step) / (steps - rising)


def evaluation_steps(budget: Budget) -> set[int]:
    """Return after which steps validation is scored: evenly spread, and where the run ends."""
    spread = {math.ceil(budget.steps * i / budget.checks) for i in range(1, budget.checks + 1)}
    return {step for step in spread if step < budget.ends} | {budget.ends}


def train(
    course: TrainingState, rows: EncodedSplit, budget: Budget, seed: int, device: torch.device
) -> Iterator[int]:
    """Go on with `course`, in place, to where the budget ends; yield the steps done after each.

    The order of the rows and the dropout depend on `seed` alone; torch's global generator is
    seeded before the first step, and must stand where it stood for a course that is gone on with.
    Raises `TrialError` when the loss is not a finite number.
    """
    if course.steps == 0:
        torch.manual_seed(seed)
    model, optimizer = course.model, course.optimizer
    order = _forever(rows.lengths, budget.batch, np.random.default_rng(seed))
    for index in islice(order, course.steps, budget.ends):
        if not model.training:
            model.train()
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate * learning_rate_at(course.steps, budget.steps)
        loss = _gradients(model, rows, index, device, course.parts, course.clock)
        if not math.isfinite(loss):
            raise TrialError(
                f"the loss is {loss} at step {course.steps + 1} with seed {seed}, "
                "try a smaller --learning-rate"
            )
        with course.clock:
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        course.steps += 1
        yield course.steps


def predict_logits(
    model: nn.Module,
    rows: EncodedSplit,
    device: torch.device,
    parts: MicroBatcher,
    clock: TrainingClock,
) -> NDArray[np.float32]:
    """Return the logits (rows, classes) in the order of `rows`, without dropout."""
    model.eval()
    found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    todo = length_sorted_batches(rows.lengths, parts.rows)
    while todo:
        try:
            with torch.inference_mode():
                logits = _forward(model, rows, todo[0], device, clock)[0]
        except RuntimeError as error:
            parts.halve(error)
            todo = [piece for index in todo for piece in _pieces(index, parts.rows)]
            continue
        found.append((todo.pop(0), logits.float().cpu().numpy()))
    logits_in_order = np.empty((len(rows.lengths), found[0][1].shape[1]), dtype=np.float32)
    for index, part in found:
        logits_in_order[index] = part
    return logits_in_order


def _forever(
    lengths: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    while True:
        yield from shuffled_batches(lengths, batch, rng)


def _pieces(index: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
    return [index[start : start + rows] for start in range(0, len(index), rows)]


def microbatch_rows(model: nn.Module, longest: int, most: int, device: torch.device) -> int:
    """Return how many rows of `longest` tokens go through the layers at once, `most` at most.

    On a processor so few that neither a layer's attention (heads of 64, fp32) nor the inner layer
    of its feed-forward part needs more than `_REUSED`: faster there, and smaller.
    """
    width = getattr(getattr(model, "config", None), "hidden_size", 0)
    if device.type != "cpu" or not width:
        return most
    row = 4 * longest * max(4 * width, longest * width // 64)
    return max(1, min(most, _REUSED // row))


def _gradients(
    model: nn.Module,
    rows: EncodedSplit,
    index: NDArray[np.int64],
    device: torch.device,
    parts: MicroBatcher,
    clock: TrainingClock,
) -> float:
    """Add up the gradients of the mean loss over the batch, part by part; return that loss."""
    while True:
        try:
            total, longest = 0.0, int(rows.lengths[index].max())
            for piece in _pieces(index, microbatch_rows(model, longest, parts.rows, device)):
                logits, labels = _forward(model, rows, piece, device, clock)
                with clock:
                    loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
                    loss = loss / len(index)
                    loss.backward()
                    total += loss.item()
            return total
        except RuntimeError as error:
            parts.halve(error)
            model.zero_grad(set_to_none=True)


def _forward(
    model: nn.Module,
    rows: EncodedSplit,
    index: NDArray[np.int64],
    device: torch.device,
    clock: TrainingClock,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (rows, classes) and labels (rows,)."""
    batch = {name: values.to(device) for name, values in collate(rows, index).items()}
    labels = batch.pop("labels")
    fast = fast_in_bfloat16(device) and supports_bfloat16(model)
    with clock, torch.autocast(device.type, torch.bfloat16, enabled=fast):
        return model(**batch).logits, labels
