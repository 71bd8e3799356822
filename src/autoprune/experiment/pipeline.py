"""Pipeline: search, comparison on the test split, and end of one study or several."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import AutopruneError, StorageError
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.entrants import (
    Entrant,
    EntrantProgress,
    EntrantStopped,
    Watch,
    choose_budgets,
)
from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.records import read_records, reuse_shared_runs
from autoprune.evaluation.simple_models import fit_simple_models
from autoprune.evaluation.study_files import RECORDS_FILE, read_study
from autoprune.experiment.config import RunOptions
from autoprune.experiment.context import RunContext
from autoprune.experiment.events import EntrantBehind, entrant_run_finished
from autoprune.experiment.inputs import check_readable
from autoprune.experiment.progress import report_data, report_expected_time
from autoprune.experiment.proxy_scores import check_proxy, share_proxy_scores
from autoprune.experiment.result import StudyResult, check_study_files, write_result
from autoprune.experiment.search_step import describe_interruption, search_layouts
from autoprune.experiment.setup import Experiment
from autoprune.experiment.teacher import share_targets, with_teacher
from autoprune.layouts.layout import Layout
from autoprune.reporting.dashboard_note import (
    StudyDescription,
    dashboard_plots,
    first_note,
    result_note,
)
from autoprune.search.dashboard import save_first_note, save_note_and_plots
from autoprune.search.study import (
    delete_new_study,
    finished_trials,
    open_study,
    store_config,
    study_exists,
)
from autoprune.storage.locks import lock_study_folder, single_search_lock
from autoprune.storage.storage import Storage, open_storage
from autoprune.training.checkpoint import remove_old_checkpoints
from autoprune.training.ray_workers import make_executor
from autoprune.training.workers import Executor, WorkerPool


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """A finished study with the experiment that it was run on."""

    experiment: Experiment
    result: StudyResult

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.result.folder

    @property
    def comparison(self) -> Comparison:
        """The comparison on the test split."""
        return self.result.study.comparison


def study_folders(experiments: Sequence[Experiment], options: RunOptions) -> list[Path]:
    """Return the folder of each study; a name that several share gets the number of layers."""
    name = options.study
    if name is None:
        return [options.studies / experiment.default_name for experiment in experiments]
    if len(experiments) == 1:
        return [options.studies / name]
    return [options.studies / f"{name}-keep{experiment.keep}" for experiment in experiments]


def run_studies(
    experiments: Sequence[Experiment],
    options: RunOptions,
    context: RunContext,
    shared_from: Sequence[Path] = (),
    folders: Sequence[Path] = (),
) -> list[StudyOutcome]:
    """Search and compare in each study in turn, and return how they ended.

    Runs are made here, or with `options.ray` by tasks of that cluster. `shared_from` are folders of
    other studies, whose runs of the full model and of rivals are used too. `folders` are those of
    the studies where they are not named as usual. All are locked, and every study begun or refused,
    before the first is worked on.

    Raises:
        AutopruneError: a study cannot be begun, continued or stored.
        KeyboardInterrupt: the user stops it.
    """
    first = experiments[0]
    _check_readable(first)
    check_proxy(experiments)
    folders = folders or study_folders(experiments, options)
    for experiment, folder in zip(experiments, folders, strict=True):
        check_study_files(experiment, folder, options)
    outcomes: list[StudyOutcome] = []
    with ExitStack() as stack:
        stack.enter_context(first.threads())
        executor = stack.enter_context(
            make_executor(first.workers, options.ray, options.gpus_per_worker, first.device)
        )
        storages = begin_studies(experiments, folders, options, stack)
        stack.enter_context(context.shutdown())
        report_data(first, context.progress)
        share_proxy_scores(experiments, folders, context.progress)
        for experiment, folder, storage in zip(experiments, folders, storages, strict=True):
            if len(experiments) > 1:
                context.progress.say(f"{experiment.keep} of {experiment.depth} layers: {folder}")
            earlier = (*shared_from, *(outcome.folder for outcome in outcomes))
            reuse_shared_runs(
                [other / RECORDS_FILE for other in earlier],
                folder / RECORDS_FILE,
                experiment.models,
            )
            share_targets(experiment, earlier, folder)
            result = _run_study(experiment, folder, storage, executor, options, context)
            outcomes.append(StudyOutcome(experiment, result))
    return outcomes


def _check_readable(experiment: Experiment) -> None:
    if not experiment.config.data.allow_unknown_tokens:
        check_readable(experiment.inputs)


def _run_study(
    experiment: Experiment,
    folder: Path,
    storage: Storage,
    executor: Executor,
    options: RunOptions,
    context: RunContext,
) -> StudyResult:
    started = time.perf_counter()
    earlier = len(finished_trials(storage, folder.name, experiment.depth))
    trials = max(0, experiment.config.search.trials - earlier)
    report_expected_time(experiment, context.progress, trials, _runs_on_file(folder))
    experiment = _with_teacher(experiment, folder, executor, context)
    found = search_layouts(experiment, folder, storage, executor, context)
    if found.interrupted or found.found is None:
        context.progress.say(describe_interruption(found, experiment.task.metric))
        raise KeyboardInterrupt
    variants = experiment.entrants(found.found, executor)
    entrants = tune_entrants(experiment, variants, folder, executor, context)
    comparison = run_comparison(experiment, entrants, folder, executor, context)
    result = write_result(experiment, folder, entrants, comparison, found, options, context)
    study = read_study(folder)
    note = result_note(study.setting, study.comparison, study.trials)
    save_note_and_plots(storage, folder.name, note, dashboard_plots(study.trials))
    context.on_result(result, time.perf_counter() - started)
    return result


def _runs_on_file(folder: Path) -> int:
    records = read_records(folder / RECORDS_FILE)
    return sum(record.phase == "comparison" and record.state == "complete" for record in records)


def run_baseline_study(
    experiment: Experiment, options: RunOptions, context: RunContext
) -> StudyResult:
    """Compare the fixed strategies, the full model and models trained from scratch; no search.

    Raises as `run_studies` does.
    """
    started = time.perf_counter()
    _check_readable(experiment)
    [folder] = study_folders([experiment], options)
    check_study_files(experiment, folder, options, searching=False)
    with (
        experiment.threads(),
        lock_study_folder(folder),
        WorkerPool(experiment.workers) as executor,
    ):
        report_data(experiment, context.progress)
        report_expected_time(experiment, context.progress, None, _runs_on_file(folder))
        experiment = _with_teacher(experiment, folder, executor, context)
        variants = experiment.entrants(None, executor)
        entrants = tune_entrants(experiment, variants, folder, executor, context)
        comparison = run_comparison(experiment, entrants, folder, executor, context)
        result = write_result(experiment, folder, entrants, comparison, None, options, context)
    context.on_result(result, time.perf_counter() - started)
    return result


def begin_studies(
    experiments: Sequence[Experiment],
    folders: Sequence[Path],
    options: RunOptions,
    stack: ExitStack,
) -> list[Storage]:
    """Lock each folder until `stack` ends, and begin its study or continue it.

    Where one is refused, the folders and the studies in a database that were not there before are
    removed again.
    """
    new_folders: list[Path] = []
    new_studies: list[tuple[Storage, str]] = []
    storages: list[Storage] = []
    try:
        for folder in folders:
            is_new = not folder.exists()
            storages.append(open_storage(options.storage, folder))
            stack.enter_context(lock_study_folder(folder))
            if is_new:  # and locked: no other process works in it
                new_folders.append(folder)
        for experiment, folder, storage in zip(experiments, folders, storages, strict=True):
            is_new = options.storage is not None and not study_exists(storage, folder.name)
            open_study(
                storage,
                folder.name,
                experiment.depth,
                experiment.keep,
                experiment.seed,
                experiment.identity,
            )
            if options.storage is not None:  # other machines do not see the folder's lock
                stack.enter_context(single_search_lock(storage, folder.name))
            if is_new:  # and locked: no other process searches in it
                new_studies.append((storage, folder.name))
            config = experiment.config.with_absolute_paths()
            store_config(storage, folder.name, config.to_dict())
        for experiment, folder, storage in zip(experiments, folders, storages, strict=True):
            save_first_note(storage, folder.name, _first_note(experiment))
    except AutopruneError:
        for storage, name in new_studies:
            with suppress(StorageError):  # the first mistake is the one to report
                delete_new_study(storage, name)
        _remove(new_folders, options.studies)
        raise
    return storages


def _first_note(experiment: Experiment) -> str:
    return first_note(
        StudyDescription(
            model=experiment.model,
            task=experiment.task.name,
            labels=experiment.splits.names,
            metric=experiment.task.metric,
            depth=experiment.depth,
            keep=experiment.keep,
            quick=experiment.quick,
            full=experiment.full,
        )
    )


def _remove(folders: Sequence[Path], studies: Path) -> None:
    """Remove new folders, and the folders above them that are empty then."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for parent in [*{folder.parent for folder in folders} - {studies}, studies]:  # a plan's first
        if folders and not any(parent.iterdir()):
            parent.rmdir()


def _with_teacher(
    experiment: Experiment, folder: Path, executor: Executor, context: RunContext
) -> Experiment:
    """Return the experiment with its teacher, trained now where it is not stored."""
    if experiment.distillation is None:
        return experiment
    layout = Layout.full(experiment.depth)

    def full() -> Entrant:
        [entrant] = tune_entrants(
            experiment, [experiment.full_entrants(executor)], folder, executor, context
        )
        return entrant

    def remark(progress: EntrantProgress) -> str:
        return "on file" if progress.reused else progress.record.reason or f"seed {progress.seed}"

    total = 0 if experiment.teaching.classifier else len(experiment.config.teacher_seeds)
    with context.progress.phase("teacher", 0, total, executor.workers, experiment.task.metric):
        watch = _show_runs({"full": layout}, remark, folder.name, context)
        return with_teacher(experiment, full, folder, executor, watch)


def tune_entrants(
    experiment: Experiment,
    variants: Sequence[Sequence[Entrant]],
    folder: Path,
    executor: Executor,
    context: RunContext,
) -> list[Entrant]:
    """Return each entrant with the budget that is best on validation with the search's seed.

    Of an entrant with one budget nothing is run.
    """
    tuned = [each for each in variants if len(each) > 1]
    if not tuned:
        return [entrant for (entrant,) in variants]
    layouts = {entrant.origin: entrant.layout for entrant, *_ in tuned}

    def remark(progress: EntrantProgress) -> str:
        record = progress.record
        choice = record.reason or f"peak rate {record.budget.learning_rate:g}"
        if (distilled := record.budget.distillation) and not record.reason:
            choice += f", temperature {distilled.temperature:g}, weight {distilled.weight:g}"
        return f"{choice}{', on file' if progress.reused else ''}"

    total = sum(map(len, tuned))
    with context.progress.phase("rate", 0, total, executor.workers, experiment.task.metric):
        chosen = choose_budgets(
            tuned,
            experiment.seed,
            experiment.conditions,
            folder / RECORDS_FILE,
            _show_runs(layouts, remark, folder.name, context),
        )
    by_origin = {entrant.origin: entrant for entrant in chosen}
    return [by_origin.get(first.origin, first) for first, *_ in variants]


def run_comparison(
    experiment: Experiment,
    entrants: Sequence[Entrant],
    folder: Path,
    executor: Executor,
    context: RunContext,
) -> Comparison:
    """Train the entrants on fresh seeds with the full budget and compare them on the test split."""
    layouts = {entrant.origin: entrant.layout for entrant in entrants}
    schedule = experiment.schedule
    metric = experiment.task.metric
    simple = executor.start(fit_simple_models, experiment.splits, experiment.test, metric)

    def remark(progress: EntrantProgress) -> str:
        return "on file" if progress.reused else progress.record.reason or f"seed {progress.seed}"

    total = len(entrants) * schedule.minimum
    with context.progress.phase("run", 0, total, executor.workers, metric):
        comparison = compare_entrants(
            entrants,
            schedule,
            experiment.test,
            experiment.conditions,
            folder / RECORDS_FILE,
            _show_runs(layouts, remark, folder.name, context),
            simple,
        )
    remove_old_checkpoints(folder)
    return comparison


def _show_runs(
    layouts: dict[str, Layout],
    remark: Callable[[EntrantProgress], str],
    study: str,
    context: RunContext,
) -> Watch:
    """Return what shows and emits each finished run of an entrant."""

    def show(progress: EntrantProgress | EntrantStopped) -> None:
        if isinstance(progress, EntrantStopped):
            context.progress.say(f"{progress.origin} gets no further seed: {progress.reason}")
            context.emit(EntrantBehind(study, progress.origin, progress.reason))
            return
        record = progress.record
        context.progress.expect(progress.total)
        context.progress.finished(
            progress.origin,
            layouts[progress.origin],
            record.score("validation").quality if record.scores else None,
            remark(progress),
            measured=not progress.reused,
        )
        context.emit(entrant_run_finished(study, progress))

    return show
