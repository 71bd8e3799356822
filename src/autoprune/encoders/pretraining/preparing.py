"""Preparing: what a training needs on disk before its first step, made once and whole."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.pretraining.corpus import Corpus, texts_of
from autoprune.encoders.pretraining.masking import kinds_of
from autoprune.encoders.pretraining.packing import read_stream, write_stream
from autoprune.encoders.pretraining.training import Texts
from autoprune.encoders.pretraining.wordpieces import read_pieces, train_pieces
from autoprune.errors import DataError

MOST_UNKNOWN = 0.5  # share of the tokens

_LEARNED, _APART = "learned", "apart"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The tokenizer, and the texts to learn from and to judge by."""

    tokenizer: PreTrainedTokenizerFast
    learned: Texts
    apart: Texts


def prepare(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast | None, vocabulary: int, folder: Path
) -> None:
    """Write tokenizer and streams to the new folder `folder`, which appears whole.

    Without a `tokenizer` one of `vocabulary` pieces is trained, on the texts learned from alone.
    Raises `DataError` for a corpus that the tokenizer hardly knows.
    """
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    if tokenizer is None:
        tokenizer = train_pieces(texts_of(corpus, apart=False), vocabulary)
    tokenizer.save_pretrained(draft)
    for name in (_LEARNED, _APART):
        write_stream(texts_of(corpus, apart=name == _APART), tokenizer, draft / name)
        _check_known(draft / name, tokenizer)
    draft.rename(folder)


def read_prepared(folder: Path, length: int) -> Prepared:
    """Read what `prepare` wrote; `length` is that of a block."""
    tokenizer = read_pieces(folder)
    kinds = kinds_of(len(tokenizer), tokenizer.all_special_ids, tokenizer.mask_token_id)
    learned, apart = (
        Texts(read_stream(folder / name), length, tokenizer.cls_token_id, kinds)
        for name in (_LEARNED, _APART)
    )
    return Prepared(tokenizer, learned, apart)


def _check_known(path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = read_stream(path).tokens
    unknown = float(np.mean(tokens == tokenizer.unk_token_id))
    if unknown > MOST_UNKNOWN:
        raise DataError(
            f"the tokenizer must know the corpus, {unknown:.0%} of its tokens are unknown: take "
            "another --tokenizer, or leave it out to have one trained"
        )
