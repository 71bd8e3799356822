"""The shape that a checkpoint's config tells: how wide it is, how long an input may be."""

from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.folder import read_config
from autoprune.errors import ModelError

# They number positions from the padding's number + 1 on (fairseq), so that many are lost.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")


def width_of(checkpoint: Checkpoint) -> int:
    """Return the hidden size."""
    return int(read_config(checkpoint.folder, checkpoint.trust_remote_code).hidden_size)


def check_tokens(checkpoint: Checkpoint, highest: int) -> None:
    """Refuse a tokenizer that gives token `highest` to a model without it; raises `ModelError`."""
    known = read_config(checkpoint.folder, checkpoint.trust_remote_code).vocab_size
    if highest >= known:
        raise ModelError(
            f"the tokenizer of {checkpoint.encoder} must be the model's own: it has a token number "
            f"{highest}, the model knows {known} tokens: fetch the tokenizer's files again"
        )


def longest_input(checkpoint: Checkpoint, tokens: int) -> int:
    """Return `tokens`, or fewer where the encoder has fewer positions."""
    config = read_config(checkpoint.folder, checkpoint.trust_remote_code)
    positions = getattr(config, "max_position_embeddings", None) or tokens
    if config.model_type in _SHIFTED:
        positions -= (config.pad_token_id or 0) + 1
    return min(tokens, int(positions))
