"""Batches: texts as the padded tokens that a saved model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from autoprune.artifacts.silence import silence
from autoprune.encoders.encoder import Checkpoint, Encoder
from autoprune.encoders.folder import UNREADABLE, first_line
from autoprune.encoders.shape import longest_input
from autoprune.errors import ModelError

_UNBOUNDED = 512  # tokens, where neither tokenizer nor model says how many it takes
_SAYS_NONE = 1_000_000  # a tokenizer without a limit gives a number far above

Tokens = dict[str, NDArray[np.int64]]  # input_ids, attention_mask, ...: (rows, longest)


@dataclass(frozen=True, slots=True, eq=False)
class Tokenising:
    """The tokenizer of a saved model; a text is cut to `longest` tokens."""

    tokenizer: Any
    longest: int

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Tokens:
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


def tokenising(
    folder: Path, tokens: int | None = None, trust_remote_code: bool = False
) -> Tokenising:
    """Load the tokenizer in `folder`; texts are cut to what it and the model take, or to `tokens`.

    Raises `ModelError`.
    """
    named = Encoder(folder.name, str(folder))
    checkpoint = Checkpoint(named, folder, "", 1, trust_remote_code)
    try:
        with silence():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except UNREADABLE as error:
        raise ModelError(f"cannot load the tokenizer in {folder}: {first_line(error)}") from error
    said = tokenizer.model_max_length
    wanted = min(said, tokens or said)
    longest = longest_input(checkpoint, wanted)
    return Tokenising(tokenizer, longest if longest < _SAYS_NONE else _UNBOUNDED)
