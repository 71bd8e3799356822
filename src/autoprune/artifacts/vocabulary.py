"""The exported vocabulary: which texts it is cut to, and what that costs on texts it never saw."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.artifacts.trimming import trim
from autoprune.errors import OptionError
from autoprune.tasks.task import Rows, Splits, TestSplit

EVERY = 10  # of a corpus, each line with such a number is held out
MOST = 10_000  # held-out texts; more would change no figure that is shown


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A tokenizer with fewer tokens: new token `i` was token `kept[i]`; `note` is one sentence."""

    tokenizer: PreTrainedTokenizerBase
    kept: NDArray[np.int64]
    note: str


def cut_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    corpus: Sequence[Path],
) -> Cut:
    """Cut `model` in place to the tokens of all texts of the task and of the files `corpus`.

    Texts of the task all keep their tokens, so they cannot tell how new text fares. With a corpus
    every tenth of its lines is left out and judged; without one a trial cut to the train texts
    alone is judged on those of validation and test. Raises `OptionError` for unreadable files.
    """
    seen = [*_texts(splits.train), *_texts(splits.validation), *_texts(test.rows)]
    if corpus:
        held_out = [text for text, apart in _lines(corpus) if apart][:MOST]
        kept_apart = (text for text, apart in _lines(corpus) if not apart)
        whole = trim(model, tokenizer, chain(seen, kept_apart), held_out)
        tried, where = whole, f"{len(held_out):,} lines of the corpus left out for it"
    else:
        held_out = [*_texts(splits.validation), *_texts(test.rows)][:MOST]
        tried = trim(copy.deepcopy(model), tokenizer, _texts(splits.train), held_out)
        whole = trim(model, tokenizer, seen, held_out)
        where = "validation and test texts, by a cut to the train texts alone"
    pieces = _pieces(tokenizer, held_out), _pieces(tried.tokenizer, held_out)
    note = (
        f"Vocabulary cut from {whole.before:,} to {whole.after:,} tokens. On held-out text "
        f"({where}): {_share(tried.unknown_before)} unknown tokens before, "
        f"{_share(tried.unknown_after)} after; {pieces[0]:.1f} tokens a text before, "
        f"{pieces[1]:.1f} after."
    )
    return Cut(whole.tokenizer, whole.kept, note)


def check_corpus(corpus: Sequence[Path]) -> None:
    """Raise `OptionError` for a file of the corpus that cannot be read, or has no text."""
    for path in corpus:
        if next(_lines([path]), None) is None:
            raise OptionError(f"a corpus is a text file with a text a line, {path} has none")


def _lines(corpus: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield the lines with a text, and whether each is held out."""
    for path in corpus:
        try:
            with path.open(encoding="utf-8") as file:
                texts = (line.strip() for line in file)
                for number, text in enumerate(filter(None, texts), start=1):
                    yield text, number % EVERY == 0
        except OSError as error:
            raise OptionError(f"cannot read the corpus {path}: {error.strerror}") from error
        except ValueError as error:
            raise OptionError(f"a corpus is a text file in UTF-8, {path} is not") from error


def _texts(rows: Rows) -> Iterable[str]:
    return [*rows.texts, *(rows.pairs or ())]


def _share(share: float) -> str:
    return f"{share * 100:.2f} %"


def _pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Return the mean number of tokens that a text is written in."""
    if not texts:
        return 0.0
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return sum(map(len, rows)) / len(rows)
