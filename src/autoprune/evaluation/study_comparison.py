"""Study comparison: the recommended layouts of two studies, compared on the same test rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoprune.errors import StudyError
from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference, Predictions, paired_difference
from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.evaluation.verdict import describe_difference, describe_sample
from autoprune.training.budget import Budget


@dataclass(frozen=True, slots=True)
class StudyWinner:
    """A study's recommended layout; `quality` is its test mean over the seeds in common."""

    study: str
    model: str
    row: ComparisonRow
    quality: float


@dataclass(frozen=True, slots=True)
class StudyPair:
    """Two winners: `difference` is the first minus the second, same rows and same seeds.

    `same`: both are one layout of one model, trained alike. `notes` say what else than the layout
    differs, a line each.
    """

    first: StudyWinner
    second: StudyWinner
    difference: PairedDifference
    seeds: tuple[int, ...]
    test_rows: int
    metric: str
    same: bool
    notes: tuple[str, ...]


def compare_winners(first: FinishedStudy, second: FinishedStudy) -> StudyPair:
    """Test the recommended layouts of two studies on the seeds that both have.

    Raises `StudyError` where they have no test rows, metric or seed in common.
    """
    _check_comparable(first, second)
    seeds = tuple(seed for seed in first.comparison.seeds if seed in second.comparison.seeds)
    if not seeds:
        raise StudyError(
            f"studies are compared on the same seeds: {first.name} has "
            f"{_join(first.comparison.seeds)} and {second.name} has "
            f"{_join(second.comparison.seeds)}"
        )
    predictions, winners, budgets = [], [], []
    for study in (first, second):
        row = study.comparison.row(study.comparison.best)
        runs = [entrant_runs(study, row.origin)[seed] for seed in seeds]
        budgets.append(runs[0].budget)
        predictions.append(Predictions.of(runs, study.test, study.setting.metric))
        model = f"{study.setting.model}@{study.setting.commit}"
        quality = float(predictions[-1].values.mean())
        winners.append(StudyWinner(study.name, model, row, quality))
    notes = _differences(first, second, *budgets)
    same = winners[0].row.layout == winners[1].row.layout and not notes
    if left_out := sorted(set(first.comparison.seeds) ^ set(second.comparison.seeds)):
        notes.append(
            f"Compared on the seeds that both have, {_join(seeds)}; {_join(left_out)} left out."
        )
    return StudyPair(
        first=winners[0],
        second=winners[1],
        difference=paired_difference(predictions[0], predictions[1]),
        seeds=seeds,
        test_rows=sum(first.test.kept),
        metric=first.setting.metric,
        same=same,
        notes=tuple(notes),
    )


def winners_verdict(pair: StudyPair) -> str:
    """Return a sentence that compares the first winner with the second."""
    if pair.same:
        return (
            f"Both studies recommend the same layout of the same model, {pair.first.row.layout}, "
            "trained alike: there is no difference to test."
        )
    first, second = (
        f"{winner.row.layout} of {winner.study} ({winner.row.origin})"
        for winner in (pair.first, pair.second)
    )
    sample = describe_sample(pair.test_rows, pair.seeds)
    return describe_difference(first, second, pair.difference, sample)


def _check_comparable(first: FinishedStudy, second: FinishedStudy) -> None:
    """Raise `StudyError` unless both were scored on the same test rows by the same metric."""
    names = f"{first.name} and {second.name}"
    if first.folder.resolve() == second.folder.resolve():
        raise StudyError(f"two different studies are compared, got {first.name} twice")
    if first.test.fingerprint != second.test.fingerprint:
        raise StudyError(
            f"studies are compared on the same test rows, those of {names} differ "
            f"(fingerprints {first.test.fingerprint[:12]} and {second.test.fingerprint[:12]})"
        )
    if first.test.kept != second.test.kept:
        raise StudyError(
            f"studies are compared on the same test rows, {names} leave out different ones: "
            "run both with the same --keep-duplicates"
        )
    if first.setting.metric != second.setting.metric:
        raise StudyError(
            f"studies are compared by the same metric, {names} go by {first.setting.metric} and "
            f"{second.setting.metric}"
        )


def _differences(
    first: FinishedStudy, second: FinishedStudy, budget: Budget, other: Budget
) -> list[str]:
    """Return what may cause the difference besides the layout; the budgets are of its runs."""
    notes = []
    if (first.setting.model, first.setting.commit) != (second.setting.model, second.setting.commit):
        notes.append("The models differ, so the difference is not of the layouts alone.")
    if budget.distillation != other.distillation:
        notes.append("One is distilled from a teacher, or both are in different ways.")
    if replace(budget, distillation=other.distillation) != other:
        notes.append("The budgets of the final training differ, so one may be trained for longer.")
    if _train_fingerprints(first) != _train_fingerprints(second):
        notes.append("The train or validation rows differ; only the test rows are the same.")
    return notes


def _train_fingerprints(study: FinishedStudy) -> dict[str, str]:
    return {name: text for name, text in study.setting.fingerprints.items() if name != "test"}


def _join(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
