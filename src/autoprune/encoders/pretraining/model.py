"""The model that is trained: BERT with its head for masked words, by its measures."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from autoprune.encoders.pretraining.wordpieces import LONGEST_INPUT
from autoprune.errors import OptionError

DROPOUT = 0.1
_A_HEAD = 64  # hidden units of a head, as in BERT


@dataclass(frozen=True, slots=True)
class Measures:
    """How large the encoder is; `tokens` is the length of a block."""

    layers: int
    hidden: int
    heads: int
    inner: int
    tokens: int


def measures(
    layers: int, hidden: int, heads: int | None, inner: int | None, tokens: int
) -> Measures:
    """Return the measures, by default a head for 64 units and four times as many inner ones.

    Raises `OptionError` where the heads do not share the units evenly.
    """
    heads = max(1, hidden // _A_HEAD) if heads is None else heads
    if hidden % heads:
        raise OptionError(f"--hidden must be a multiple of --heads, got {hidden} and {heads}")
    return Measures(layers, hidden, heads, 4 * hidden if inner is None else inner, tokens)


def build(measured: Measures, tokenizer: PreTrainedTokenizerFast, seed: int) -> BertForMaskedLM:
    """Return the model with random weights drawn from `seed`, in float32 on the CPU.

    Without dropout, which a text seen a few times has no need of: see `ready_`.
    """
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=measured.hidden,
        num_hidden_layers=measured.layers,
        num_attention_heads=measured.heads,
        intermediate_size=measured.inner,
        max_position_embeddings=max(LONGEST_INPUT, measured.tokens),
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config)


def ready_(model: BertForMaskedLM) -> None:
    """Write into the config, in place, the dropout that BERT is fine-tuned with."""
    model.config.hidden_dropout_prob = DROPOUT
    model.config.attention_probs_dropout_prob = DROPOUT


def loss_sum(
    model: BertForMaskedLM, seen: torch.Tensor, hidden: torch.Tensor, meant: torch.Tensor
) -> torch.Tensor:
    """Return the sum of the losses of the hidden tokens, in float32.

    `seen` is (blocks, length), `hidden` the hidden places in its flat order, `meant` the tokens
    that stood there. Logits are made at these places only: with a vocabulary of 16,000 those of
    one token cost more than six layers of 128 units.
    """
    states = model.bert(input_ids=seen).last_hidden_state.flatten(0, 1)  # (blocks * length, hidden)
    logits = model.cls(states[hidden])  # (hidden tokens, vocabulary)
    return nn.functional.cross_entropy(logits.float(), meant, reduction="sum")
