"""Exporting: which layout of a study is meant, and what is said on the way."""

from dataclasses import replace
from pathlib import Path

from autoprune.errors import HubError, LayoutError, TrialError, UnknownNameError
from autoprune.evaluation.records import read_records
from autoprune.evaluation.study_files import RECORDS_FILE, FinishedStudy
from autoprune.experiment.progress import ProgressDisplay, format_duration, format_percent
from autoprune.experiment.setup import Experiment
from autoprune.experiment.tables import print_line
from autoprune.export.export import ExportRequest, ExportResult, ExportSource
from autoprune.export.final_training import FinalRun, export_seeds
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts


def choose(studied: FinishedStudy, text: str | None) -> tuple[Layout, str]:
    """Return the layout that `text` names, and who named it: `found`, a strategy, `full`, `given`.

    None: what the search found, else what the study recommends. Raises `UnknownNameError`,
    `LayoutError`.
    """
    depth, keep = studied.setting.depth, studied.setting.keep
    comparison = studied.comparison
    layouts = strategy_layouts(list(STRATEGIES), depth, keep) | {"full": Layout.full(depth)}
    if studied.found is not None:
        layouts["found"] = studied.found
    name = text or ("found" if studied.found else "recommended")
    if name == "recommended":
        return comparison.row(comparison.recommended).layout, comparison.recommended
    if name in layouts:
        return layouts[name], name
    if name == "found":
        raise LayoutError(f"study {studied.name} is a baseline and has found nothing: name another")
    if not any(letter.isdigit() for letter in name):
        hint = f"(or a layout such as {Layout.full(depth)})"
        raise UnknownNameError("layout", name[:80], [*layouts, "recommended"], hint)
    layout = Layout.parse(name)
    if layout.depth != depth:
        raise LayoutError(
            f"layout {layout} is for {layout.depth} layers, {studied.setting.model} of study "
            f"{studied.name} has {depth}"
        )
    return layout, "given"


def seeds_for(studied: FinishedStudy, number: int) -> tuple[int, ...]:
    """Return seeds that neither the study's search nor any comparison in its folder has used."""
    used = [record.seed for record in read_records(studied.folder / RECORDS_FILE)]
    return tuple(export_seeds([*used, int(studied.asked["seed"])], number))


def source_of(studied: FinishedStudy, ground: Experiment, layout: Layout) -> ExportSource:
    """Return what the export of `layout` starts from; its learning rate is the study's for it."""
    own = {"found", "full", *STRATEGIES}
    rates = [
        row.learning_rate
        for row in studied.comparison.rows
        if row.origin in own and row.layout == layout
    ]
    budget = replace(ground.full, learning_rate=(*rates, ground.full.learning_rate)[0])
    return ExportSource(
        studied=studied,
        checkpoint=ground.checkpoint,
        task=ground.task,
        splits=ground.splits,
        test=ground.test,
        encoded=ground.inputs.test,
        bench=ground.bench(budget),
    )


def say_begin(
    studied: FinishedStudy,
    source: ExportSource,
    wish: ExportRequest,
    workers: int,
    show: ProgressDisplay,
) -> None:
    """Say what will be trained, how long at most, and where the study recommends otherwise."""
    comparison = studied.comparison
    better = comparison.row(comparison.recommended)
    if better.layout != wish.layout:
        show.say(
            f"study {studied.name} recommends {better.origin} ({better.layout}), not this: "
            "--layout recommended takes it"
        )
    steps = source.bench.budget.steps
    step = source.bench.seconds_per_step(wish.layout)
    rounds = -(-len(wish.seeds) // workers)
    show.say(
        f"fine-tuning {wish.layout.picture} {wish.layout} ({wish.origin}) on fresh seeds "
        f"{', '.join(map(str, wish.seeds))}: at most {steps} steps a run, "
        f"{format_duration(rounds * steps * step)} in all"
    )


def say_run(show: ProgressDisplay, seed: int, run: FinalRun | TrialError) -> None:
    """Say how a run ended."""
    if isinstance(run, TrialError):
        show.say(f"seed {seed}: {run}")
        return
    validation = run.score("validation")
    show.say(
        f"seed {seed}: {format_percent(validation.quality)} on validation, {format_duration(validation.seconds)}"
    )


def say_end(exported: ExportResult, wish: ExportRequest, source: ExportSource, out: Path) -> None:
    """Print what was written, how good it is, and what may come next."""
    best = exported.best
    validation, test, raw = (best.score(name) for name in ("validation", "test", "test-raw"))
    print_line(
        f"{wish.layout.picture} {wish.layout} ({wish.origin}), seed {validation.seed}: "
        f"{source.bench.metric} {format_percent(validation.quality)} on validation, "
        f"{format_percent(test.quality)} on the cleaned test rows, {format_percent(raw.quality)} on all."
    )
    for note in exported.notes:
        print_line(note)
    print_line(
        f"Reloaded in a fresh process: {exported.rows} rows, largest difference of a logit "
        f"{exported.gap:.0e}."
    )
    print_line(f"{out}: {_megabytes(exported.bytes)}, weights {_megabytes(exported.weights)}.")
    print_line(
        f"Next: autoprune predict {out} FILE   autoprune cost {out}   or in Python "
        f'transformers.pipeline("text-classification", "{out}")'
    )


def say_push(out: Path, name: str, private: bool) -> None:
    """Upload the model in `out` and print where it is; raises `HubError`."""
    from autoprune.export.push_to_hub import push

    try:
        address = push(out, name, private)
    except HubError as error:
        raise HubError(f"{error}; the model itself is whole, in {out}") from error
    print_line(f"Pushed to {address}, {'private' if private else 'for everyone to see'}.")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
