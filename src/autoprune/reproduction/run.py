"""Run of a plan: each cell's study is finished, then the claims are tested and reported."""

import time
from collections.abc import Mapping, Sequence

from autoprune.errors import StudyError, format_count
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.experiment.context import RunContext
from autoprune.experiment.pipeline import run_studies
from autoprune.experiment.progress import format_duration
from autoprune.experiment.result import check_study_files
from autoprune.experiment.setup import DISTILLED_LENGTH
from autoprune.files import is_folder_locked, write_atomic
from autoprune.reproduction.claims import judge_claims
from autoprune.reproduction.grid import Grid, finished_study
from autoprune.reproduction.page import claims_page
from autoprune.reproduction.paired_tests import cell_result
from autoprune.reproduction.plan import Plan
from autoprune.reproduction.report import ReproductionReport, reproduction_markdown
from autoprune.reproduction.time_estimate import CellEstimate, estimate_grid
from autoprune.training.metrics import METRICS


def reproduce_grid(grid: Grid, context: RunContext) -> ReproductionReport:
    """Finish the selected cells, test the claims on all finished ones, and write the report.

    No report is written without a finished cell.
    """
    run_grid(grid, context)
    plan = grid.plan
    studies = {cell.name: finished_study(cell, plan) for cell in grid.cells}
    finished = [study for study in studies.values() if study is not None]
    cells = tuple(cell_result(study) for study in finished)
    multilingual = {  # a plan may name them by path or with a revision
        study.setting.model
        for cell in grid.cells
        if cell.model in plan.multilingual and (study := studies[cell.name]) is not None
    }
    report = ReproductionReport(
        plan=plan.name,
        cells=cells,
        claims=tuple(judge_claims(cells, multilingual, plan.margin / 100)) if cells else (),
        missing=tuple(name for name, study in studies.items() if study is None),
        terms=tuple(_terms(plan, finished)) if cells else (),
        command=context.command,
    )
    if cells:
        write_atomic(grid.page, claims_page(report))
        write_atomic(grid.report, reproduction_markdown(report))
    return report


def run_grid(grid: Grid, context: RunContext) -> None:
    """Finish the study of each selected cell; cells that another process works on are left out.

    What is on file is not measured again.
    """
    progress = context.progress
    for cell in grid.cells:
        check_study_files(cell.experiment, cell.folder, grid.run)
    estimate = estimate_grid(grid)
    duration = f", at most {format_duration(estimate.seconds)}" if estimate.to_do else ""
    progress.say(
        f"plan {estimate.plan}: {format_count(len(grid.selected), 'cell')}, "
        f"{len(estimate.done)} done, {len(estimate.to_do)} to do{duration}"
    )
    elsewhere = _run_free_cells(grid, estimate.to_do, context)
    # The other process may have stopped meanwhile.
    for skipped in _run_free_cells(grid, elsewhere, context):
        progress.say(f"{skipped.cell.name}: another process is at work on it")


def _run_free_cells(
    grid: Grid, estimates: Sequence[CellEstimate], context: RunContext
) -> list[CellEstimate]:
    """Work on the cells that no other process works on; return the others."""
    elsewhere: list[CellEstimate] = []
    spent = expected = 0.0
    for index, estimate in enumerate(estimates):
        cell = estimate.cell
        if is_folder_locked(cell.folder):
            elsewhere.append(estimate)
            continue
        if finished_study(cell, grid.plan) is not None:  # by another process, meanwhile
            continue
        pace = spent / expected if expected else 1.0
        left = format_duration(pace * sum(other.seconds for other in estimates[index:]))
        number = grid.cells.index(cell) + 1
        context.progress.say(f"cell {number}/{len(grid.cells)}: {cell.name}; about {left} left")
        # Runs of other cells with the same task are used too.
        shared = [other.folder for other in grid.cells if other.task == cell.task and other != cell]
        started = time.monotonic()
        try:
            run_studies([cell.experiment], grid.run, context, shared, [cell.folder])
        except StudyError:
            if not is_folder_locked(cell.folder):
                raise
            elsewhere.append(estimate)
        else:
            spent += time.monotonic() - started
            expected += estimate.seconds
    return elsewhere


def _terms(plan: Plan, studies: Sequence[FinishedStudy]) -> list[str]:
    """Say how the figures were made, a sentence each."""
    first = studies[0].setting
    metric = METRICS[first.metric]
    margin = round(metric.threshold(plan.margin), 6)  # 1.0, as "1.0 points"
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    by_task = {study.setting.task: study.setting for study in studies}
    distilled = any(study.setting.distillation for study in studies)
    longer = f"steps, {DISTILLED_LENGTH} times as many where they are distilled"
    return [
        f"{plan.seeds} fresh seeds for each entrant"
        f"{', fewer where it was surely behind on validation' if plan.race else ''}, "
        f"{plan.trials} trials for each search; the entrants of a cell have the same data and "
        f"{longer if distilled else 'budget'}",
        *(
            f"{task}: at most {metadata.full.steps} steps of {metadata.full.batch} rows, "
            f"{metadata.full.tokens} tokens, peak rate {metadata.full.learning_rate:g}"
            f"{' in the search' if metadata.rates else ''}"
            for task, metadata in by_task.items()
        ),
        _learning_rate_term(by_task),
        f"comparable means at most {margin} {metric.points} {metric.sides[0]}",
        f"{versions}; {first.device}",
    ]


def _learning_rate_term(by_task: Mapping[str, StudyMetadata]) -> str:
    if not any(metadata.rates for metadata in by_task.values()):
        return "the learning rate is the same for all entrants and was not tuned for any of them"
    rates = "; ".join(
        f"{task}: {', '.join(f'{rate:g}' for rate in metadata.rates) or 'one for all'}"
        for task, metadata in by_task.items()
    )
    return (
        "each entrant's peak rate was chosen by validation, after one run with each of a grid "
        f"within the full budget on a seed that the comparison does not use: {rates}"
    )
