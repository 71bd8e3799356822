"""Weight-sharing supernets: one model trained so that its layouts work without more training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.encoders.stack import only
from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.memory import Parts
from autoprune.scoring.methods import METHODS, merge
from autoprune.scoring.training import Clock, train

Draw = Callable[[], Layout]


class SinglePath(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """Each step trains one drawn layout (Guo et al. 2020, https://arxiv.org/abs/1904.00420)."""

    def __init__(self, model: PreTrainedModel, learning: nn.Module, draw: Draw, batch: int) -> None:
        super().__init__()
        self.learning = learning
        self.config = model.config  # the training loop asks which family it trains
        self._whole, self._draw = (model,), draw  # in a tuple: its weights are listed once
        self._batch = batch

    def forward(self, **inputs: torch.Tensor) -> Any:
        """Run the batch through one layout."""
        with only(self._whole[0], self._draw()):
            return self.learning(**inputs)


class Sandwich(SinglePath):
    """Each step trains the full model on the labels, and two drawn layouts on what it says.

    Yu et al. 2020, https://arxiv.org/abs/2003.11142, where the smallest model is always among the
    two; all layouts of a study are the same size. A step costs what the full one and two do.
    """

    def forward(self, **inputs: torch.Tensor) -> Any:
        """Run the batch through the full model and two layouts; return the full model's logits."""
        logits = self.learning(**inputs).logits
        said = logits.detach().float().softmax(-1)
        losses = []
        for _ in range(2):
            with only(self._whole[0], self._draw()):
                heard = self.learning(**inputs).logits.float()
            losses.append(functional.cross_entropy(heard, said, reduction="sum"))
        return SimpleNamespace(logits=_Carry.apply(logits, (losses[0] + losses[1]) / self._batch))


class _Carry(torch.autograd.Function):  # type: ignore[misc]  # torch is not looked into
    """Hands logits on as they are, and lets a further loss be minimised along with theirs."""

    @staticmethod
    def forward(context: Any, logits: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        context.save_for_backward(loss)
        return logits.view_as(logits)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits' gradient, and that of a loss with regard to itself."""
        (loss,) = context.saved_tensors
        return gradient, torch.ones_like(loss)


def train_supernet(
    bench: Bench,
    layouts: Sequence[Layout],
    seed: int,
    passes: float,
    kind: type[SinglePath] = SinglePath,
) -> PreTrainedModel:
    """Return the full model trained for `passes` times the steps of the bench's budget.

    Layouts are drawn from `layouts`, with `seed`: same seed, same weights, bit for bit on a
    processor. Raises `TrialError` when the loss is not a number.
    """
    model = bench.untrained(Layout.full(layouts[0].depth), seed)
    torch.manual_seed(seed)  # adapters are drawn
    learning = METHODS[bench.budget.method](model)
    rng = np.random.default_rng([seed, 1])
    budget = replace(bench.budget, steps=max(1, round(passes * bench.budget.steps)), checks=1)
    supernet = kind(model, learning, lambda: layouts[int(rng.integers(len(layouts)))], budget.batch)
    parts = Parts(-(-budget.batch // budget.parts))
    for _ in train(supernet, bench.rows, budget, seed, bench.device, parts, Clock()):
        pass
    return merge(learning).eval()
