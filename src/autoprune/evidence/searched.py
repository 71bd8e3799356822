"""The report's part on the search: its trials, and what they say of each layer."""

from collections.abc import Sequence

from autoprune.evidence.layers import Effect, effects, went_on
from autoprune.evidence.markdown import plain, written
from autoprune.evidence.record import Record, repeated
from autoprune.evidence.tables import Cell, Table
from autoprune.evidence.verdict import points

LAYERS = (
    "Mean validation quality of the complete trials that keep a layer, beside those that remove "
    "it. The search chose these layouts, they are no even sample: read it as a hint."
)
SHOWN = 100  # rows of the trials table; the records file has them all

_RANKS = {"complete": 0, "pruned": 1, "failed": 2}


def search_section(trials: Sequence[Record], hint: str) -> str:
    """Return the trials, complete ones first, the best first; failed ones with the reason.

    `hint` is what became known of the cheap score that informed the search, or empty.
    """
    rest = len(trials) - SHOWN
    parts = ["## The search", plain(course(trials, hint)), written(trials_table(trials, SHOWN))]
    return "\n\n".join([*parts, f"{rest} more are in the records."] if rest > 0 else parts)


def course(trials: Sequence[Record], hint: str) -> str:
    """Say how many trials there were, and how far to trust their scores."""
    layouts, further = len({trial.layout for trial in trials}), sum(went_on(trials))
    on = f" {further} of them went on from a pause to the full budget." if further else ""
    quick = "Otherwise scores" if further else "Scores"
    return (
        f"{len(trials)} trials of {layouts} layouts, {repeated(trials)} measured twice.{on} "
        f"{quick} are on validation with the quick budget and one seed a trial: their order is "
        f"noisy, the comparison above is what counts.{hint and f' Cheap score {hint}.'}"
    )


def trials_table(trials: Sequence[Record], shown: int | None = None) -> Table:
    """Return the first `shown` trials (None: all), complete ones first, the best first."""
    header = ("layers", "layout", "from", "seed", "validation", "loss", "seconds", "state")
    order = ranked(trials)
    rows = tuple(map(_cells, order, states(order)))
    return Table("Trials", header, rows[:shown])


def states(trials: Sequence[Record]) -> list[str]:
    """Say of each trial how it ended."""
    both = zip(trials, went_on(trials), strict=True)
    return [f"{trial.state}, full budget" if on else trial.state for trial, on in both]


def ranked(trials: Sequence[Record]) -> list[Record]:
    """Return complete trials first, the best first, then those stopped early, then failed ones."""
    return sorted(trials, key=lambda trial: (_RANKS[trial.state], -_quality(trial)))


def layers_section(trials: Sequence[Record]) -> str:
    """Return the difference each layer goes with over the complete trials."""
    found = layers_table(trials)
    if not found.rows:
        return ""
    return "\n\n".join(["## Which layers matter", plain(LAYERS), written(found)])


def layers_table(trials: Sequence[Record]) -> Table:
    """Return the effect of each layer; no row where no trial is complete."""
    header = ("layer", "trials keeping it", "mean", "trials removing it", "mean", "difference")
    return Table("Effect of each layer", header, tuple(map(_effect, effects(trials))))


def _quality(trial: Record) -> float:
    return trial.scores[-1].quality if trial.scores else 0.0


def _cells(trial: Record, state: str) -> tuple[Cell, ...]:
    figures = ["", "", ""]
    if trial.scores:
        score = trial.score("validation")
        figures = [f"{score.quality * 100:.1f}", f"{score.loss:.3f}", f"{score.seconds:.1f}"]
    state = f"{state}: {trial.reason}" if trial.reason else state
    return (
        trial.layout,
        str(trial.layout),
        trial.origin,
        str(trial.seed),
        *figures,
        "; ".join([state, *trial.notes]),
    )


def _effect(effect: Effect) -> tuple[Cell, ...]:
    def percent(mean: float | None) -> str:
        return "" if mean is None else f"{mean * 100:.1f}"

    return (
        str(effect.layer),
        str(effect.kept),
        percent(effect.kept_mean),
        str(effect.removed),
        percent(effect.removed_mean),
        "" if effect.difference is None else points(effect.difference),
    )
