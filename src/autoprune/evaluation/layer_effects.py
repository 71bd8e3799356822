"""Layers: how the trials that keep a layer score beside those that remove it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from autoprune.evaluation.records import Record


@dataclass(frozen=True, slots=True)
class LayerEffect:
    """Mean validation quality of the trials that keep `layer`, and of those that remove it.

    A mean is None where there is no such trial.
    """

    layer: int
    kept: int
    kept_mean: float | None
    removed: int
    removed_mean: float | None

    @property
    def difference(self) -> float | None:
        """Kept minus removed, None where one of them is unknown."""
        if self.kept_mean is None or self.removed_mean is None:
            return None
        return self.kept_mean - self.removed_mean


def promoted_to_full_budget(trials: Sequence[Record]) -> list[bool]:
    """Tell of each trial whether it went on from a pause to the end of the full budget."""
    pauses = any(trial.budget.pause_at is not None for trial in trials)
    return [pauses and trial.budget.pause_at is None for trial in trials]


def same_budget_trials(trials: Sequence[Record]) -> list[Record]:
    """Return the complete trials that had the same budget: none that went on."""
    both = zip(trials, promoted_to_full_budget(trials), strict=True)
    return [trial for trial, further in both if trial.state == "complete" and not further]


def layer_effects(trials: Sequence[Record]) -> list[LayerEffect]:
    """Return the effect of each layer over comparable trials, the first layer first."""
    whole = same_budget_trials(trials)
    depth = whole[0].layout.depth if whole else 0
    return [_effect(layer, whole) for layer in range(depth)]


def _effect(layer: int, trials: list[Record]) -> LayerEffect:
    kept = [t.score("validation").quality for t in trials if layer in t.layout.keep]
    removed = [t.score("validation").quality for t in trials if layer not in t.layout.keep]
    return LayerEffect(
        layer,
        len(kept),
        fmean(kept) if kept else None,
        len(removed),
        fmean(removed) if removed else None,
    )
