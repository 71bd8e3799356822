"""Pareto front of studies: what each number of layers costs, and which one to take."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoprune.errors import OptionError, StudyError
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.pareto import (
    Limits,
    ModelCost,
    ParetoFront,
    ParetoPoint,
    is_dominated,
    pareto_point,
)
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.context import RunContext
from autoprune.experiment.cost import save_layouts
from autoprune.experiment.pipeline import StudyOutcome, run_studies, study_folders
from autoprune.experiment.result import check_writable
from autoprune.experiment.setup import Experiment, build_experiments
from autoprune.export.cost import CostConditions, CostMeasurement, measure_costs
from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout, format_keeps
from autoprune.reporting.html.pareto_page import pareto_page
from autoprune.reporting.pareto_report import pareto_markdown
from autoprune.training.devices import limited_threads
from autoprune.training.workers import available_cores

THROUGHPUT_BATCH = 32  # texts in a batch where throughput is measured

COST_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class ParetoResult:
    """The studies of several numbers of layers, their Pareto front, and its report and page."""

    studies: tuple[StudyOutcome, ...]
    front: ParetoFront
    report: Path
    page: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        points, chosen = self.front.everyone, self.front.chosen
        return {
            "studies": [study.result.to_dict() for study in self.studies],
            "front": [_point_to_dict(point, points) for point in points],
            "knee": str(self.front.knee.layout),
            "recommended": str(chosen.layout) if chosen else None,
            "report": str(self.report),
            "page": str(self.page),
        }


def check_limits(
    keeps: Sequence[int],
    max_drop: float | None,
    max_latency_ms: float | None,
    max_megabytes: float | None,
) -> Limits:
    """Return the limits; raises `OptionError` where there is nothing to choose among."""
    limits = Limits(max_drop, max_latency_ms, max_megabytes)
    if limits.any and len(keeps) == 1:
        raise OptionError(
            "--max-drop, --max-latency-ms and --max-megabytes choose among several numbers of "
            f"layers, name them like --keep 2-8, got {keeps[0]}"
        )
    return limits


def search_several(
    configs: Sequence[StudyConfig], limits: Limits, options: RunOptions, context: RunContext
) -> ParetoResult:
    """Run one study for each number of layers, and compare what their recommended layouts cost."""
    experiments = build_experiments(configs, options)
    check_pareto_paths(experiments, options)
    outcomes = run_studies(experiments, options, context)
    return report_pareto(outcomes, limits, options.reports, context.progress.say)


def check_pareto_paths(experiments: Sequence[Experiment], options: RunOptions) -> None:
    """Raise `StudyError` now where the report could not be written after hours of work."""
    if len(experiments) > 1:
        keeps = [experiment.keep for experiment in experiments]
        for path in _report_paths(study_folders(experiments, options), keeps, options.reports):
            check_writable(path)


def report_pareto(
    studies: Sequence[StudyOutcome], limits: Limits, reports: Path, say: Callable[[str], None]
) -> ParetoResult:
    """Measure the cost of each recommended layout and write the report to the folder `reports`."""
    front = _measure_front(studies, limits, say)
    report, page = _report_paths(
        [study.folder for study in studies], [study.experiment.keep for study in studies], reports
    )
    write_atomic(page, pareto_page(front))
    write_atomic(report, pareto_markdown(front))
    return ParetoResult(tuple(studies), front, report, page)


def measure_model_costs(studies: Sequence[StudyOutcome]) -> tuple[list[ModelCost], str]:
    """Measure the recommended layout of each study, and the full model last, in turns on all cores.

    Returns the costs and the name of the machine. Raises `OptionError` where the disk has no room
    for the models.
    """
    experiment = studies[0].experiment
    layouts = {
        f"keep {study.experiment.keep}": study.comparison.row(study.comparison.best).layout
        for study in studies
    }
    layouts["full"] = Layout.full(experiment.checkpoint.depth)
    conditions = CostConditions(
        THROUGHPUT_BATCH, COST_ROUNDS, experiment.device, experiment.tokens, memory=False
    )
    with limited_threads(available_cores()), save_layouts(experiment, layouts) as subjects:
        costs = measure_costs(subjects, experiment.splits.train, conditions)
        return [_model_cost(cost) for cost in costs], conditions.machine


def _report_paths(
    folders: Sequence[Path], keeps: Sequence[int], reports: Path
) -> tuple[Path, Path]:
    """Name the report over all studies, and its page.

    The name of a study ends in its number of layers, that of the report in all of them.
    """
    stem = folders[0].name.removesuffix(str(keeps[0])) + format_keeps(keeps)
    return reports / f"{stem}.md", reports / f"{stem}.html"


def _measure_front(
    studies: Sequence[StudyOutcome], limits: Limits, say: Callable[[str], None]
) -> ParetoFront:
    say(f"measuring what {len(studies) + 1} models cost, in turns")
    costs, machine = measure_model_costs(studies)
    experiment = studies[0].experiment
    return ParetoFront(
        model=experiment.checkpoint.encoder.name,
        task=experiment.task.name,
        metric=experiment.task.metric,
        device=machine,
        points=tuple(
            pareto_point(study.comparison, study.comparison.best, cost)
            for study, cost in zip(studies, costs[:-1], strict=True)
        ),
        full=pareto_point(with_full_model(studies), "full", costs[-1]),
        limits=limits,
        studies=tuple(study.folder.name for study in studies),
    )


def with_full_model(studies: Sequence[StudyOutcome]) -> Comparison:
    """Return the first comparison that the full model did not fail in; raises `StudyError`."""
    for study in studies:
        if any(row.origin == "full" for row in study.comparison.rows):
            return study.comparison
    failed = studies[0].comparison.left_out
    raise StudyError(
        f"there is no report over all studies, since the full model failed: {'; '.join(failed)}"
    )


def _point_to_dict(point: ParetoPoint, points: Sequence[ParetoPoint]) -> dict[str, Any]:
    values = asdict(point) | {"layout": str(point.layout)}
    return values | {"on_the_front": not is_dominated(point, points)}


def _model_cost(cost: CostMeasurement) -> ModelCost:
    assert cost.parameters is not None, "they are torch models"
    return ModelCost(
        parameters=cost.parameters.total,
        megabytes=cost.bytes / 1e6,
        latency_ms=1000 * cost.latency.median,
        latency_low_ms=1000 * cost.latency.low,
        latency_high_ms=1000 * cost.latency.high,
        per_second=cost.throughput.median,
        per_second_low=cost.throughput.low,
        per_second_high=cost.throughput.high,
    )
