"""Configuration of a pre-training: size of the encoder, schedule, corpus and options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import OptionError
from autoprune.layouts.layout import Layout

Settings = Mapping[str, str | int | float | bool | None]

_HEAD_WIDTH = 64  # hidden units of a head, as in BERT


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The size of an encoder; `inner` is the width of the feed-forward part.

    `tokens` is the length of a block in training.
    """

    layers: int
    hidden: int
    heads: int
    inner: int
    tokens: int


def encoder_shape(
    layers: int, hidden: int, heads: int | None, inner: int | None, tokens: int
) -> EncoderShape:
    """Return a shape. By default it has one head per 64 hidden units and `inner = 4 * hidden`.

    Raises `OptionError` if `hidden` is not a multiple of `heads`.
    """
    heads = max(1, hidden // _HEAD_WIDTH) if heads is None else heads
    if hidden % heads:
        raise OptionError(f"--hidden must be a multiple of --heads, got {hidden} and {heads}")
    return EncoderShape(layers, hidden, heads, 4 * hidden if inner is None else inner, tokens)


@dataclass(frozen=True, slots=True)
class GivenEncoder:
    """An encoder that is trained further: `model` as the user names it, `layout` what is kept.

    A `layout` of None keeps all layers. `tokens` is the length of a block in training.
    """

    model: str
    layout: Layout | None
    tokens: int


@dataclass(frozen=True, slots=True)
class PretrainingSchedule:
    """How to train: `batch` blocks per step, for `seconds` or for `budget_tokens` tokens.

    Raises `OptionError` unless exactly one of the two is given.
    """

    batch: int
    learning_rate: float
    seed: int
    seconds: float | None
    budget_tokens: int | None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.budget_tokens is None):
            raise OptionError(
                "a training ends by --minutes or by --budget-tokens: give one of them"
            )

    def done(self, seconds: float, tokens: int) -> float:
        """Return the share of the training that is done, from 0; it ends at 1 or above."""
        if self.seconds is not None:
            return seconds / self.seconds
        assert self.budget_tokens is not None
        return tokens / self.budget_tokens


FURTHER_RATE = 1e-4
"""The peak learning rate by default for an encoder that is trained further.

Published rates for 768 units are 5e-5 with 32 texts a step (Sun and others, arXiv 1905.05583), 1e-4
with 256 and 5e-4 with 2,048 (Gururangan and others, arXiv 2004.10964).
"""


def default_pretraining_rate(hidden: int) -> float:
    """Return the peak learning rate for an encoder `hidden` units wide.

    >>> default_pretraining_rate(128), default_pretraining_rate(768)
    (0.001, 0.0004)
    """
    return 1e-3 if hidden < 512 else 4e-4


@dataclass(frozen=True, slots=True)
class PretrainingConfig:
    """What to train: a model `encoder` on the text files `corpus`, written to the folder `out`.

    An `EncoderShape` begins from random weights, a `GivenEncoder` from its own, with its own
    tokenizer; only the first has the following options. `tokenizer` names a model whose tokenizer
    is taken; None trains one of `vocabulary` tokens. With `warm_embeddings` the embeddings begin
    from counts of neighbours; with `stack` half the layers are trained first, then stacked.
    `command` is written in the card, to repeat the run.
    """

    corpus: tuple[Path, ...]
    out: Path
    encoder: EncoderShape | GivenEncoder
    schedule: PretrainingSchedule
    tokenizer: str | None = None
    vocabulary: int = 16_000
    warm_embeddings: bool = True
    stack: bool = True
    device: str = "auto"
    command: str = ""

    def settings(self, fingerprint: str, model: str | None) -> Settings:
        """Return what must stay the same when the run is resumed, by the names users know.

        `fingerprint` is that of the corpus, `model` the given encoder with its commit.
        """
        encoder, schedule = self.encoder, self.schedule
        own: dict[str, str | int | float | bool | None]
        if isinstance(encoder, GivenEncoder):
            own = {"--layout": None if encoder.layout is None else str(encoder.layout)}
        else:
            own = {
                "--tokenizer": self.tokenizer,
                "--vocabulary": None if self.tokenizer else self.vocabulary,
                "--layers": encoder.layers,
                "--hidden": encoder.hidden,
                "--heads": encoder.heads,
                "--inner": encoder.inner,
                "--warm-embeddings": self.warm_embeddings,
                "--stack": self.stack,
            }
        return {
            "--from": model,
            "the corpus": fingerprint,
            **own,
            "--tokens": encoder.tokens,
            "--batch": schedule.batch,
            "--minutes": None if schedule.seconds is None else schedule.seconds / 60,
            "--budget-tokens": schedule.budget_tokens,
            "--learning-rate": schedule.learning_rate,
            "--seed": schedule.seed,
        }
