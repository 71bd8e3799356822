"""One-shot scores: all layouts scored with the weights of one fine-tuned full model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from autoprune.encoders.pruning import can_have
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.search.baseline_samplers import evolve
from autoprune.training.one_shot import OneShot, PrefixCache, SharedScore, sample_rows, score_all
from autoprune.training.proxies import PROXIES

MAX_LISTED_LAYOUTS = 20_000  # of more, only those that evolution looks at are scored

_EVOLVED_LAYOUTS = 100  # how many of those are returned for each number of layers

_CACHED_STATES = 256  # hidden states of common prefixes that are kept for each batch


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What is scored: layouts of `keeps` layers on at most `rows` validation rows.

    `rungs` is the number of rounds of successive halving. `proxy` orders the layouts by that cheap
    score, not by their loss.
    """

    keeps: Sequence[int]
    seed: int
    rows: int
    rungs: int
    proxy: str | None


@dataclass(frozen=True, slots=True)
class LayoutScores:
    """The scored layouts, the best first; `values` are those of the proxy, else minus the loss."""

    depth: int
    proxy: str | None
    scores: tuple[SharedScore, ...]
    values: tuple[float, ...]
    layer_passes: float

    @property
    def full_depth_passes(self) -> float:
        """The passes of the full model that cost as much as all layer passes."""
        return self.layer_passes / self.depth

    def layer_effects(self) -> list[dict[str, float | int]]:
        """Return the effect of each layer: the mean of the layouts with it minus that without it.

        Layers that all layouts keep, or none, are left out.
        """
        kept = np.array([score.layout.flags for score in self.scores], dtype=bool)
        columns = {
            "loss": np.array([score.loss for score in self.scores]),
            "accuracy": np.array([score.accuracy for score in self.scores]),
        }
        if columns["accuracy"].dtype == object:  # there is none
            del columns["accuracy"]
        return [
            {"layer": layer}
            | {
                name: float(column[kept[:, layer]].mean() - column[~kept[:, layer]].mean())
                for name, column in columns.items()
            }
            for layer in range(self.depth)
            if 0 < kept[:, layer].sum() < len(kept)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return {
            "layouts": [
                {
                    "layout": str(score.layout),
                    "loss": score.loss,
                    "accuracy": score.accuracy,
                    "rows": score.rows,
                }
                | ({"value": value} if self.proxy else {})
                for score, value in zip(self.scores, self.values, strict=True)
            ],
            "layers": self.layer_effects(),
            "layer_passes": self.layer_passes,
            "full_depth_passes": self.full_depth_passes,
            "proxy": self.proxy,
            "best": str(self.scores[0].layout),
        }


def score_layouts(experiment: Experiment, request: ScoreRequest) -> LayoutScores:
    """Fine-tune the full model and score layouts with its weights; raises `AutopruneError`."""
    with experiment.threads():
        return _score_layouts(experiment, request)


def _score_layouts(experiment: Experiment, request: ScoreRequest) -> LayoutScores:
    evaluator, depth = experiment.evaluator(experiment.quick), experiment.checkpoint.depth
    model = evaluator.train(Layout.full(depth), request.seed).model.eval()
    rows = sample_rows(evaluator.validation, request.rows, request.seed)
    batch, device, kind = evaluator.budget.batch, evaluator.device, experiment.problem_type
    if sum(count_layouts(depth, keep) for keep in request.keeps) <= MAX_LISTED_LAYOUTS:
        layouts = [layout for keep in request.keeps for layout in all_layouts(depth, keep)]
        layouts = [layout for layout in layouts if can_have(model, layout)]
        found = score_all(model, layouts, rows, batch, device, kind, request.rungs)
    else:
        prefixes = PrefixCache(model, rows, batch, device, kind, _CACHED_STATES)
        layouts = _evolved_layouts(prefixes, model, depth, request)
        evolved = score_all(model, layouts, rows, batch, device, kind)
        found = OneShot(evolved.scores, prefixes.passes + evolved.layer_passes)
    scores = found.scores
    values = (
        PROXIES[request.proxy](evaluator, [score.layout for score in scores], request.seed)
        if request.proxy
        else [-score.loss for score in scores]
    )
    # Successive halving gives the better layouts more rows: more rows come first.
    order = sorted(
        range(len(scores)),
        key=lambda i: (
            0 if request.proxy else -scores[i].rows,
            -values[i],
            scores[i].layout.keep,
        ),
    )
    return LayoutScores(
        depth,
        request.proxy,
        tuple(scores[i] for i in order),
        tuple(values[i] for i in order),
        found.layer_passes,
    )


def _evolved_layouts(
    prefixes: PrefixCache, model: PreTrainedModel, depth: int, request: ScoreRequest
) -> list[Layout]:
    """Return the best layouts that evolution finds for each number of layers."""
    best: list[Layout] = []
    for keep in request.keeps:
        ranked = evolve(prefixes.losses, depth, keep, request.seed)
        possible = [layout for layout, _ in ranked if can_have(model, layout)]
        best += possible[:_EVOLVED_LAYOUTS]
    return best
