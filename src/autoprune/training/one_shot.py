"""One-shot scores: how layouts do with shared weights, as they are, on the validation rows."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.encoders.layerwise import LayerStack
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit, collate, length_sorted_batches
from autoprune.training.devices import fast_in_bfloat16, supports_bfloat16


@dataclass(slots=True)
class TrieNode:
    """A prefix of layouts: where each next layer leads, and which layout ends here, if any."""

    nexts: dict[int, "TrieNode"] = field(default_factory=dict)
    ends: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayerVisit:
    """What layout `number` computes behind its last layer: (rows, longest, hidden)."""

    number: int
    state: torch.Tensor
    stack: LayerStack
    model: PreTrainedModel
    device: torch.device

    def logits(self) -> torch.Tensor:
        """Return the layout's logits: (rows, classes)."""
        with inference(self.model, self.device):
            return self.stack.logits(self.state)


def build_trie(layouts: Sequence[Layout]) -> TrieNode:
    """Return the root of the prefixes of `layouts`, each of which occurs once."""
    root = TrieNode()
    for number, layout in enumerate(layouts):
        node = root
        for layer in layout.keep:
            node = node.nexts.setdefault(layer, TrieNode())
        assert node.ends is None, f"layout {layout} occurs once"
        node.ends = number
    return root


def count_layer_passes(root: TrieNode) -> int:
    """Return how many layers a walk runs on each batch: one for each prefix.

    >>> from autoprune.layouts.layout import every
    >>> count_passes(trie_of(every(12, 6)))
    1715
    """
    return sum(1 + count_layer_passes(node) for node in root.nexts.values())


def walk_trie(
    model: PreTrainedModel,
    root: TrieNode,
    rows: EncodedSplit,
    index: NDArray[np.int64],
    device: torch.device,
) -> Iterator[LayerVisit]:
    """Visit every layout of the trie, depth first, with the rows at the places `index` as a batch.

    What is found is what the pruned model would compute, in fp32 bit for bit; `model`, in
    evaluation mode on `device`, stays as it is. No more states are held than the deepest layout
    has layers.
    """
    inputs = {name: part.to(device) for name, part in collate(rows, index).items()}
    del inputs["labels"]
    with inference(model, device):
        stack = LayerStack(model, inputs)
    yield from _below(model, stack, root, None, device)


@contextmanager
def inference(model: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Run without gradients, in the numbers in which candidates are trained and scored."""
    fast = fast_in_bfloat16(device) and supports_bfloat16(model)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
        yield


def _below(
    model: PreTrainedModel,
    stack: LayerStack,
    node: TrieNode,
    state: torch.Tensor | None,
    device: torch.device,
) -> Iterator[LayerVisit]:
    for layer, further in node.nexts.items():
        # Not around the loop: what a generator enters would hold for its caller too.
        with inference(model, device):
            behind = stack.run_layer(state, layer)
        if further.ends is not None:
            yield LayerVisit(further.ends, behind, stack, model, device)
        yield from _below(model, stack, further, behind, device)


SharedPaths = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SharedScore:
    """What `layout` scored with the shared weights on `rows` rows; `loss` is in nats a row."""

    layout: Layout
    loss: float
    accuracy: float
    rows: int


@dataclass(frozen=True, slots=True)
class OneShot:
    """The scores in the order asked for; how many layers ran, each counted once for all rows.

    A layer that ran on half of the rows counts half.
    """

    scores: tuple[SharedScore, ...]
    layer_passes: float


def score_all(
    model: PreTrainedModel,
    layouts: Sequence[Layout],
    rows: EncodedSplit,
    batch: int,
    device: torch.device,
    rungs: int = 1,
) -> OneShot:
    """Score every layout with the weights of `model`, which is in evaluation mode on `device`.

    With several `rungs`, successive halving: the rows come in as many equal shares, and each next
    share is for the better half, by mean loss, of those that saw the one before. The others keep
    the score they have. Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943.
    """
    losses, hits, seen = np.zeros((3, len(layouts)))
    staying: SharedPaths = np.arange(len(layouts))
    passes = 0.0
    for share in _shares(rows.lengths, batch, rungs):
        root = build_trie([layouts[number] for number in staying])
        for index in share:
            labels = torch.from_numpy(rows.labels[index]).to(device)
            passes += count_layer_passes(root) * len(index)
            seen[staying] += len(index)
            for visit in walk_trie(model, root, rows, index, device):
                logits = visit.logits().float()
                place = staying[visit.number]
                losses[place] += functional.cross_entropy(logits, labels, reduction="sum").item()
                hits[place] += (logits.argmax(-1) == labels).sum().item()
        ranked = staying[np.argsort(losses[staying] / seen[staying], kind="stable")]
        staying = np.sort(ranked[: (len(ranked) + 1) // 2])
    scores = tuple(
        SharedScore(layout, float(losses[i] / seen[i]), float(hits[i] / seen[i]), int(seen[i]))
        for i, layout in enumerate(layouts)
    )
    return OneShot(scores, passes / len(rows))


def sample_rows(rows: EncodedSplit, most: int, seed: int) -> EncodedSplit:
    """Return at most `most` of the rows, drawn by `seed`, in their order."""
    if len(rows) <= most:
        return rows
    places = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    return replace(
        rows,
        starts=rows.starts[places],
        lengths=rows.lengths[places],
        labels=rows.labels[places],
    )


def _shares(lengths: SharedPaths, batch: int, rungs: int) -> Iterator[list[SharedPaths]]:
    """Yield the batches of each rung: like lengths together, no rung all long or all short."""
    index = length_sorted_batches(lengths, batch)
    for first in range(min(rungs, len(index))):
        yield index[first :: min(rungs, len(index))]


HiddenStates = OrderedDict[tuple[int, ...], torch.Tensor]


class PrefixCache:
    """Scores layouts of `model`, in evaluation mode on `device`, when they are asked for.

    For spaces too large for a trie of all of them. Of each batch at most `most` states are kept,
    those used last; `passes` counts how many layers ran on all rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rows: EncodedSplit,
        batch: int,
        device: torch.device,
        most: int,
    ) -> None:
        assert most >= 1, "a state is kept at least until the next layer ran"
        self.passes = 0.0
        self._model, self._rows, self._most, self._device = model, rows, most, device
        self._batches = []
        for index in length_sorted_batches(rows.lengths, batch):
            inputs = {name: part.to(device) for name, part in collate(rows, index).items()}
            labels = inputs.pop("labels")
            with inference(model, device):
                self._batches.append((LayerStack(model, inputs), labels, HiddenStates()))

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
        self, stack: LayerStack, states: HiddenStates, keep: tuple[int, ...], rows: int
    ) -> torch.Tensor:
        """Return the state behind `keep`, run on from the longest prefix that is held."""
        known = next((n for n in range(len(keep), 0, -1) if keep[:n] in states), 0)
        state = states[keep[:known]] if known else None
        for length in range(known, len(keep)):
            state = stack.run_layer(state, keep[length])
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
