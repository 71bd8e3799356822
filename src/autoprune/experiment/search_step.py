"""Search step: an Optuna study over layouts whose trials are trained and recorded."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from autoprune.errors import LayoutError, StudyError, TrialError, format_count
from autoprune.evaluation.records import (
    Record,
    RecordState,
    append_record,
    read_records,
    record_key,
    utc_now,
)
from autoprune.evaluation.study_files import RECORDS_FILE
from autoprune.experiment.context import RunContext
from autoprune.experiment.events import SearchStarted, TrialEvents, search_finished
from autoprune.experiment.proxy_scores import proxy_scores, proxy_summary
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout
from autoprune.search.loop import ReportValue
from autoprune.search.result import SearchResult, TrialResult
from autoprune.search.settings import SearchSettings
from autoprune.search.study import add_finished_trials, finished_trials, optimize_study
from autoprune.search.trial import TrialRun
from autoprune.storage.storage import Storage, storage_name
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.metrics import METRICS, Score
from autoprune.training.workers import Executor, WorkerPool

MAX_PAUSED_CHECKPOINTS = 8
"""Paused runs whose state is kept, at about twelve bytes for each weight that learns. One that goes
on without its state is trained from the start, to the same end."""


class PausedRuns:
    """The checkpoints of a study's runs: those under way, and the best of those that paused."""

    def __init__(self, folder: Path, promotes: bool) -> None:
        self._folder, self._promotes = folder, promotes
        self._waiting: dict[tuple[Layout, int], float] = {}

    def file(self, run: TrialRun) -> CheckpointFile:
        """Return the checkpoint of a run, the same before and after its pause."""
        return checkpoint_file(self._folder, (run.layout, run.seed))

    def finished(self, trial: TrialResult) -> None:
        """Remove the checkpoint that no run resumes from after this trial."""
        run = (trial.layout, trial.seed)
        if self._promotes and trial.fidelity < 1.0 and trial.score is not None:
            self._waiting[run] = trial.score.quality
            if len(self._waiting) <= MAX_PAUSED_CHECKPOINTS:
                return
            run = min(self._waiting, key=lambda waiting: self._waiting[waiting])
        self._waiting.pop(run, None)
        checkpoint_file(self._folder, run).remove()


class TrialRunner:
    """Starts a study's trials in the executor, and shows and records how they end."""

    def __init__(
        self, experiment: Experiment, folder: Path, executor: Executor, context: RunContext
    ) -> None:
        self._experiment, self._executor = experiment, executor
        self._progress = context.progress
        self._events = TrialEvents(folder.name, context.emit)
        self._paused = PausedRuns(folder, experiment.promotes)

    def recall(self, trials: Iterable[TrialResult]) -> None:
        """Take the trials of earlier commands into account."""
        for trial in trials:
            self._paused.finished(trial)
            if trial.score is not None and not self._experiment.was_promoted(trial.fidelity):
                self._progress.recall(trial.origin, trial.layout, trial.score.quality)

    def start(self, run: TrialRun, report: ReportValue) -> Callable[[], Score]:
        """Start a trial; return a function that waits for its score."""
        self._events.started(run)
        evaluator = self._experiment.evaluator(self._experiment.trial_budget(run.fidelity))
        start, file = self._executor.start, self._paused.file(run)
        if self._experiment.config.search.pruner != "none":  # it has to hear of each evaluation
            result = start(train_trial, evaluator, run, report, file)
        else:
            result = reporting_result(start(train_and_collect, evaluator, run, file), report)

        self._progress.started(run.layout)
        return result

    def finished(self, trial: TrialResult) -> None:
        """Show how a trial ended."""
        self._paused.finished(trial)
        promoted = self._experiment.was_promoted(trial.fidelity)
        remark = trial.reason or ("went on to the full budget" if promoted else "")
        quality = trial.score.quality if trial.score else None
        self._progress.finished(trial.origin, trial.layout, quality, remark, compared=not promoted)
        self._events.finished(trial)


def train_trial(
    evaluator: LayoutEvaluator,
    run: TrialRun,
    report: ReportValue | None,
    checkpoint: CheckpointFile | None = None,
) -> Score:
    """Train and score a layout; a layout that the family cannot have raises `TrialError`."""
    try:
        return evaluator.evaluate(run.layout, run.seed, report, checkpoint)
    except LayoutError as error:
        raise TrialError(str(error)) from error


def train_and_collect(
    evaluator: LayoutEvaluator, run: TrialRun, checkpoint: CheckpointFile | None = None
) -> tuple[Score, list[tuple[float, int]]]:
    """Train and score a layout; return its evaluations too: validation quality and step.

    Those before the last one are made only where they take little time.
    """
    collected: list[tuple[float, int]] = []

    def collect(quality: float, step: int) -> None:
        collected.append((quality, step))

    report = collect if evaluator.evaluations_are_cheap else None
    score = train_trial(evaluator, run, report, checkpoint)
    return score, collected or [(score.quality, evaluator.budget.ends)]


def reporting_result(
    result: Callable[[], tuple[Score, list[tuple[float, int]]]], report: ReportValue
) -> Callable[[], Score]:
    """Return what waits for the result of `train_and_collect`, and reports its evaluations."""

    def wait() -> Score:
        score, evaluations = result()
        for quality, step in evaluations:
            report(quality, step)
        return score

    return wait


def search_settings(
    experiment: Experiment, scores: dict[Layout, float] | None, executor: Executor
) -> SearchSettings:
    """Return the search's settings; `scores` is the cheap score of each layout, if any."""
    options = experiment.config.search
    return SearchSettings(
        depth=experiment.depth,
        keep=experiment.keep,
        trials=options.trials,
        sampler=options.sampler,
        pruner=options.pruner,
        seed=experiment.seed,
        fidelity=experiment.fidelity,
        promote=experiment.promotes,
        proxy_scores=scores,
        initial_layouts=experiment.strategies,
        metric=experiment.task.metric,
        timeout=None if options.minutes is None else 60 * options.minutes,
        parallel_trials=executor.workers,
        required=experiment.required_layers,
    )


def trial_executor(experiment: Experiment, executor: Executor) -> Executor:
    """Return what runs trials: with a pruner this process, which hears of each check."""
    return executor if experiment.config.search.pruner == "none" else WorkerPool(1)


def search_layouts(
    experiment: Experiment,
    folder: Path,
    storage: Storage,
    executor: Executor,
    context: RunContext,
) -> SearchResult:
    """Search until the study has all its trials, or the time is over; record them in `folder`."""
    options, progress = experiment.config.search, context.progress
    executor = trial_executor(experiment, executor)
    evaluator = experiment.evaluator(experiment.quick)
    parameters = evaluator.parameters(next(iter(experiment.strategies.values()))).total
    runner = TrialRunner(experiment, folder, executor, context)
    earlier, lost = find_trials(experiment, folder, storage)
    if lost:
        progress.say(
            f"missing in {storage_name(storage)}: {format_count(len(lost), 'trial')} of "
            f"{folder / RECORDS_FILE}, taken up from there"
        )
        add_finished_trials(storage, folder.name, lost, experiment.task.metric)
        earlier = finished_trials(storage, folder.name, experiment.depth)
    done = len(earlier)
    if done:
        more = "the search is done" if done >= options.trials else f"going on to {options.trials}"
        count = f"{format_count(done, 'trial')} of this study {'is' if done == 1 else 'are'}"
        progress.say(f"{count} finished, {more}")
    context.emit(
        SearchStarted(
            study=folder.name,
            model=experiment.model,
            task=experiment.task.name,
            keep=experiment.keep,
            trials=options.trials,
            done=done,
            seed=experiment.seed,
            workers=executor.workers,
        )
    )

    def finished(trial: TrialResult) -> None:
        record = trial_record(trial, experiment, parameters)
        append_new_records(folder / RECORDS_FILE, [record])
        runner.finished(trial)

    scores = proxy_scores(experiment, folder, progress)
    metric, most = experiment.task.metric, max(options.trials, done)
    with progress.phase("trial", done, most, executor.workers, metric):
        progress.compare_with_proxy(options.proxy, scores)
        runner.recall(earlier)
        result = optimize_study(
            partial(train_trial, evaluator),
            search_settings(experiment, scores, executor),
            storage,
            folder.name,
            experiment.identity,
            callback=finished,
            start_trial=runner.start,
        )
    append_new_records(
        folder / RECORDS_FILE,
        [trial_record(trial, experiment, parameters) for trial in result.trial_results],
    )
    context.emit(search_finished(folder.name, result))
    if result.trials < options.trials and options.minutes is not None and not result.interrupted:
        progress.say(
            f"{result.trials} of {format_count(options.trials, 'trial')} made in the "
            f"{options.minutes:g} minutes given"
        )
    if summary := proxy_summary(folder, result):
        progress.say(summary)
    return result


def find_trials(
    experiment: Experiment, folder: Path, storage: Storage
) -> tuple[Sequence[TrialResult], list[TrialResult]]:
    """Return the finished trials in a study's storage, and those that only its records hold.

    A trial is stored before its record, so of the latter the storage was damaged, or is another
    one. Raises `StudyError` where both have a trial, with two results.
    """
    records = read_records(folder / RECORDS_FILE)  # first: a search may be adding to both
    trials = finished_trials(storage, folder.name, experiment.depth)
    known = {record_key(trial_record(trial, experiment, 0)): trial for trial in trials}
    lost = []
    for record in records:
        if record.phase != "search":
            continue
        stored = known.get(record_key(record))
        recorded = _recorded_trial(experiment, record)
        if stored is None and recorded is not None:
            lost.append(recorded)
        elif stored is not None and (stored.state, stored.score and stored.score.quality) != (
            record.state,
            record.scores[0].quality if record.scores else None,
        ):
            raise StudyError(
                f"{folder / RECORDS_FILE} and the study's storage contradict each other about "
                f"{record.layout}, seed {record.seed}: bring back a copy of both"
            )
    return trials, lost


def _recorded_trial(experiment: Experiment, record: Record) -> TrialResult | None:
    """Return the trial of a record; None where the experiment would not make it."""
    for fidelity in dict.fromkeys((experiment.fidelity, 1.0)):
        trial = TrialResult(
            number=0,
            layout=record.layout,
            origin=record.origin,
            state=record.state,
            score=record.scores[0] if record.scores else None,
            reason=record.reason,
            best=None,
            seed=record.seed,
            fidelity=fidelity,
        )
        if record_key(trial_record(trial, experiment, 0)) == record_key(record):
            return trial
    return None


def trial_record(trial: TrialResult, experiment: Experiment, parameters: int) -> Record:
    """Return the record of a finished trial, trained within its budget."""
    conditions = experiment.conditions
    return Record(
        phase="search",
        origin=trial.origin,
        layout=trial.layout,
        start="pretrained",
        model=experiment.model,
        task=conditions.task,
        metric=conditions.metric,
        budget=experiment.trial_budget(trial.fidelity),
        seed=trial.seed,
        scores=() if trial.score is None else (trial.score,),
        parameters=parameters,
        fingerprints=conditions.fingerprints,
        versions=conditions.versions,
        device=conditions.device,
        finished=utc_now(),
        notes=(trial.score.note,) if trial.score and trial.score.note else (),
        state=cast(RecordState, trial.state),
        reason=trial.reason,
    )


def append_new_records(path: Path, records: Iterable[Record]) -> None:
    """Append the records whose measurement `path` does not hold yet.

    The study's storage is what counts while a search runs; a process killed between the two
    writes leaves a trial without its record, which is added when the study is resumed.
    """
    known = {record_key(record) for record in read_records(path) if record.phase == "search"}
    for record in records:
        if record_key(record) not in known:
            append_record(path, record)


def describe_interruption(result: SearchResult, metric: str) -> str:
    """Return what is kept of an interrupted search, the best so far, and how to resume it."""
    number = result.trials
    kept = f"{format_count(number, 'finished trial')} {'is' if number == 1 else 'are'} kept"
    if not number:
        kept = "no trial was finished"
    elif result.found is not None and result.mean is not None:
        kept += f", best so far {result.found.picture} {result.found} "
        kept += f"({METRICS[metric].format(result.mean)})"
    return f"stopped: {kept}; the same command again goes on"
