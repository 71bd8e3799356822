"""Masking: which words of a block must be guessed, and what stands there instead.

Whole words: all pieces of a chosen word are hidden. Of the hidden tokens 80 % become [MASK], 10 %
another token, and 10 % stay as they are, as in BERT (arXiv 1810.04805).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARE = 0.2  # of the words
_MASKED, _OTHER = 0.8, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """A tokenizer's tokens: that which masks, and the ordinary ones, each (tokens,)."""

    mask: int
    ordinary: NDArray[np.int64]
    special: NDArray[np.bool_]


def kinds_of(size: int, special: list[int], mask: int) -> Kinds:
    """Tell special tokens from ordinary ones among `size`."""
    flags = np.zeros(size, dtype=np.bool_)
    flags[special] = True
    return Kinds(mask, np.flatnonzero(~flags), flags)


def hide(
    tokens: NDArray[np.int64],
    begins: NDArray[np.bool_],
    kinds: Kinds,
    rng: np.random.Generator,
    share: float = SHARE,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what the model sees and which tokens it must guess, each (blocks, length).

    Each word is chosen with probability `share`, special tokens never.
    """
    places = np.arange(tokens.shape[1])
    start = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    drawn = np.take_along_axis(rng.random(tokens.shape), start, axis=1)  # one number a word
    hidden = (drawn < share) & ~kinds.special[tokens]
    how = rng.random(tokens.shape)
    others = rng.choice(kinds.ordinary, tokens.shape)
    seen = np.where(hidden & (how < _MASKED), kinds.mask, tokens)
    return np.where(hidden & (how >= 1 - _OTHER), others, seen), hidden
