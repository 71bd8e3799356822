"""Masked-language modelling: the training loop, its learning rate schedule, and layer stacking.

Each step depends on the seed and its number alone, so a run can be resumed after any step.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from autoprune.errors import TrialError
from autoprune.pretraining.config import EncoderShape, PretrainingSchedule
from autoprune.pretraining.data import TokenBlocks, batch_for_step, mask_tokens
from autoprune.pretraining.model import build_encoder, masked_loss_sum
from autoprune.training.devices import bfloat16_holds
from autoprune.training.loop import MAX_GRADIENT_NORM, WARMUP_SHARE, make_optimizer

STACKED_AT = 0.5  # share of the training after which layers are stacked

_EVALUATION_SEED = 0  # the same masks for every model

_LAYERS = "bert.encoder.layer."


@dataclass(slots=True)
class PretrainingState:
    """A training in progress: model and optimizer, changed in place, and what was spent so far.

    `rows` is the row of each token in the embeddings of `model`, None where it is its number.
    """

    model: PreTrainedModel
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """The mean loss of one step in nats, and tokens, seconds and share done after it."""

    loss: float
    tokens: int
    seconds: float
    done: float


def one_cycle_rate(done: float) -> float:
    """Return the share of the peak learning rate: linear warm-up, then linear decay to 0.

    >>> [round(one_cycle_rate(share), 2) for share in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if done < WARMUP_SHARE:
        return max(done / WARMUP_SHARE, 0.01)
    return max(0.0, (1 - done) / (1 - WARMUP_SHARE))


def pretraining_optimizer(model: PreTrainedModel) -> torch.optim.AdamW:
    """Return the AdamW of fine-tuning with the betas and epsilon of RoBERTa."""
    optimizer = make_optimizer(model, model.device)
    for group in optimizer.param_groups:
        group.update(betas=(0.9, 0.98), eps=1e-6)
    return optimizer


def train_masked(
    state: PretrainingState,
    blocks: TokenBlocks,
    schedule: PretrainingSchedule,
    bfloat16: bool,
    end: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[StepResult]:
    """Train `state` in place until the share `end` of the schedule is done; yield each step.

    There is no dropout: texts that are seen a few times do not need it (arXiv 2505.24788).
    Raises `TrialError` when the loss is not a finite number.
    """
    state.model.eval()  # without dropout, however the family implements it
    tokens_per_step = schedule.batch * blocks.length
    while (done := schedule.done(state.seconds, state.step * tokens_per_step)) < end:
        began = clock()
        for group in state.optimizer.param_groups:
            group["lr"] = schedule.learning_rate * one_cycle_rate(done)
        tokens, word_starts = batch_for_step(blocks, state.step, schedule.batch, schedule.seed)
        rng = np.random.default_rng([schedule.seed, state.step])
        inputs, masked = mask_tokens(tokens, word_starts, blocks.kinds, rng)
        if state.rows is not None:
            inputs, tokens = state.rows[inputs], state.rows[tokens]
        loss = _loss_sum(state.model, inputs, masked, tokens, bfloat16) / max(1, masked.sum())
        loss.backward()
        mean = loss.item()
        if not math.isfinite(mean):
            raise TrialError(
                f"the loss is {mean} at step {state.step + 1}, try a smaller --learning-rate"
            )
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), MAX_GRADIENT_NORM)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds += clock() - began
        seen = state.step * tokens_per_step
        yield StepResult(mean, seen, state.seconds, schedule.done(state.seconds, seen))


def perplexity(
    model: PreTrainedModel, held_out: TokenBlocks, batch: int, most: int, bfloat16: bool
) -> tuple[float | None, int]:
    """Return the perplexity of masked tokens in held-out texts, and the number of these tokens.

    Reads about `most` tokens or fewer. The masks are the same for every model. No token is read
    twice; the perplexity is None where none was masked.
    """
    model.eval()
    if not (size := len(held_out.stream.tokens)):
        return None, 0
    held_out = replace(held_out, length=min(held_out.length, size + 1))
    number = min(len(held_out), max(1, most // held_out.length))
    rng = np.random.default_rng(_EVALUATION_SEED)
    total, count = 0.0, 0
    for start in range(0, number, batch):
        index = np.arange(start, min(start + batch, number))
        tokens, word_starts = held_out.cut(index, 0)
        inputs, masked = mask_tokens(tokens, word_starts, held_out.kinds, rng)
        places = index[:, None] * (held_out.length - 1) + np.arange(-1, held_out.length - 1)
        masked &= places < size  # the last block is filled up by what was read before
        with torch.inference_mode():
            total += _loss_sum(model, inputs, masked, tokens, bfloat16).item()
        count += int(masked.sum())
    return (math.exp(total / count) if count else None), count


def _loss_sum(
    model: PreTrainedModel,
    inputs: NDArray[np.int64],
    masked: NDArray[np.bool_],
    tokens: NDArray[np.int64],
    bfloat16: bool,
) -> torch.Tensor:
    arrays = inputs, np.flatnonzero(masked), tokens[masked]
    tensors = (torch.from_numpy(array).to(model.device) for array in arrays)
    with torch.autocast(
        model.device.type, torch.bfloat16, enabled=bfloat16 and bfloat16_holds(model)
    ):
        return masked_loss_sum(model, *tensors)


def stack_layers(
    state: PretrainingState, shape: EncoderShape, tokenizer: PreTrainedTokenizerFast, seed: int
) -> PretrainingState:
    """Return a training of the full depth: the layers of `state`, then the same from the first on.

    The optimizer's moments are copied with the weights (progressive stacking, Gong and others
    2019).
    """
    model = build_encoder(shape, tokenizer, seed).to(state.model.device)
    deep = PretrainingState(model, pretraining_optimizer(model), state.step, state.seconds)
    sources = dict(state.model.named_parameters())
    depth = state.model.config.num_hidden_layers
    for name, weight in model.named_parameters():
        source = sources[_source_name(name, depth)]
        with torch.no_grad():
            weight.copy_(source)
        if source in state.optimizer.state:
            moments = state.optimizer.state[source]
            deep.optimizer.state[weight] = {key: value.clone() for key, value in moments.items()}
    return deep


def _source_name(name: str, depth: int) -> str:
    """Return the name of the weight that `name` is copied from.

    >>> _source_name("bert.encoder.layer.4.output.dense.bias", 3)
    'bert.encoder.layer.1.output.dense.bias'
    """
    if not name.startswith(_LAYERS):
        return name
    number, _, rest = name.removeprefix(_LAYERS).partition(".")
    return f"{_LAYERS}{int(number) % depth}.{rest}"
