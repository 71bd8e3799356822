"""Prediction: a saved classifier gives labels, numbers or entities for a stream of texts."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.encoders.config import read_config
from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import (
    check_tokens,
    load_tokenizer,
    max_input_length,
    problem_type_of,
    vocabulary_size,
)
from autoprune.encoders.profiling import open_trained
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import DataError, ModelError, quote
from autoprune.tasks.tags import OUTSIDE
from autoprune.training.metrics import find_entities
from autoprune.training.problem_types import SINGLE_LABEL, ProblemType, find_problem_type

_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification")

PAIRS_KEY = "text_pairs"
"""In config.json: whether the model was trained on pairs of texts."""

_DEFAULT_LENGTH = 512  # tokens, where neither tokenizer nor model has a limit

_NO_LIMIT = 1_000_000  # tokens; a tokenizer without a limit gives a number far above

_BATCHES = 32  # batches of rows that are held at once and sorted by length


class Entity(NamedTuple):
    """An entity of a text: its type, its characters from `start` to before `end`.

    `probability` is the mean of its words' tags.
    """

    type: str
    text: str
    start: int
    end: int
    probability: float


RowPrediction = NDArray[np.float64] | list[Entity]
"""What is predicted of a row: a probability for each label, (labels,), a number, (1,), or its
entities."""

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

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return for each token of each text its first character and the one after its last."""
        batch = self.tokenizer(
            list(texts), truncation=True, max_length=self.longest, return_offsets_mapping=True
        )
        found: list[list[tuple[int, int]]] = batch["offset_mapping"]
        return found


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
    """A saved classifier in any format; `labels` are its names in index order.

    `pairs` tells whether it was trained on pairs of texts, None where its folder does not say so.
    """

    labels: tuple[str, ...]
    classifier: Callable[[TokenTensors], NDArray[np.float32]]
    tokenize: TextTokenizer
    problem_type: ProblemType
    pairs: bool | None = None

    def __call__(
        self, rows: Iterable[tuple[str, str | None]], batch: int
    ) -> Iterator[RowPrediction]:
        """Yield the prediction of each row in their order.

        A row is a text and a second text or None. At most some batches of rows are read ahead.
        Raises `DataError` where a row is a pair and the model was trained on single texts, or the
        other way round.
        """
        rest = iter(rows)
        while held := list(islice(rest, batch * _BATCHES)):
            self.check_rows(held)
            order = np.argsort([len(text) + len(pair or "") for text, pair in held], kind="stable")
            predicted = [
                prediction
                for start in range(0, len(held), batch)
                for prediction in self._predict([held[row] for row in order[start : start + batch]])
            ]
            yield from (predicted[place] for place in np.argsort(order))

    def check_rows(self, rows: Iterable[tuple[str, str | None]]) -> None:
        """Raise `DataError` for single texts where the model was trained on pairs, and for pairs.

        It would answer them without a word, and be right by chance.
        """
        if self.pairs is None or all((pair is not None) is self.pairs for _, pair in rows):
            return
        raise DataError(
            "the model was trained on pairs of texts: give the second text of each row too, with "
            '--text-pair or in "pair"'
            if self.pairs
            else "the model was trained on single texts: leave the second ones out"
        )

    def _predict(self, rows: Sequence[tuple[str, str | None]]) -> Sequence[RowPrediction]:
        """Return the predictions of one batch."""
        pairs = [pair for _, pair in rows if pair is not None]
        texts = [text for text, _ in rows]
        if self.problem_type.by_word:  # as in training: a space alone is between two words
            texts = [" ".join(text.split()) for text in texts]
        tokens = self.tokenize(texts, pairs or None)
        probabilities = self.problem_type.probabilities(self.classifier(tokens))
        if not self.problem_type.by_word:
            return list(probabilities)
        return [
            self._entities(text, places, each)
            for (text, _), places, each in zip(
                rows, self.tokenize.offsets(texts), probabilities, strict=True
            )
        ]

    def _entities(
        self, text: str, offsets: Sequence[tuple[int, int]], probabilities: NDArray[np.float64]
    ) -> list[Entity]:
        """Return the entities of a text; a word is what is between spaces, as in training.

        The first token of a word tells its tag. `probabilities` are those of all tokens, `offsets`
        are in the text with one space between two words.
        """
        words = list(re.finditer(r"\S+", text))
        starts = list(accumulate((len(word[0]) + 1 for word in words), initial=0))[:-1]
        first: dict[int, int] = {}
        for place, (start, end) in enumerate(offsets):
            if start == end:  # a special token
                continue
            word = bisect_right(starts, start) - 1
            if start == starts[word] + len(words[word][0]):  # the space before the next word
                word, start = word + 1, start + 1
            if start < end:
                first.setdefault(word, place)
        if not first:
            return []
        of_words = probabilities[[first.get(word, 0) for word in range(len(words))]]
        numbers = tag_numbers(self.labels)
        tags = np.array(
            [numbers[of_words[word].argmax()] if word in first else 0 for word in range(len(words))]
        )
        begins, last = find_entities(tags)
        types = {number: label[2:] for number, label in zip(numbers, self.labels, strict=True)}
        return [
            Entity(
                types[tags[word]],
                text[words[word].start() : words[last[word]].end()],
                words[word].start(),
                words[last[word]].end(),
                float(of_words[word : last[word] + 1].max(-1).mean()),
            )
            for word in np.flatnonzero(begins).tolist()
        ]


def tag_numbers(labels: Sequence[str]) -> list[int]:
    """Return the number of each tag as `find_entities` takes it: O, B-X, I-X, B-Y, I-Y, ...

    Raises `ModelError` for a name that is no such tag.

    >>> tag_numbers(["B-LOC", "B-PER", "I-LOC", "I-PER", "O"])
    [1, 3, 2, 4, 0]
    """
    types = list(dict.fromkeys(label[2:] for label in labels if label != OUTSIDE))
    for label in labels:
        if label != OUTSIDE and not (label[:2] in ("B-", "I-") and label[2:]):
            raise ModelError(
                f"a model that tags words must have labels such as O, B-PER and I-PER, it has "
                f"{quote(label[:60])}: name them so in id2label of config.json"
            )
    return [
        0 if label == OUTSIDE else 1 + 2 * types.index(label[2:]) + (label[0] == "I")
        for label in labels
    ]


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
    if not any(name.endswith(_CLASSIFIERS) for name in classes):
        raise ModelError(
            f"{folder} holds no trained classifier "
            f"({', '.join(classes) or 'no architecture in config.json'}): name the folder of "
            "an exported model"
        )
    problem_type = find_problem_type(problem_type_of(config))
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    if problem_type.name == "regression" and len(labels) != 1:
        raise ModelError(
            f"{folder} predicts {len(labels)} numbers for each text, and only one can be written: "
            "name another model"
        )
    if problem_type is SINGLE_LABEL and len(labels) == 1:
        raise ModelError(
            f"{folder} has one output and does not say what it is: with a number as its answer, "
            "write problem_type regression in its config.json, else name another model"
        )
    if problem_type.by_word:
        tag_numbers(labels)
    tokenize, pairs = make_tokenizer(folder), getattr(config, PAIRS_KEY, None)
    pairs = pairs if isinstance(pairs, bool) else None  # of others' making
    return Predictor(labels, open_classifier(), tokenize, problem_type, pairs)
