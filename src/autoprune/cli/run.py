"""The search of a study, and what its two halves share and say."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from autoprune.cli.events import tell
from autoprune.cli.ground import Ground
from autoprune.cli.hinting import hints_for, trust
from autoprune.cli.pausing import Pauses
from autoprune.cli.show import Show, percent
from autoprune.cli.show import minutes as in_words
from autoprune.cli.telling import Trials, tell_search
from autoprune.errors import LayoutError, TrialError
from autoprune.evidence.measuring import Conditions
from autoprune.evidence.record import Record
from autoprune.evidence.studied import RECORDS
from autoprune.evidence.trials import append_new, trial_record
from autoprune.evidence.versions import installed
from autoprune.layouts.layout import count
from autoprune.scoring.bench import Bench, Check, go_on
from autoprune.scoring.crew import Crew, Team
from autoprune.scoring.devices import describe
from autoprune.scoring.place import Place
from autoprune.scoring.score import Score
from autoprune.search.findings import Finding, Outcome
from autoprune.search.run import Run
from autoprune.search.storage import Storage
from autoprune.search.study import findings, open_study, search


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
