"""The studies command: what stands in the folder, how far it is, and what is best in it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autoprune.cli import options
from autoprune.errors import AutopruneError, StudyError
from autoprune.experiment.study_store import all_studies

if TYPE_CHECKING:
    from autoprune.experiment.study_store import StudyOverview


def studies(json: options.Json = False) -> None:
    """List the studies of the folder: running, unfinished or finished, and the best layout.

    Example: `autoprune studies --json`
    """
    from json import dumps

    folders = all_studies()
    if not folders and not json:
        raise StudyError(
            "no studies here: run `autoprune search` first, or go where the folder studies is"
        )
    found = _looked_at(folders)
    if json:
        typer.echo(dumps({"studies": [_as_json(one) for one in found]}))
        return
    wide = max((len(one.study) for one in found), default=0)
    for one in found:
        typer.echo(_line(one, wide))


def _looked_at(folders: list[Path]) -> "list[StudyOverview]":
    """Look at each study; one that cannot be read is told on standard error."""
    from autoprune.experiment.study_store import study_overview
    from autoprune.storage.locks import is_at_work

    found = []
    for folder in folders:
        try:
            found.append(study_overview(folder, is_at_work(folder)))
        except AutopruneError as error:
            typer.echo(f"{folder.name}: {' '.join(str(error).split())}", err=True)
    return found


def _line(one: "StudyOverview", wide: int) -> str:
    from autoprune.experiment.progress import format_percent

    start = f"{one.study:{wide}}  {one.state:10}  {one.trials:>4} trials"
    if one.best is None:
        return start
    best = one.best
    return (
        f"{start}  {best.layout.picture}  {format_percent(best.quality):>7} on {best.split:10}  "
        f"{best.origin:10} {best.layout!s:18} {one.finding}"
    ).rstrip()


def _as_json(one: "StudyOverview") -> dict[str, Any]:
    best = one.best and {**asdict(one.best), "layout": str(one.best.layout)}
    return {**asdict(one), "folder": str(one.folder), "best": best}
