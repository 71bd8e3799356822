"""The comparison of a study: each entrant's rate is chosen, then all are trained on fresh seeds."""

from collections.abc import Sequence
from pathlib import Path

from autoprune.cli.ground import Ground
from autoprune.cli.run import conditions
from autoprune.cli.show import Show
from autoprune.cli.telling import tell_entrant
from autoprune.evidence.comparison import Comparison, compare
from autoprune.evidence.measuring import Entrant, Progress
from autoprune.evidence.studied import RECORDS
from autoprune.evidence.tuning import tune
from autoprune.scoring.crew import Team
from autoprune.scoring.place import sweep


def choose_rates(
    ground: Ground,
    show: Show,
    folder: Path,
    crew: Team,
    variants: Sequence[Sequence[Entrant]],
    seed: int,
) -> list[Entrant]:
    """Return each entrant with the learning rate that is best on validation with the search's seed.

    Where there is none to choose, nothing is run.
    """
    if not ground.rates:
        return [entrant for (entrant,) in variants]
    layouts = {entrant.origin: entrant.layout for entrant, *_ in variants}

    def watch(progress: Progress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = record.reason or f"peak rate {record.budget.learning_rate:g}"
        remark += ", on file" if progress.reused else ""
        show.ends(progress.origin, layouts[progress.origin], quality, remark, not progress.reused)
        tell_entrant(folder.name, progress)

    total = len(variants) * len(ground.full_budgets)
    with show.phase("rate", 0, total, crew.workers):
        return tune(variants, seed, conditions(ground), folder / RECORDS, watch)


def hold_against(
    ground: Ground,
    show: Show,
    folder: Path,
    crew: Team,
    entrants: Sequence[Entrant],
    seeds: list[int],
) -> Comparison:
    """Train all entrants on fresh seeds with the full budget and compare them on the test split."""
    layouts = {entrant.origin: entrant.layout for entrant in entrants}

    def watch(progress: Progress) -> None:
        record = progress.record
        quality = record.score("validation").quality if record.scores else None
        remark = "on file" if progress.reused else record.reason or f"seed {progress.seed}"
        layout = layouts[progress.origin]
        show.ends(progress.origin, layout, quality, remark, not progress.reused)
        tell_entrant(folder.name, progress)

    under = conditions(ground)
    with show.phase("run", 0, len(entrants) * len(seeds), crew.workers):
        comparison = compare(entrants, seeds, ground.test, under, folder / RECORDS, watch)
    sweep(folder)
    return comparison
