"""The trie of prefixes: any set of layouts run with shared weights, each shared beginning once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autoprune.encoders.stack import Stack
from autoprune.layouts.layout import Layout
from autoprune.scoring.devices import fast_in_bfloat16, takes_bfloat16
from autoprune.tasks.batching import collate
from autoprune.tasks.tokenising import Encoded


@dataclass(slots=True)
class Node:
    """A prefix of layouts: where each next layer leads, and which layout ends here, if any."""

    nexts: dict[int, "Node"] = field(default_factory=dict)
    ends: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What layout `number` computes behind its last layer: (rows, longest, hidden)."""

    number: int
    state: torch.Tensor
    stack: Stack
    model: PreTrainedModel
    device: torch.device

    def logits(self) -> torch.Tensor:
        """Return the layout's logits: (rows, classes)."""
        with inference(self.model, self.device):
            return self.stack.logits(self.state)


def trie_of(layouts: Sequence[Layout]) -> Node:
    """Return the root of the prefixes of `layouts`, each of which occurs once."""
    root = Node()
    for number, layout in enumerate(layouts):
        node = root
        for layer in layout.keep:
            node = node.nexts.setdefault(layer, Node())
        assert node.ends is None, f"layout {layout} occurs once"
        node.ends = number
    return root


def count_passes(root: Node) -> int:
    """Return how many layers a walk runs on each batch: one for each prefix.

    >>> from autoprune.layouts.layout import every
    >>> count_passes(trie_of(every(12, 6)))
    1715
    """
    return sum(1 + count_passes(node) for node in root.nexts.values())


def walk(
    model: PreTrainedModel,
    root: Node,
    rows: Encoded,
    index: NDArray[np.int64],
    device: torch.device,
) -> Iterator[Visit]:
    """Visit every layout of the trie, depth first, with the rows at the places `index` as a batch.

    What is found is what the pruned model would compute, in fp32 bit for bit; `model`, in
    evaluation mode on `device`, stays as it is. No more states are held than the deepest layout
    has layers.
    """
    inputs = {name: part.to(device) for name, part in collate(rows, index).items()}
    del inputs["labels"]
    with inference(model, device):
        stack = Stack(model, inputs)
    yield from _below(model, stack, root, None, device)


@contextmanager
def inference(model: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Run without gradients, in the numbers in which candidates are trained and scored."""
    fast = fast_in_bfloat16(device) and takes_bfloat16(model)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
        yield


def _below(
    model: PreTrainedModel,
    stack: Stack,
    node: Node,
    state: torch.Tensor | None,
    device: torch.device,
) -> Iterator[Visit]:
    for layer, further in node.nexts.items():
        # Not around the loop: what a generator enters would hold for its caller too.
        with inference(model, device):
            behind = stack.after(state, layer)
        if further.ends is not None:
            yield Visit(further.ends, behind, stack, model, device)
        yield from _below(model, stack, further, behind, device)
