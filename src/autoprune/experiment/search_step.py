"""The search of a study, and what its two halves share and say."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import cast

from autoprune.errors import LayoutError, TrialError
from autoprune.evaluation.entrants import Conditions
from autoprune.evaluation.records import Record, State, append, installed, key, now, read
from autoprune.evaluation.study_files import RECORDS
from autoprune.experiment.progress import Show, percent
from autoprune.experiment.progress import minutes as in_words
from autoprune.experiment.proxy_scores import hints_for, trust
from autoprune.experiment.setup import Ground
from autoprune.experiment.tracking import Trials, tell, tell_search
from autoprune.layouts.layout import Layout, count
from autoprune.search.result import Finding, Outcome
from autoprune.search.study import findings, open_study, search
from autoprune.search.trial import Run
from autoprune.storage.storage import Storage
from autoprune.training.budget import Budget
from autoprune.training.checkpoint import Place, place_of
from autoprune.training.devices import describe
from autoprune.training.evaluator import Bench, Check, go_on
from autoprune.training.metrics import Score
from autoprune.training.workers import Crew, Team

MOST = 8
"""Paused runs whose state is kept, at about twelve bytes for each weight that learns. One that goes
on without its state is trained from the start, to the same end."""


class Pauses:
    """Knows where runs are kept; with `promotes`, the states of the best that paused stay there."""

    def __init__(self, folder: Path, promotes: bool) -> None:
        self._folder, self._promotes = folder, promotes
        self._waiting: dict[tuple[Layout, int], float] = {}

    def place(self, run: Run) -> Place:
        """Return the file of a run, the same for its pause and its end."""
        return place_of(self._folder, (run.layout, run.seed))

    def ends(self, finding: Finding) -> None:
        """Take away what no run goes on from after this trial."""
        mine = (finding.layout, finding.seed)
        if self._promotes and finding.fidelity < 1.0 and finding.score is not None:
            self._waiting[mine] = finding.score.quality
            if len(self._waiting) <= MOST:
                return
            mine = min(self._waiting, key=lambda one: self._waiting[one])
        self._waiting.pop(mine, None)
        place_of(self._folder, mine).take_away()


def trial_record(
    finding: Finding, conditions: Conditions, budget: Budget, model: str, parameters: int
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
        finished=now(),
        notes=(finding.score.note,) if finding.score and finding.score.note else (),
        state=cast(State, finding.state),
        reason=finding.reason,
    )


def append_new(path: Path, records: Iterable[Record]) -> None:
    """Append the records whose measurement `path` does not hold yet.

    The study's storage is what counts while a search runs; a process killed between the two
    writes leaves a trial without its record, which is added when the study goes on.
    """
    there = {key(record) for record in read(path) if record.phase == "search"}
    for record in records:
        if key(record) not in there:
            append(path, record)


def fresh_seeds(seed: int, number: int) -> list[int]:
    """Return the comparison's seeds: none of them is the search's."""
    return [seed + 1 + i for i in range(number)]


def conditions(ground: Ground) -> Conditions:
    """Return what all measurements share."""
    return Conditions(
        task=ground.task.name,
        metric=ground.task.metric,
        fingerprints={"train and validation": ground.splits.fingerprint},
        versions=installed(),
        device=f"{describe(ground.device)}, {ground.workers} at a time",
    )


def begin_study(ground: Ground, storage: Storage, name: str, seed: int, proxy: str) -> None:
    """Begin the study, or refuse to go on with one about something else, before any work."""
    open_study(storage, name, ground.checkpoint.depth, ground.keep, seed, identity(ground, proxy))


def identity(ground: Ground, proxy: str) -> dict[str, str | int | float | None]:
    """Return what a study must not change on the way, apart from depth, keep and seed."""
    return {
        "model": ground.model,
        "task": ground.task.name,
        "metric": ground.task.metric,
        "data": ground.splits.fingerprint,
        "full_steps": ground.full.steps,
        "proxy": proxy,
        **{name: value for name, value in asdict(ground.quick).items() if name != "until"},
        **({"promote": ground.quick.until} if ground.promotes else {}),
    }


def find_layout(
    ground: Ground,
    show: Show,
    folder: Path,
    crew: Team,
    *,
    storage: Storage,
    trials: int,
    minutes: float | None,
    sampler: str,
    pruner: str,
    proxy: str,
    seed: int,
) -> Outcome:
    """Search until `trials` are finished in all, or the time is; each is recorded in `folder`."""
    bench = ground.bench(ground.quick)
    under, pauses = conditions(ground), Pauses(folder, ground.promotes)
    parameters = bench.parameters(next(iter(ground.strategies.values()))).total
    depth = ground.checkpoint.depth

    if pruner != "none":  # it hears of the checks, so its trials run in this process
        crew = Crew(1)

    told = Trials(folder.name)

    def record(finding: Finding) -> Record:
        budget = ground.trial_budget(finding.fidelity)
        return trial_record(finding, under, budget, ground.model, parameters)

    def watch(finding: Finding) -> None:
        append_new(folder / RECORDS, [record(finding)])
        pauses.ends(finding)
        show_trial(show, finding, ground)
        told.ends(finding)

    earlier = findings(storage, folder.name, depth)
    done = len(earlier)
    if done:
        more = "the search is done" if done >= trials else f"going on to {trials}"
        show.say(f"{done} trials of this study are finished, {more}")
    tell(
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
    hints = hints_for(ground, folder, proxy, seed, show)
    with show.phase("trial", done, max(trials, done), crew.workers):
        show.compares(proxy, hints)
        for finding in earlier:
            pauses.ends(finding)
            if finding.score is not None and not ground.went_on(finding.fidelity):
                show.recalls(finding.origin, finding.layout, finding.score.quality)
        outcome = search(
            partial(_measure, bench),
            depth,
            ground.keep,
            trials=trials,
            storage=storage,
            name=folder.name,
            identity=identity(ground, proxy),
            sampler=sampler,
            pruner=pruner,
            seed=seed,
            fidelity=ground.fidelity,
            hints=hints,
            promotes=ground.promotes,
            first=ground.strategies,
            seconds=None if minutes is None else 60 * minutes,
            watch=watch,
            side_by_side=crew.workers,
            begin=beginner(ground, show, pauses, crew, told),
        )
    append_new(
        folder / RECORDS,
        [record(finding) for finding in outcome.findings],
    )
    tell_search(folder.name, outcome)
    if outcome.trials < trials and minutes is not None and not outcome.interrupted:
        show.say(f"{outcome.trials} of {trials} trials were made in the {minutes:g} minutes given")
    if said := trust(folder, outcome):
        show.say(said)
    return outcome


def show_trial(show: Show, finding: Finding, ground: Ground) -> None:
    """Print a finished trial."""
    further = ground.went_on(finding.fidelity)
    remark = finding.reason or ("went on to the full budget" if further else "")
    quality = finding.score.quality if finding.score else None
    show.ends(finding.origin, finding.layout, quality, remark, compared=not further)


def beginner(
    ground: Ground, show: Show, pauses: Pauses, crew: Team, told: Trials
) -> Callable[[Run, Check], Callable[[], Score]]:
    """Return what begins a trial's run in the crew; its state is kept among `pauses`."""

    def begin(run: Run, check: Check) -> Callable[[], Score]:
        def wait() -> Score:
            show.begins(run.layout)
            return result()

        told.begins(run)
        bench = ground.bench(ground.trial_budget(run.fidelity))
        watch = check if crew.in_this_process else go_on
        result = crew.start(_measure, bench, run, watch, pauses.place(run))
        return wait

    return begin


def _measure(bench: Bench, run: Run, check: Check, place: Place | None = None) -> Score:
    try:
        return bench.measure(run.layout, run.seed, check, place)
    except LayoutError as error:  # a layout that this family cannot have
        raise TrialError(str(error)) from error


def say_data(ground: Ground, show: Show) -> None:
    """Tell what was read, what cleaning removed, and how many texts are cut off."""
    show.cleaning((*ground.splits.cleaned, ground.test.cleaned))
    if ground.left_out:
        show.say(f"this family of models cannot have {', '.join(ground.left_out)}: not compared")
    if ground.splits.cut:
        show.say(
            f"the data have no {' and no '.join(ground.splits.cut)} split: "
            "a fifth of the train rows was cut off for each, by label and seed"
        )
    cut, rows = ground.inputs.train.cut, len(ground.inputs.train)
    if cut:
        show.say(
            f"{cut} of {rows} train texts are longer than {ground.quick.tokens} tokens and are "
            "cut off there; see --tokens"
        )


def say_cost(ground: Ground, show: Show, trials: int, seeds: int) -> None:
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
        f"{step * 1000:.0f} ms a step on {describe(ground.device)}: {search if trials else ''}"
        f"at most {in_words(comparing / ground.workers)} for the comparison on {seeds} seeds"
        f"{f' and {len(ground.rates)} learning rates' if ground.rates else ''}, "
        f"up to {ground.full.steps} steps a run, {ground.workers} at a time "
        f"({count(depth, keep):,} layouts in all). Shorter: fewer --trials or --seeds, smaller "
        "--epochs, --full-epochs or --tokens, a GPU"
    )


def say_stopped(show: Show, outcome: Outcome) -> None:
    """Tell what is kept of an interrupted search, the best so far, and how to go on."""
    best = "no trial was finished"
    if outcome.found is not None and outcome.mean is not None:
        best = f"best so far {outcome.found.picture} {outcome.found} ({percent(outcome.mean)})"
    show.say(
        f"stopped: {outcome.trials} finished trials are kept, {best}; "
        "the same command again goes on"
    )
