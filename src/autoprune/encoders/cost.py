"""What an encoder costs to keep: its parameters, and how many of them are embeddings."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of weights; `embeddings`, a part of `total`, are the token, position and type tables.

    A weight used twice counts once.
    """

    total: int
    embeddings: int


def count_parameters(model: nn.Module) -> Parameters:
    """Count the parameters of `model`, learning or not."""
    tables = {
        id(table): table
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for table in module.parameters(recurse=False)
    }
    return Parameters(
        total=sum(parameter.numel() for parameter in model.parameters()),
        embeddings=sum(table.numel() for table in tables.values()),
    )
