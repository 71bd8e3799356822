"""The shape that a checkpoint's config tells: how wide it is, how long an input may be."""

from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.folder import read_config

# They number positions from the padding's number + 1 on (fairseq), so that many are lost.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")


def width_of(checkpoint: Checkpoint) -> int:
    """Return the hidden size."""
    return int(read_config(checkpoint.folder, checkpoint.trust_remote_code).hidden_size)


def longest_input(checkpoint: Checkpoint, tokens: int) -> int:
    """Return `tokens`, or fewer where the encoder has fewer positions."""
    config = read_config(checkpoint.folder, checkpoint.trust_remote_code)
    positions = getattr(config, "max_position_embeddings", None) or tokens
    if config.model_type in _SHIFTED:
        positions -= (config.pad_token_id or 0) + 1
    return min(tokens, int(positions))
