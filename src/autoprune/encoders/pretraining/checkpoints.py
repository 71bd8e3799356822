"""Checkpoints: a training as one safetensors file, from which it goes on bit for bit.

Weights and the optimizer's state are all there is to keep: each step draws its blocks and masks
from the seed and its number.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from autoprune.encoders.pretraining.training import State

KEPT = 2  # the last one, and one before it for where that is broken

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


def save(state: State, folder: Path) -> None:
    """Write the checkpoint of `state`, whole or not at all, and drop the oldest ones."""
    tensors = {}
    for name, weight in state.model.named_parameters():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            if weight in state.optimizer.state:
                tensors[f"{moment}/{name}"] = state.optimizer.state[weight][moment]
    path = folder / f"step-{state.step:010}.safetensors"
    draft = path.with_suffix(".part")
    told = {
        "step": str(state.step),
        "seconds": repr(state.seconds),
        "layers": str(state.model.config.num_hidden_layers),
    }
    save_file({name: one.contiguous() for name, one in tensors.items()}, draft, told)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    for old in _newest(folder)[KEPT:]:
        old.unlink()


def restore(folder: Path, fresh: Callable[[int], State]) -> State | None:
    """Return the training of the newest whole checkpoint in `folder`, None where there is none.

    `fresh` makes one of a number of layers. A checkpoint that cannot be read is passed over.
    """
    for path in _newest(folder):
        with contextlib.suppress(SafetensorError, OSError, KeyError, ValueError):
            return _read(path, fresh)
    return None


def _read(path: Path, fresh: Callable[[int], State]) -> State:
    with safe_open(path, framework="pt") as file:
        told, names = file.metadata(), list(file.keys())
        found = {name: file.get_tensor(name) for name in names}
    state = fresh(int(told["layers"]))
    for name, weight in state.model.named_parameters():
        with torch.no_grad():
            weight.copy_(found[f"weight/{name}"])
        if f"step/{name}" in found:
            state.optimizer.state[weight] = {
                moment: found[f"{moment}/{name}"].to(weight.device) for moment in _MOMENTS
            }
    state.step, state.seconds = int(told["step"]), float(told["seconds"])
    return state


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)
