"""Configuration of a pre-training: size of the encoder, schedule, corpus and options."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import OptionError

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


def default_pretraining_rate(hidden: int) -> float:
    """Return the peak learning rate for an encoder `hidden` units wide.

    >>> default_pretraining_rate(128), default_pretraining_rate(768)
    (0.001, 0.0004)
    """
    return 1e-3 if hidden < 512 else 4e-4


@dataclass(frozen=True, slots=True)
class PretrainingConfig:
    """What to train: a model of `shape` on the text files `corpus`, written to the folder `out`.

    `tokenizer` names a model whose tokenizer is taken; None trains one of `vocabulary` tokens.
    With `warm_embeddings` the embeddings begin from counts of neighbours; with `stack` half the
    layers are trained first, then stacked. `command` is written in the card, to repeat the run.
    """

    corpus: tuple[Path, ...]
    out: Path
    shape: EncoderShape
    schedule: PretrainingSchedule
    tokenizer: str | None = None
    vocabulary: int = 16_000
    warm_embeddings: bool = True
    stack: bool = True
    device: str = "auto"
    command: str = ""

    def settings(self, fingerprint: str) -> Settings:
        """Return what must stay the same when the run is resumed, by the names users know."""
        shape, schedule = self.shape, self.schedule
        return {
            "the corpus": fingerprint,
            "--tokenizer": self.tokenizer,
            "--vocabulary": None if self.tokenizer else self.vocabulary,
            "--layers": shape.layers,
            "--hidden": shape.hidden,
            "--heads": shape.heads,
            "--inner": shape.inner,
            "--tokens": shape.tokens,
            "--batch": schedule.batch,
            "--minutes": None if schedule.seconds is None else schedule.seconds / 60,
            "--budget-tokens": schedule.budget_tokens,
            "--learning-rate": schedule.learning_rate,
            "--warm-embeddings": self.warm_embeddings,
            "--stack": self.stack,
            "--seed": schedule.seed,
        }
