"""The search of a study, and what its two halves share and say."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import cast

from autoprune.errors import LayoutError, TrialError
from autoprune.evaluation.entrants import MeasurementConditions
from autoprune.evaluation.records import (
    Record,
    RecordState,
    append_record,
    installed_versions,
    read_records,
    record_key,
    utc_now,
)
from autoprune.evaluation.study_files import RECORDS_FILE
from autoprune.experiment.progress import ProgressDisplay, format_percent
from autoprune.experiment.progress import format_duration as in_words
from autoprune.experiment.proxy_scores import proxy_scores, proxy_summary
from autoprune.experiment.setup import Experiment
from autoprune.experiment.tracking import TrialEvents, emit, emit_search_finished
from autoprune.layouts.layout import Layout, count_layouts
from autoprune.search.result import SearchResult, TrialResult
from autoprune.search.settings import SearchSettings
from autoprune.search.study import finished_trials, open_study, optimize_study
from autoprune.search.trial import TrialRun
from autoprune.storage.storage import Storage
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import CheckpointFile, checkpoint_file
from autoprune.training.devices import describe_device
from autoprune.training.evaluator import EvaluationCallback, LayoutEvaluator
from autoprune.training.metrics import Score
from autoprune.training.workers import Executor, WorkerPool

MAX_PAUSED_CHECKPOINTS = 8
"""Paused runs whose state is kept, at about twelve bytes for each weight that learns. One that goes
on without its state is trained from the start, to the same end."""


class PausedRuns:
    """Knows where runs are kept; with `promotes`, the states of the best that paused stay there."""

    def __init__(self, folder: Path, promotes: bool) -> None:
        self._folder, self._promotes = folder, promotes
        self._waiting: dict[tuple[Layout, int], float] = {}

    def place(self, run: TrialRun) -> CheckpointFile:
        """Return the file of a run, the same for its pause and its end."""
        return checkpoint_file(self._folder, (run.layout, run.seed))

    def ends(self, finding: TrialResult) -> None:
        """Take away what no run goes on from after this trial."""
        mine = (finding.layout, finding.seed)
        if self._promotes and finding.fidelity < 1.0 and finding.score is not None:
            self._waiting[mine] = finding.score.quality
            if len(self._waiting) <= MAX_PAUSED_CHECKPOINTS:
                return
            mine = min(self._waiting, key=lambda one: self._waiting[one])
        self._waiting.pop(mine, None)
        checkpoint_file(self._folder, mine).remove()


def trial_record(
    finding: TrialResult,
    conditions: MeasurementConditions,
    budget: Budget,
    model: str,
    parameters: int,
) -> Record:
    """Return the record of a finished trial, made within the quick `budget`."""
    return Record(
        phase="search",
        origin=finding.origin,
        layout=finding.layout,
        start="pretrained",
        model=model,
        task=conditions.task,
        metric=conditions.metric,
        budget=budget,
        seed=finding.seed,
        scores=() if finding.score is None else (finding.score,),
        parameters=parameters,
        fingerprints=conditions.fingerprints,
        versions=conditions.versions,
        device=conditions.device,
        finished=utc_now(),
        notes=(finding.score.note,) if finding.score and finding.score.note else (),
        state=cast(RecordState, finding.state),
        reason=finding.reason,
    )


def append_new_records(path: Path, records: Iterable[Record]) -> None:
    """Append the records whose measurement `path` does not hold yet.

    The study's storage is what counts while a search runs; a process killed between the two
    writes leaves a trial without its record, which is added when the study goes on.
    """
    there = {record_key(record) for record in read_records(path) if record.phase == "search"}
    for record in records:
        if record_key(record) not in there:
            append_record(path, record)


def comparison_seeds(seed: int, number: int) -> list[int]:
    """Return the comparison's seeds: none of them is the search's."""
    return [seed + 1 + i for i in range(number)]


def measurement_conditions(ground: Experiment) -> MeasurementConditions:
    """Return what all measurements share."""
    return MeasurementConditions(
        task=ground.task.name,
        metric=ground.task.metric,
        fingerprints={"train and validation": ground.splits.fingerprint},
        versions=installed_versions(),
        device=f"{describe_device(ground.device)}, {ground.workers} at a time",
    )


def begin_study(ground: Experiment, storage: Storage, name: str, seed: int, proxy: str) -> None:
    """Begin the study, or refuse to go on with one about something else, before any work."""
    open_study(
        storage, name, ground.checkpoint.depth, ground.keep, seed, study_identity(ground, proxy)
    )


def study_identity(ground: Experiment, proxy: str) -> dict[str, str | int | float | None]:
    """Return what a study must not change on the way, apart from depth, keep and seed."""
    return {
        "model": ground.model,
        "task": ground.task.name,
        "metric": ground.task.metric,
        "data": ground.splits.fingerprint,
        "full_steps": ground.full.steps,
        "proxy": proxy,
        **{name: value for name, value in asdict(ground.quick).items() if name != "pause_at"},
        **({"promote": ground.quick.pause_at} if ground.promotes else {}),
    }


def search_layouts(
    ground: Experiment,
    show: ProgressDisplay,
    folder: Path,
    crew: Executor,
    *,
    storage: Storage,
    trials: int,
    minutes: float | None,
    sampler: str,
    pruner: str,
    proxy: str,
    seed: int,
) -> SearchResult:
    """Search until `trials` are finished in all, or the time is; each is recorded in `folder`."""
    bench = ground.bench(ground.quick)
    under, pauses = measurement_conditions(ground), PausedRuns(folder, ground.promotes)
    parameters = bench.parameters(next(iter(ground.strategies.values()))).total
    depth = ground.checkpoint.depth

    if pruner != "none":  # it hears of the checks, so its trials run in this process
        crew = WorkerPool(1)

    told = TrialEvents(folder.name)

    def record(finding: TrialResult) -> Record:
        budget = ground.trial_budget(finding.fidelity)
        return trial_record(finding, under, budget, ground.model, parameters)

    def watch(finding: TrialResult) -> None:
        append_new_records(folder / RECORDS_FILE, [record(finding)])
        pauses.ends(finding)
        show_trial(show, finding, ground)
        told.ends(finding)

    earlier = finished_trials(storage, folder.name, depth)
    done = len(earlier)
    if done:
        more = "the search is done" if done >= trials else f"going on to {trials}"
        show.say(f"{done} trials of this study are finished, {more}")
    emit(
        "search begun",
        study=folder.name,
        model=ground.model,
        task=ground.task.name,
        keep=ground.keep,
        trials=trials,
        done=done,
        seed=seed,
        workers=crew.workers,
    )
    hints = proxy_scores(ground, folder, proxy, seed, show)
    with show.phase("trial", done, max(trials, done), crew.workers):
        show.compares(proxy, hints)
        for finding in earlier:
            pauses.ends(finding)
            if finding.score is not None and not ground.went_on(finding.fidelity):
                show.recalls(finding.origin, finding.layout, finding.score.quality)
        outcome = optimize_study(
            partial(_measure, bench),
            SearchSettings(
                depth=depth,
                keep=ground.keep,
                trials=trials,
                sampler=sampler,
                pruner=pruner,
                seed=seed,
                fidelity=ground.fidelity,
                proxy_scores=hints,
                promote=ground.promotes,
                initial_layouts=ground.strategies,
                timeout=None if minutes is None else 60 * minutes,
                parallel_trials=crew.workers,
            ),
            storage,
            folder.name,
            study_identity(ground, proxy),
            callback=watch,
            start_trial=trial_starter(ground, show, pauses, crew, told),
        )
    append_new_records(
        folder / RECORDS_FILE,
        [record(finding) for finding in outcome.trial_results],
    )
    emit_search_finished(folder.name, outcome)
    if outcome.trials < trials and minutes is not None and not outcome.interrupted:
        show.say(f"{outcome.trials} of {trials} trials were made in the {minutes:g} minutes given")
    if said := proxy_summary(folder, outcome):
        show.say(said)
    return outcome


def show_trial(show: ProgressDisplay, finding: TrialResult, ground: Experiment) -> None:
    """Print a finished trial."""
    further = ground.went_on(finding.fidelity)
    remark = finding.reason or ("went on to the full budget" if further else "")
    quality = finding.score.quality if finding.score else None
    show.ends(finding.origin, finding.layout, quality, remark, compared=not further)


def trial_starter(
    ground: Experiment, show: ProgressDisplay, pauses: PausedRuns, crew: Executor, told: TrialEvents
) -> Callable[[TrialRun, EvaluationCallback], Callable[[], Score]]:
    """Return what begins a trial's run in the crew; its state is kept among `pauses`."""

    def begin(run: TrialRun, check: EvaluationCallback) -> Callable[[], Score]:
        def wait() -> Score:
            show.begins(run.layout)
            return result()

        told.begins(run)
        bench = ground.bench(ground.trial_budget(run.fidelity))
        watch = check if crew.in_this_process else None
        result = crew.start(_measure, bench, run, watch, pauses.place(run))
        return wait

    return begin


def _measure(
    bench: LayoutEvaluator,
    run: TrialRun,
    check: EvaluationCallback | None,
    place: CheckpointFile | None = None,
) -> Score:
    try:
        return bench.evaluate(run.layout, run.seed, check, place)
    except LayoutError as error:  # a layout that this family cannot have
        raise TrialError(str(error)) from error


def report_data(ground: Experiment, show: ProgressDisplay) -> None:
    """Tell what was read, what cleaning removed, and how many texts are cut off."""
    show.cleaning((*ground.splits.cleaned, ground.test.cleaned))
    if ground.left_out:
        show.say(f"this family of models cannot have {', '.join(ground.left_out)}: not compared")
    if ground.splits.held_out:
        show.say(
            f"the data have no {' and no '.join(ground.splits.held_out)} split: "
            "a fifth of the train rows was cut off for each, by label and seed"
        )
    cut, rows = ground.inputs.train.truncated, len(ground.inputs.train)
    if cut:
        show.say(
            f"{cut} of {rows} train texts are longer than {ground.quick.tokens} tokens and are "
            "cut off there; see --tokens"
        )


def report_expected_time(
    ground: Experiment, show: ProgressDisplay, trials: int, seeds: int
) -> None:
    """Measure a step on this device and say how long the whole study takes at most."""
    bench = ground.bench(ground.quick)
    depth, keep = ground.checkpoint.depth, ground.keep
    step = bench.seconds_per_step(next(iter(ground.strategies.values())))
    searching = trials * ground.quick.ends * step / ground.workers
    onward = (ground.full.steps - ground.quick.ends) * step
    further = f", those that go on {in_words(onward)} more each" if ground.promotes else ""
    pruned = len(ground.strategies) + (trials > 0) + 1 + len(ground.rivals)  # scratch is one
    runs = seeds + len(ground.rates)
    comparing = runs * ground.full.steps * step * (pruned + depth / keep)
    search = f"{in_words(searching)} for {trials} trials of {ground.quick.ends} steps{further}, "
    show.say(
        f"{step * 1000:.0f} ms a step on {describe_device(ground.device)}: {search if trials else ''}"
        f"at most {in_words(comparing / ground.workers)} for the comparison on {seeds} seeds"
        f"{f' and {len(ground.rates)} learning rates' if ground.rates else ''}, "
        f"up to {ground.full.steps} steps a run, {ground.workers} at a time "
        f"({count_layouts(depth, keep):,} layouts in all). Shorter: fewer --trials or --seeds, smaller "
        "--epochs, --full-epochs or --tokens, a GPU"
    )


def report_interrupted(show: ProgressDisplay, outcome: SearchResult) -> None:
    """Tell what is kept of an interrupted search, the best so far, and how to go on."""
    best = "no trial was finished"
    if outcome.found is not None and outcome.mean is not None:
        best = (
            f"best so far {outcome.found.picture} {outcome.found} ({format_percent(outcome.mean)})"
        )
    show.say(
        f"stopped: {outcome.trials} finished trials are kept, {best}; "
        "the same command again goes on"
    )
