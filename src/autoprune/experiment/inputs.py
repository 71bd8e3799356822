"""Inputs: the rows of a study as a model's tokens, and whether its tokenizer can read them."""

from dataclasses import dataclass

from autoprune.encoders.loading import (
    check_tokens,
    load_tokenizer,
    max_input_length,
    vocabulary_size,
)
from autoprune.encoders.pruning import used_token_ids
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import ModelError
from autoprune.tasks.task import Splits, TestSplit
from autoprune.tasks.tokenization import (
    EncodedSplit,
    Readability,
    encode,
    measure_readability,
    refusal,
    remap_tokens,
)

_MOST_TOKENS = 10**6  # more than a model takes


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """The three splits as one model's tokens, renumbered alike, and how it reads the texts."""

    train: EncodedSplit
    validation: EncodedSplit
    test: EncodedSplit
    readability: Readability


def encode_splits(
    checkpoint: EncoderFiles, splits: Splits, test: TestSplit, tokens: int
) -> EncodedSplits:
    """Tokenize the three splits for one model, each text cut to `tokens` or what it can take."""
    tokenizer, longest = load_tokenizer(checkpoint), max_input_length(checkpoint, tokens)
    encoded = [
        encode(rows, tokenizer, longest) for rows in (splits.train, splits.validation, test.rows)
    ]
    kept = used_token_ids(encoded[0].pad_id, *(rows.ids for rows in encoded))
    check_tokens(checkpoint.encoder, vocabulary_size(checkpoint), int(kept[-1]))
    train, validation, test_rows = (remap_tokens(rows, kept) for rows in encoded)
    readability = measure_readability(
        checkpoint.encoder.name,
        [(splits.train, train), (splits.validation, validation)],
        limit=min(longest, tokenizer.model_max_length),
        longest=min(max_input_length(checkpoint, _MOST_TOKENS), tokenizer.model_max_length),
    )
    return EncodedSplits(train, validation, test_rows, readability)


def check_readable(inputs: EncodedSplits) -> None:
    """Raise `ModelError` where the model does not know most tokens.

    This is for what trains: a finished study may still be exported.
    """
    if (reason := refusal(inputs.readability)) is not None:
        raise ModelError(reason)
