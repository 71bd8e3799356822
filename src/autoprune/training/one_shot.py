"""One-shot scores: layouts with the shared weights of one trained model, on validation rows."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autoprune.encoders.layerwise import LayerStack
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches
from autoprune.training.devices import mixed_precision
from autoprune.training.loop import Batch, load_batch
from autoprune.training.metrics import METRICS
from autoprune.training.problem_types import ProblemType


@dataclass(frozen=True, slots=True)
class SharedScore:
    """What `layout` scored with the shared weights on `rows` rows; `loss` is in nats a row.

    `accuracy` is None where the problem type has none.
    """

    layout: Layout
    loss: float
    accuracy: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class OneShot:
    """The scores in the order of the layouts, and how many layers ran.

    Each run of a layer counts once for all rows; one on half of the rows counts half.
    """

    scores: tuple[SharedScore, ...]
    layer_passes: float


def score_all(
    model: PreTrainedModel,
    layouts: Sequence[Layout],
    split: EncodedSplit,
    batch: int,
    device: torch.device,
    problem_type: ProblemType,
    rungs: int = 1,
) -> OneShot:
    """Score every layout with the weights of `model`, which is in evaluation mode on `device`.

    With several `rungs`, successive halving: the rows come in as many equal shares, and each next
    share is for the better half, by mean loss, of the layouts that saw the one before. The others
    keep the score they have. Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943.
    """
    losses, correct, counted, seen = np.zeros((4, len(layouts)))
    active: NDArray[np.int64] = np.arange(len(layouts))
    passes = 0.0
    batches = length_sorted_batches(split.lengths, batch)
    rungs = min(rungs, len(batches))
    for first in range(rungs):
        root = build_trie([layouts[number] for number in active])
        for rows in batches[first::rungs]:  # so that each rung has long and short rows
            loaded = load_batch(split, rows, device)
            labels = loaded.labels
            passes += count_layer_passes(root) * len(rows)
            seen[active] += len(rows)
            for visit in walk_trie(model, root, split, rows, device):
                logits = loaded.at_words(visit.logits().float())
                number = active[visit.number]
                losses[number] += problem_type.loss(logits, labels).item()
                if problem_type.accuracy is not None:
                    predictions = problem_type.predict(logits.cpu().numpy())
                    metric, known = METRICS[problem_type.accuracy], labels.cpu().numpy()
                    right, of = metric.statistics(known, predictions).sum(axis=0)
                    correct[number] += right
                    counted[number] += of
        ranked = active[np.argsort(losses[active] / seen[active], kind="stable")]
        active = np.sort(ranked[: (len(ranked) + 1) // 2])
    scores = tuple(
        SharedScore(
            layout,
            float(losses[i] / seen[i]),
            float(correct[i] / counted[i]) if counted[i] else None,
            int(seen[i]),
        )
        for i, layout in enumerate(layouts)
    )
    return OneShot(scores, passes / len(split))


def sample_rows(split: EncodedSplit, max_rows: int, seed: int) -> EncodedSplit:
    """Return at most `max_rows` of the rows, drawn by `seed`, in their order."""
    if len(split) <= max_rows:
        return split
    rows = np.sort(np.random.default_rng(seed).choice(len(split), max_rows, replace=False))
    return replace(
        split,
        starts=split.starts[rows],
        lengths=split.lengths[rows],
        labels=split.labels[rows],
        words=None if split.words is None else split.words[rows],
    )


@dataclass(slots=True)
class TrieNode:
    """A prefix of layouts: its continuations by next layer, and the layout that ends here."""

    children: dict[int, "TrieNode"] = field(default_factory=dict)
    number: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayerVisit:
    """The state after the last layer of layout `number`: (rows, longest, hidden)."""

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
    """Return the root of the trie of `layouts`, which must be distinct."""
    root = TrieNode()
    for number, layout in enumerate(layouts):
        node = root
        for layer in layout.keep:
            node = node.children.setdefault(layer, TrieNode())
        assert node.number is None, f"layout {layout} occurs once"
        node.number = number
    return root


def count_layer_passes(root: TrieNode) -> int:
    """Return how many layers a walk runs on each batch: one for each prefix.

    >>> from autoprune.layouts.layout import all_layouts
    >>> count_layer_passes(build_trie(all_layouts(12, 6)))
    1715
    """
    return sum(1 + count_layer_passes(node) for node in root.children.values())


def walk_trie(
    model: PreTrainedModel,
    root: TrieNode,
    split: EncodedSplit,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Iterator[LayerVisit]:
    """Visit every layout of the trie, depth first, with the rows `rows` as one batch.

    The states are those of the pruned model, in fp32 bit for bit. `model`, in evaluation mode on
    `device`, stays as it is. At most as many states are held as the deepest layout has layers.
    """
    inputs = load_batch(split, rows, device).inputs
    with inference(model, device):
        stack = LayerStack(model, inputs)

    def visit_children(node: TrieNode, state: torch.Tensor | None) -> Iterator[LayerVisit]:
        for layer, child in node.children.items():
            # Not around the loop: a generator's context would hold for its caller too.
            with inference(model, device):
                output = stack.run_layer(state, layer)
            if child.number is not None:
                yield LayerVisit(child.number, output, stack, model, device)
            yield from visit_children(child, output)

    yield from visit_children(root, None)


@contextmanager
def inference(model: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Run without gradients, in the precision in which candidates are trained and scored."""
    with torch.inference_mode(), mixed_precision(model, device):
        yield


class PrefixCache:
    """Scores layouts of `model`, in evaluation mode on `device`, when they are asked for.

    For search spaces too large for a trie of all layouts. Of each batch at most `max_states` states
    are held, the last recently used ones; `passes` counts how many layers ran on all rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        split: EncodedSplit,
        batch: int,
        device: torch.device,
        problem_type: ProblemType,
        max_states: int,
    ) -> None:
        assert max_states >= 1, "a state is held at least until the next layer ran"
        self.passes = 0.0
        self._model, self._device, self._problem_type = model, device, problem_type
        self._max_states, self._rows = max_states, len(split)
        self._batches: list[
            tuple[LayerStack, Batch, OrderedDict[tuple[int, ...], torch.Tensor]]
        ] = []
        for rows in length_sorted_batches(split.lengths, batch):
            loaded = load_batch(split, rows, device)
            with inference(model, device):
                stack = LayerStack(model, loaded.inputs)
            self._batches.append((stack, loaded, OrderedDict()))

    def losses(self, layouts: Sequence[Layout]) -> list[float]:
        """Return the mean loss of each layout, in the order of `layouts`."""
        losses = np.zeros(len(layouts))
        # Neighbours in lexical order share the longest prefixes.
        order = sorted(range(len(layouts)), key=lambda number: layouts[number].keep)
        with inference(self._model, self._device):
            for stack, batch, states in self._batches:
                for number in order:
                    state = self._run_layers(stack, states, layouts[number].keep, len(batch.rows))
                    logits = batch.at_words(stack.logits(state).float())
                    losses[number] += self._problem_type.loss(logits, batch.labels).item()
        return [float(loss) for loss in losses / self._rows]

    def _run_layers(
        self,
        stack: LayerStack,
        states: OrderedDict[tuple[int, ...], torch.Tensor],
        keep: tuple[int, ...],
        rows: int,
    ) -> torch.Tensor:
        """Return the state after the layers `keep`, computed from the longest prefix held."""
        known = next((n for n in range(len(keep), 0, -1) if keep[:n] in states), 0)
        state = states[keep[:known]] if known else None
        for length in range(known, len(keep)):
            state = stack.run_layer(state, keep[length])
            self.passes += rows / self._rows
            states[keep[: length + 1]] = state
        for length in range(len(keep), 0, -1):
            if keep[:length] in states:  # a short prefix serves more layouts: it is held longer
                states.move_to_end(keep[:length])
        while len(states) > self._max_states:
            states.popitem(last=False)
        assert state is not None, "a layout keeps a layer"
        return state
