"""Losses of layouts one after another, with the states of lately met prefixes kept."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.encoders.stack import Stack
from autoprune.layouts.layout import Layout
from autoprune.scoring.trie import inference
from autoprune.tasks.batching import collate, in_order
from autoprune.tasks.tokenising import Encoded

States = OrderedDict[tuple[int, ...], torch.Tensor]


class Prefixes:
    """Scores layouts of `model`, in evaluation mode on `device`, when they are asked for.

    For spaces too large for a trie of all of them. Of each batch at most `most` states are kept,
    those used last; `passes` counts how many layers ran on all rows.
    """

    def __init__(
        self, model: PreTrainedModel, rows: Encoded, batch: int, device: torch.device, most: int
    ) -> None:
        assert most >= 1, "a state is kept at least until the next layer ran"
        self.passes = 0.0
        self._model, self._rows, self._most, self._device = model, rows, most, device
        self._batches = []
        for index in in_order(rows.lengths, batch):
            inputs = {name: part.to(device) for name, part in collate(rows, index).items()}
            labels = inputs.pop("labels")
            with inference(model, device):
                self._batches.append((Stack(model, inputs), labels, States()))

    def losses(self, layouts: Sequence[Layout]) -> list[float]:
        """Return the mean cross-entropy of each layout, in the order of `layouts`."""
        found = np.zeros(len(layouts))
        # Neighbours in lexical order share the longest beginnings.
        order = sorted(range(len(layouts)), key=lambda place: layouts[place].keep)
        with inference(self._model, self._device):
            for stack, labels, states in self._batches:
                for place in order:
                    state = self._state(stack, states, layouts[place].keep, len(labels))
                    logits = stack.logits(state).float()
                    found[place] += functional.cross_entropy(logits, labels, reduction="sum").item()
        return [float(loss) for loss in found / len(self._rows)]

    def _state(
        self, stack: Stack, states: States, keep: tuple[int, ...], rows: int
    ) -> torch.Tensor:
        """Return the state behind `keep`, run on from the longest prefix that is held."""
        known = next((n for n in range(len(keep), 0, -1) if keep[:n] in states), 0)
        state = states[keep[:known]] if known else None
        for length in range(known, len(keep)):
            state = stack.after(state, keep[length])
            self.passes += rows / len(self._rows)
            states[keep[: length + 1]] = state
        for length in range(
            len(keep), 0, -1
        ):  # a short prefix serves more layouts: it stays longer
            if keep[:length] in states:
                states.move_to_end(keep[:length])
        while len(states) > self._most:
            states.popitem(last=False)
        assert state is not None, "a layout keeps a layer"
        return state
