"""Layer effects: the trials that keep a layer compared with those that remove it."""

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
    """Return for each trial whether it resumed from a pause, to the end of its budget."""
    pauses = any(trial.budget.pause_at is not None for trial in trials)
    return [pauses and trial.budget.pause_at is None for trial in trials]


def same_budget_trials(trials: Sequence[Record]) -> list[Record]:
    """Return the complete trials of the same budget: none that were promoted."""
    pairs = zip(trials, promoted_to_full_budget(trials), strict=True)
    return [trial for trial, promoted in pairs if trial.state == "complete" and not promoted]


def layer_effects(trials: Sequence[Record]) -> list[LayerEffect]:
    """Return the effect of each layer over the trials of the same budget, first layer first."""
    comparable = same_budget_trials(trials)
    effects = []
    for layer in range(comparable[0].layout.depth if comparable else 0):
        kept, removed = (
            [t.score("validation").quality for t in comparable if (layer in t.layout.keep) == keeps]
            for keeps in (True, False)
        )
        kept_mean, removed_mean = (fmean(each) if each else None for each in (kept, removed))
        effects.append(LayerEffect(layer, len(kept), kept_mean, len(removed), removed_mean))
    return effects
