"""The commands models, tasks, layouts and studies: lists of what is known."""

from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli import options
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import StudyError, format_count
from autoprune.layouts.layout import check_keep, count_layouts
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.registry import TASKS

if TYPE_CHECKING:
    from autoprune.experiment.study_store import StudyOverview


def models(json: options.JsonOption = False) -> None:
    """List the models known by name; any hub id or local folder serves too.

    Example: `autoprune models`
    """
    if json:
        known = [
            {
                "name": name,
                "source": encoder.source,
                "language": encoder.language,
                "layers": encoder.layers,
            }
            for name, encoder in ENCODERS.items()
        ]
        options.show(dumps({"models": known}))
        return
    for name, encoder in ENCODERS.items():
        options.show(
            f"{name:16} {encoder.source:32} {encoder.layers:>2} layers  {encoder.language}"
        )
    options.say(
        "mr is Marathi. --model also takes org/name of any encoder of the hub, or a folder."
    )


def tasks(json: options.JsonOption = False) -> None:
    """List the tasks known by name; your own files or a hub data set serve too.

    Example: `autoprune tasks`
    """
    if json:
        known = [
            {
                "name": name,
                "source": task.source,
                "language": "mr",
                "labels": len(task.labels or ()),
                "tokens": task.tokens,
                "metric": task.metric,
            }
            for name, task in TASKS.items()
        ]
        options.show(dumps({"tasks": known}))
        return
    for name, task in TASKS.items():
        what = f"{len(task.labels)} labels" if task.labels else str(task.problem_type)
        options.show(f"{name:16} {task.source:20} {what:28} up to {task.tokens} tokens  mr")
    options.say(
        "mr is Marathi; official:SHC is the folder SHC of --data-dir, else downloaded. --task also "
        "takes a file or folder of yours, or a data set of the hub."
    )


def layouts(
    depth: Annotated[int, typer.Option(min=2, max=1000, help="Layers of the full model.")],
    keep: Annotated[int, typer.Option("--keep", "-k", min=1, max=999, help="Layers that stay.")],
    json: options.JsonOption = False,
) -> None:
    """Show what each fixed strategy keeps (● stays, ○ goes; the left end is next to the input).

    Example: `autoprune layouts --depth 12 --keep 6`
    """
    check_keep(depth, keep)
    known = {name: strategy(depth, keep) for name, strategy in STRATEGIES.items()}
    if json:
        named = [
            {"strategy": name, "layout": str(layout), "keep": layout.keep}
            for name, layout in known.items()
        ]
        options.show(dumps({"layouts": named, "count": count_layouts(depth, keep)}))
        return
    for name, layout in known.items():
        options.show(f"{name:10} {layout.picture}  {layout}")
    number = format_count(count_layouts(depth, keep), "layout")
    options.show(f"{keep} of {format_count(depth, 'layer')}: {number}")


def studies(json: options.JsonOption = False) -> None:
    """List the studies of the folder: running, unfinished or finished, and the best layout.

    Example: `autoprune studies --json`
    """
    from autoprune.experiment.study_store import all_studies, list_studies

    root = options.STUDIES_FOLDER
    if not json and not all_studies(root):
        raise StudyError(
            f"no studies here: run `autoprune search` first, or go where the folder {root} is"
        )
    overviews = list_studies(root, options.say)
    if json:
        options.show(dumps({"studies": [_as_json(overview) for overview in overviews]}))
        return
    width = max((len(overview.study) for overview in overviews), default=0)
    for overview in overviews:
        options.show(_line(overview, width))


def _line(overview: "StudyOverview", width: int) -> str:
    from autoprune.training.metrics import METRICS

    trials = format_count(overview.trials, "trial")
    start = f"{overview.study:{width}}  {overview.state:10}  {trials:>11}"
    best = overview.best
    if best is None or overview.metric is None:
        return start
    quality = METRICS[overview.metric].format(best.quality)
    finding = overview.finding
    if finding in ("better", "worse"):  # of the layout found, `best` may be another
        finding = f"found is {finding}"
    return (
        f"{start}  {best.layout.picture}  {quality:>7} on {best.split:10}  "
        f"{best.origin:10} {best.layout!s:18} {finding}"
    ).rstrip()


def _as_json(overview: "StudyOverview") -> dict[str, Any]:
    from dataclasses import asdict

    best = overview.best and {**asdict(overview.best), "layout": str(overview.best.layout)}
    return {**asdict(overview), "folder": str(overview.folder), "best": best}
