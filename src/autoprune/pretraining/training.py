"""Training: one step after the other, each of which depends on seed and number alone."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from autoprune.errors import TrialError
from autoprune.pretraining.data import (
    TokenKinds,
    TokenStream,
    batch_for_step,
    count_blocks,
    cut_blocks,
    mask_tokens,
)
from autoprune.pretraining.model import EncoderShape, build_encoder, masked_loss_sum

PRETRAIN_WARMUP = 0.1  # share of the course over which the rate rises


@dataclass(frozen=True, slots=True)
class PretrainingSchedule:
    """Either `seconds` or `budget_tokens` long; `batch` blocks a step."""

    batch: int
    learning_rate: float
    seed: int
    seconds: float | None
    budget_tokens: int | None

    def done(self, seconds: float, tokens: int) -> float:
        """Return which share of the course lies behind, from 0; 1 and above is the end."""
        if self.seconds is not None:
            return seconds / self.seconds
        assert self.budget_tokens is not None
        return tokens / self.budget_tokens


def one_cycle_rate(done: float) -> float:
    """Return the share of the peak rate: linear rise over the first tenth, linear fall to 0.

    >>> [round(one_cycle(share), 2) for share in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if done < PRETRAIN_WARMUP:
        return max(done / PRETRAIN_WARMUP, 0.01)
    return max(0.0, (1 - done) / (1 - PRETRAIN_WARMUP))


def default_pretraining_rate(hidden: int) -> float:
    """Return the peak learning rate for an encoder `hidden` wide.

    >>> default_rate(128), default_rate(768)
    (0.001, 0.0004)
    """
    return 1e-3 if hidden < 512 else 4e-4


PRETRAIN_WEIGHT_DECAY = 0.01

PRETRAIN_MAX_GRADIENT_NORM = 1.0

_APART_SEED = 0  # of the masks by which every model is judged


@dataclass(slots=True)
class PretrainingState:
    """A training as it stands: the model in place, its optimizer, and how far it has come."""

    model: BertForMaskedLM
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenBlocks:
    """What is learned from: the stream, the length of its blocks, its tokens' kinds."""

    stream: TokenStream
    length: int
    first: int
    kinds: TokenKinds


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step's mean loss in nats, and what lies behind: tokens seen, seconds, share of all."""

    loss: float
    tokens: int
    seconds: float
    done: float


def pretraining_optimizer(model: BertForMaskedLM) -> torch.optim.AdamW:
    """Return AdamW, without decay on biases and norms; betas and epsilon as RoBERTa's."""
    groups = [
        {
            "params": [w for w in model.parameters() if w.ndim >= 2],
            "weight_decay": PRETRAIN_WEIGHT_DECAY,
        },
        {"params": [w for w in model.parameters() if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def train_masked(
    state: PretrainingState,
    texts: TokenBlocks,
    course: PretrainingSchedule,
    bfloat16: bool,
    end: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[StepResult]:
    """Train `state` in place until the share `end` of its course is done; yield after each step.

    Raises `TrialError` when the loss is not a finite number.
    """
    state.model.train()
    device = state.model.device
    a_step = course.batch * texts.length
    while (done := course.done(state.seconds, state.step * a_step)) < end:
        began = clock()
        for group in state.optimizer.param_groups:
            group["lr"] = course.learning_rate * one_cycle_rate(done)
        tokens, begins = batch_for_step(
            texts.stream, state.step, course.batch, texts.length, texts.first, course.seed
        )
        rng = np.random.default_rng([course.seed, state.step])
        seen, hidden = mask_tokens(tokens, begins, texts.kinds, rng)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = masked_loss_sum(state.model, *_on(device, seen, hidden, tokens))
        loss = loss / max(1, hidden.sum())
        loss.backward()
        mean = loss.item()
        if not math.isfinite(mean):
            raise TrialError(
                f"the loss is {mean} at step {state.step + 1}, try a smaller --learning-rate"
            )
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), PRETRAIN_MAX_GRADIENT_NORM)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds += clock() - began
        behind = state.step * a_step
        yield StepResult(mean, behind, state.seconds, course.done(state.seconds, behind))


def perplexity(
    model: BertForMaskedLM, apart: TokenBlocks, batch: int, most: int, bfloat16: bool
) -> tuple[float, int]:
    """Return the perplexity of hidden tokens in texts kept apart, and of how many.

    At most about `most` tokens are looked at; the masks are the same for every model.
    """
    model.eval()
    blocks = min(count_blocks(apart.stream, apart.length), max(1, most // apart.length))
    rng = np.random.default_rng(_APART_SEED)
    total, count = 0.0, 0
    for start in range(0, blocks, batch):
        some = np.arange(start, min(start + batch, blocks))
        tokens, begins = cut_blocks(apart.stream, some, apart.length, 0, apart.first)
        seen, hidden = mask_tokens(tokens, begins, apart.kinds, rng)
        with (
            torch.inference_mode(),
            torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16),
        ):
            total += masked_loss_sum(model, *_on(model.device, seen, hidden, tokens)).item()
        count += int(hidden.sum())
    return math.exp(total / max(1, count)), count


def _on(
    device: torch.device,
    seen: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    hidden: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    tokens: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what `masked_loss_sum` takes."""
    places = torch.from_numpy(np.flatnonzero(hidden)).to(device)
    meant = torch.from_numpy(tokens[hidden]).to(device)
    return torch.from_numpy(seen).to(device), places, meant


STACKED_AT = 0.5  # share of the course

_LAYERS = "bert.encoder.layer."


def shallow_encoder(measured: EncoderShape) -> EncoderShape:
    """Return the measures at half the depth, rounded up."""
    return replace(measured, layers=-(-measured.layers // 2))


def stack_layers(
    state: PretrainingState, measured: EncoderShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> PretrainingState:
    """Return a training of the full depth: the layers of `state`, and again from the first on.

    The optimizer's moments are copied with the weights they belong to.
    """
    device = state.model.device
    model = build_encoder(measured, tokenizer, seed).to(device)
    grown = PretrainingState(model, pretraining_optimizer(model), state.step, state.seconds)
    old = dict(state.model.named_parameters())
    depth = state.model.config.num_hidden_layers
    for name, weight in model.named_parameters():
        source = old[_source(name, depth)]
        with torch.no_grad():
            weight.copy_(source)
        if source in state.optimizer.state:
            moments = state.optimizer.state[source]
            grown.optimizer.state[weight] = {key: one.clone() for key, one in moments.items()}
    return grown


def _source(name: str, depth: int) -> str:
    """Return the name of the weight that `name` is copied from.

    >>> _source("bert.encoder.layer.4.output.dense.bias", 3)
    'bert.encoder.layer.1.output.dense.bias'
    """
    if not name.startswith(_LAYERS):
        return name
    number, _, rest = name.removeprefix(_LAYERS).partition(".")
    return f"{_LAYERS}{int(number) % depth}.{rest}"
