"""Prediction: a saved classifier gives the probabilities of labels for a stream of texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.encoders.config import read_config
from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import (
    check_tokens,
    load_tokenizer,
    max_input_length,
    vocabulary_size,
)
from autoprune.encoders.profiling import open_trained
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError
from autoprune.training.problem_types import ProblemType, find_problem_type

_DEFAULT_LENGTH = 512  # tokens, where neither tokenizer nor model has a limit

_NO_LIMIT = 1_000_000  # tokens; a tokenizer without a limit gives a number far above

_BATCHES = 32  # batches of rows that are held at once and sorted by length

TokenTensors = dict[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)


@dataclass(frozen=True, slots=True, eq=False)
class TextTokenizer:
    """The tokenizer of the saved model `name`, which knows `known` tokens.

    A text is cut to `longest` tokens.
    """

    tokenizer: Any
    longest: int
    name: str
    known: int

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> TokenTensors:
        """Return a batch, padded to its longest text; raises `ModelError` for an unknown token."""
        batch = self.tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_tensors="np",
        )
        check_tokens(self.name, self.known, int(np.max(batch["input_ids"], initial=0)))
        return {name: np.asarray(ids, dtype=np.int64) for name, ids in batch.items()}


def make_tokenizer(
    folder: Path, tokens: int | None = None, trust_remote_code: bool = False
) -> TextTokenizer:
    """Load the tokenizer in `folder`; raises `ModelError`.

    Texts are cut to the limit of tokenizer and model, or to `tokens` if that is less.
    """
    checkpoint = EncoderFiles(Encoder(folder.name, str(folder)), folder, "", 1, trust_remote_code)
    tokenizer = load_tokenizer(checkpoint)
    limit = tokenizer.model_max_length
    longest = max_input_length(checkpoint, min(limit, tokens or limit))
    longest = longest if longest < _NO_LIMIT else _DEFAULT_LENGTH
    return TextTokenizer(tokenizer, longest, folder.name, vocabulary_size(checkpoint))


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A saved classifier in any format; `labels` are its names in index order."""

    labels: tuple[str, ...]
    classifier: Callable[[TokenTensors], NDArray[np.float32]]
    tokenize: TextTokenizer
    problem_type: ProblemType

    def __call__(
        self, rows: Iterable[tuple[str, str | None]], batch: int
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the probabilities of the labels, (labels,), for each row in their order.

        A row is a text and a second text or None. At most some batches of rows are read ahead.
        """
        rest = iter(rows)
        while held := list(islice(rest, batch * _BATCHES)):
            order = np.argsort([len(text) + len(pair or "") for text, pair in held], kind="stable")
            probabilities = np.concatenate(
                [
                    self._predict([held[row] for row in order[start : start + batch]])
                    for start in range(0, len(held), batch)
                ]
            )
            yield from probabilities[np.argsort(order)]

    def _predict(self, rows: Sequence[tuple[str, str | None]]) -> NDArray[np.float64]:
        """Return the probabilities of one batch, (rows, labels)."""
        pairs = [pair for _, pair in rows if pair is not None]
        tokens = self.tokenize([text for text, _ in rows], pairs or None)
        return self.problem_type.probabilities(self.classifier(tokens))


def open_predictor(folder: Path, device: torch.device) -> Predictor:
    """Load the classifier in `folder` in torch.

    Raises `ModelError` where there is none, `UnknownNameError` for another problem type.
    """
    checkpoint = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    return make_predictor(folder, lambda: open_trained(checkpoint, device))


def make_predictor(
    folder: Path, open_classifier: Callable[[], Callable[[TokenTensors], NDArray[np.float32]]]
) -> Predictor:
    """Return the classifier in `folder`, as `open_classifier` opens it; raises the same errors."""
    config = read_config(folder, trust_remote_code=False)
    classes = config.architectures or ()
    if not any(name.endswith("ForSequenceClassification") for name in classes):
        raise ModelError(
            f"{folder} holds no trained classifier "
            f"({', '.join(classes) or 'no architecture in config.json'}): name the folder of "
            "an exported model"
        )
    problem_type = find_problem_type(config.problem_type)
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    tokenize = make_tokenizer(folder)
    return Predictor(labels, open_classifier(), tokenize, problem_type)
