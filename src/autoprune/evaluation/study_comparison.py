"""Winners: the recommended layouts of two studies, held against each other on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoprune.errors import StudyError
from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference, paired_difference
from autoprune.evaluation.predictions import Predictions
from autoprune.evaluation.study_files import FinishedStudy, entrant_runs
from autoprune.evaluation.verdict import format_p, format_points
from autoprune.training.budget import Budget
from autoprune.training.metrics import METRICS


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

    `same` says that both are one layout of one model, trained alike; `notes` tell what else than
    the layout differs, a line each.
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
    _check(first, second)
    mine, others = first.comparison.seeds, second.comparison.seeds
    seeds = tuple(seed for seed in mine if seed in others)
    if not seeds:
        raise StudyError(
            f"studies are compared on the same seeds, {first.name} has {_listed(mine)} and "
            f"{second.name} has {_listed(others)}"
        )
    answers, winners = [], []
    for one in (first, second):
        row = one.comparison.row(one.comparison.recommended)
        runs = [entrant_runs(one, row.origin)[seed] for seed in seeds]
        answers.append(Predictions.of(runs, one.test, one.setting.metric))
        model = f"{one.setting.model}@{one.setting.commit}"
        winners.append(StudyWinner(one.name, model, row, float(answers[-1].values.mean())))
    return StudyPair(
        first=winners[0],
        second=winners[1],
        difference=paired_difference(*answers),
        seeds=seeds,
        test_rows=sum(first.test.kept),
        metric=first.setting.metric,
        same=winners[0].row.layout == winners[1].row.layout
        and winners[0].model == winners[1].model
        and _budget(first) == _budget(second)
        and _train(first) == _train(second),
        notes=tuple(_notes(first, second, seeds)),
    )


def winners_verdict(pair: StudyPair) -> str:
    """Say in one sentence how the first winner stands against the second; see `verdict.verdict`."""
    first, second = (
        f"{one.row.layout} of {one.study} ({one.row.origin})" for one in (pair.first, pair.second)
    )
    if pair.same:
        return (
            f"Both studies recommend the same layout of the same model, {pair.first.row.layout}, "
            "trained alike: there is nothing to tell apart."
        )
    gap, unit = pair.difference, METRICS[pair.metric].unit
    figures = (
        f"95 % interval {format_points(gap.low)} to {format_points(gap.high)}, "
        f"p {'' if gap.p_value < 0.0001 else '= '}{format_p(gap.p_value)}; {_sample(pair)}"
    )
    if gap.finding == "no difference found":
        return (
            f"No difference found between {first} and {second}: {format_points(gap.mean)} {unit} on the "
            f"test split ({figures})."
        )
    return (
        f"{first} is {gap.finding} by {abs(gap.mean) * 100:.1f} {unit} on the test split than "
        f"{second} ({figures})."
    )


def _check(first: FinishedStudy, second: FinishedStudy) -> None:
    """Raise `StudyError` unless both were scored on the same test rows by the same metric."""
    both = f"{first.name} and {second.name}"
    if first.folder.resolve() == second.folder.resolve():
        raise StudyError(f"two different studies are compared, got {first.name} twice")
    if first.test.fingerprint != second.test.fingerprint:
        raise StudyError(
            f"studies are compared on the same test rows, those of {both} differ "
            f"(fingerprints {first.test.fingerprint[:12]} and {second.test.fingerprint[:12]})"
        )
    if first.test.kept != second.test.kept:
        raise StudyError(
            f"studies are compared on the same test rows, {both} leave out different ones of them: "
            "were both run with the same --keep-duplicates?"
        )
    if first.setting.metric != second.setting.metric:
        raise StudyError(
            f"studies are compared by the same metric, {both} go by {first.setting.metric} and "
            f"{second.setting.metric}"
        )


def _notes(first: FinishedStudy, second: FinishedStudy, seeds: Sequence[int]) -> list[str]:
    """Tell what the difference may come from besides the layout, and what was left aside."""
    notes = []
    if (first.setting.model, first.setting.commit) != (second.setting.model, second.setting.commit):
        notes.append("The models differ, so the difference is not of the layouts alone.")
    if _budget(first) != _budget(second):
        notes.append("The budgets of the final training differ, so one may be trained for longer.")
    if _train(first) != _train(second):
        notes.append("The train or validation rows differ; only the test rows are the same.")
    spare = sorted(set(first.comparison.seeds) ^ set(second.comparison.seeds))
    if spare:
        notes.append(
            f"Compared on the seeds that both have, {_listed(seeds)}; {_listed(spare)} left aside."
        )
    return notes


def _budget(studied: FinishedStudy) -> Budget:
    """Return what the recommended layout's runs could spend."""
    row = studied.comparison.row(studied.comparison.recommended)
    return replace(studied.setting.full, learning_rate=row.learning_rate)


def _train(studied: FinishedStudy) -> dict[str, str]:
    prints = studied.setting.fingerprints
    return {name: text for name, text in prints.items() if name != "test"}


def _sample(pair: StudyPair) -> str:
    if len(pair.seeds) == 1:
        return (
            f"{pair.test_rows} test rows, only one seed, {pair.seeds[0]}: "
            "the noise of training is not in the interval"
        )
    return f"{pair.test_rows} test rows, {len(pair.seeds)} seeds: {_listed(pair.seeds)}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
