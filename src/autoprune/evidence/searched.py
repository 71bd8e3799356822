"""The report's part on the search: its trials, and what they say of each layer."""

from collections.abc import Sequence

from autoprune.evidence.layers import Effect, effects
from autoprune.evidence.markdown import plain, table
from autoprune.evidence.record import Record, repeated
from autoprune.evidence.verdict import points

SHOWN = 100  # rows of the trials table; the records file has them all

_RANKS = {"complete": 0, "pruned": 1, "failed": 2}


def search_section(trials: Sequence[Record]) -> str:
    """Return the trials, complete ones first, the best first; failed ones with the reason."""
    ranked = sorted(trials, key=lambda trial: (_RANKS[trial.state], -_quality(trial)))
    layouts = len({trial.layout for trial in trials})
    rest = len(ranked) - SHOWN
    parts = [
        "## The search",
        f"{len(trials)} trials of {layouts} layouts, {repeated(trials)} measured twice. Scores are "
        "on validation with the quick budget and one seed a trial: their order is noisy, the "
        "comparison above is what counts.",
        table(
            ["layers", "layout", "from", "seed", "validation", "loss", "seconds", "state"],
            [_cells(trial) for trial in ranked[:SHOWN]],
        ),
    ]
    return "\n\n".join([*parts, f"{rest} more are in the records."] if rest > 0 else parts)


def layers_section(trials: Sequence[Record]) -> str:
    """Return the difference each layer goes with over the complete trials."""
    found = effects(trials)
    if not found:
        return ""
    return "\n\n".join(
        [
            "## Which layers matter",
            "Mean validation quality of the complete trials that keep a layer, beside those that "
            "remove it. The search chose these layouts, they are no even sample: read it as a "
            "hint.",
            table(
                ["layer", "trials keeping it", "mean", "trials removing it", "mean", "difference"],
                [_effect(effect) for effect in found],
            ),
        ]
    )


def _quality(trial: Record) -> float:
    return trial.scores[-1].quality if trial.scores else 0.0


def _cells(trial: Record) -> list[str]:
    figures = ["", "", ""]
    if trial.scores:
        score = trial.score("validation")
        figures = [f"{score.quality * 100:.1f}", f"{score.loss:.3f}", f"{score.seconds:.1f}"]
    state = f"{trial.state}: {trial.reason}" if trial.reason else trial.state
    return [
        trial.layout.picture,
        str(trial.layout),
        plain(trial.origin),
        str(trial.seed),
        *figures,
        plain("; ".join([state, *trial.notes])),
    ]


def _effect(effect: Effect) -> list[str]:
    def percent(mean: float | None) -> str:
        return "" if mean is None else f"{mean * 100:.1f}"

    return [
        str(effect.layer),
        str(effect.kept),
        percent(effect.kept_mean),
        str(effect.removed),
        percent(effect.removed_mean),
        "" if effect.difference is None else points(effect.difference),
    ]
