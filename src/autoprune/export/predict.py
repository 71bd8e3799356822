"""Predicting: what a saved classifier says of texts, as they come."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from autoprune.encoders.files import (
    UNREADABLE,
    read_checkpoint,
    read_config,
    silence_libraries,
)
from autoprune.encoders.loading import check_vocabulary, max_input_length
from autoprune.encoders.profiling import Classifier, open_trained
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import ModelError, first_line

_UNBOUNDED = 512  # tokens, where neither tokenizer nor model says how many it takes

_SAYS_NONE = 1_000_000  # a tokenizer without a limit gives a number far above

TokenTensors = dict[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)


@dataclass(frozen=True, slots=True, eq=False)
class TextTokenizer:
    """The tokenizer of a saved model; a text is cut to `longest` tokens."""

    tokenizer: Any
    longest: int

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> TokenTensors:
        """Return a batch, padded to its longest text."""
        batch = self.tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_tensors="np",
        )
        return {name: np.asarray(ids, dtype=np.int64) for name, ids in batch.items()}


def make_tokenizer(
    folder: Path, tokens: int | None = None, trust_remote_code: bool = False
) -> TextTokenizer:
    """Load the tokenizer in `folder`; texts are cut to what it and the model take, or to `tokens`.

    Raises `ModelError`.
    """
    named = Encoder(folder.name, str(folder))
    checkpoint = EncoderFiles(named, folder, "", 1, trust_remote_code)
    try:
        with silence_libraries():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except UNREADABLE as error:
        raise ModelError(f"cannot load the tokenizer in {folder}: {first_line(error)}") from error
    said = tokenizer.model_max_length
    wanted = min(said, tokens or said)
    longest = max_input_length(checkpoint, wanted)
    return TextTokenizer(tokenizer, longest if longest < _SAYS_NONE else _UNBOUNDED)


_BATCHES = 32  # as many batches of rows are held at once, so that rows of like length go together


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A saved classifier; `labels` are its names in index order."""

    labels: tuple[str, ...]
    classifier: Classifier
    tokenise: TextTokenizer

    def __call__(
        self, rows: Iterable[tuple[str, str | None]], batch: int
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the probabilities of each row's labels, (labels,), in the order of the rows.

        No more than some batches of rows are read ahead.
        """
        rest = iter(rows)
        while held := list(islice(rest, batch * _BATCHES)):
            order = np.argsort([len(text) + len(pair or "") for text, pair in held], kind="stable")
            found = np.concatenate(
                [
                    self._shares([held[row] for row in order[start : start + batch]])
                    for start in range(0, len(held), batch)
                ]
            )
            yield from found[np.argsort(order)]

    def _shares(self, rows: Sequence[tuple[str, str | None]]) -> NDArray[np.float64]:
        """Return the probabilities of some rows, (rows, labels)."""
        pairs = [pair for _, pair in rows if pair is not None]
        tokens = self.tokenise([text for text, _ in rows], pairs or None)
        logits = self.classifier(tokens).astype(np.float64)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
        return shares


def open_predictor(folder: Path, device: torch.device) -> Predictor:
    """Load the classifier in `folder`; raises `ModelError` where there is none."""
    checkpoint = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    config = read_config(folder, trust_remote_code=False)
    kinds = config.architectures or ()
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            f"{folder} holds no trained classifier ({', '.join(kinds) or 'it does not say what'}): "
            "name the folder of an exported model"
        )
    labels = tuple(str(config.id2label[place]) for place in sorted(config.id2label))
    tokenise = make_tokenizer(folder)
    check_vocabulary(checkpoint, max(tokenise.tokenizer.get_vocab().values()))
    return Predictor(labels, open_trained(checkpoint, device), tokenise)
