"""Samples: real rows of a task that the trained model answers, and the exported one must too."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.artifacts.reloading import ALONE, BATCH
from autoprune.tasks.batching import collate
from autoprune.tasks.task import Rows, Splits, TestSplit
from autoprune.tasks.tokenising import Encoded, encode, renumber

ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows as texts and as the trained model's tokens, numbered as in its training."""

    rows: Rows
    encoded: Encoded


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """A model's logits in 32-bit floats on the processor, (rows, classes).

    `together` are those of all rows, padded in batches of `BATCH`; `alone` of the first `ALONE`
    rows, each by itself.
    """

    together: NDArray[np.float32]
    alone: NDArray[np.float32]


def sample(
    splits: Splits,
    test: TestSplit,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int,
    kept: NDArray[np.int64] | None,
) -> Sample:
    """Choose `ROWS` rows of all splits (all, if there are fewer), from the shortest to the longest.

    `tokens` is the longest input, `kept` the tokens that were trained (see `keep_tokens`).
    """
    parts = (splits.train, splits.validation, test.rows)
    whole = [(text, pair) for rows in parts for text, pair in _texts(rows)]
    whole = sorted(dict.fromkeys(whole), key=lambda row: (len(row[0]) + len(row[1]), row))
    places = np.unique(np.linspace(0, len(whole) - 1, ROWS).round().astype(int))
    texts, pairs = zip(*(whole[place] for place in places), strict=True)
    rows = Rows(texts, (0,) * len(texts), None if splits.train.pairs is None else pairs)
    encoded = encode(rows, tokenizer, tokens)
    return Sample(rows, encoded if kept is None else renumber(encoded, kept))


def answers(model: PreTrainedModel, encoded: Encoded) -> Answers:
    """Return what `model` makes of the rows; it is moved to the processor and set to evaluation."""
    model.cpu().eval()
    rows = np.arange(len(encoded))
    return Answers(
        together=_logits(model, encoded, np.split(rows, rows[BATCH::BATCH])),
        alone=_logits(model, encoded, np.split(rows[:ALONE], rows[1:ALONE])),
    )


def _texts(rows: Rows) -> list[tuple[str, str]]:
    pairs = rows.pairs if rows.pairs is not None else ("",) * len(rows)
    return list(zip(rows.texts, pairs, strict=True))


def _logits(
    model: PreTrainedModel, encoded: Encoded, batches: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    found = []
    for index in batches:
        inputs = collate(encoded, index)
        del inputs["labels"]
        with torch.inference_mode():
            found.append(model(**inputs).logits.float().numpy())
    return np.concatenate(found)
