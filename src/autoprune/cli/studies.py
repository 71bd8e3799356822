"""The studies command: the studies in the folder, their progress and their best layouts."""

from typing import TYPE_CHECKING, Any

from autoprune.cli import options
from autoprune.errors import StudyError

if TYPE_CHECKING:
    from autoprune.experiment.study_store import StudyOverview


def studies(json: options.JsonOption = False) -> None:
    """List the studies of the folder: running, unfinished or finished, and the best layout.

    Example: `autoprune studies --json`
    """
    from json import dumps

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
    from autoprune.evaluation.verdict import format_percent

    start = f"{overview.study:{width}}  {overview.state:10}  {overview.trials:>4} trials"
    best = overview.best
    if best is None:
        return start
    return (
        f"{start}  {best.layout.picture}  {format_percent(best.quality):>7} on {best.split:10}  "
        f"{best.origin:10} {best.layout!s:18} {overview.finding}"
    ).rstrip()


def _as_json(overview: "StudyOverview") -> dict[str, Any]:
    from dataclasses import asdict

    best = overview.best and {**asdict(overview.best), "layout": str(overview.best.layout)}
    return {**asdict(overview), "folder": str(overview.folder), "best": best}
