"""The dashboard command: look at studies in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from autoprune.errors import StudyError


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            help="A study's name or folder, or a storage URL; else all studies of ./studies."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one if taken.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let the page change and delete them.")
    ] = False,
) -> None:
    """Show studies in Optuna's dashboard, on this machine only, until Ctrl-C.

    Example: `autoprune dashboard --no-browser --port 8391`
    """
    from autoprune.search.dashboard import serve
    from autoprune.storage.storage import open_existing, open_storage

    if study is not None and "://" in study:
        storages = [open_existing(study)]
    else:
        storages = [open_storage(None, folder) for folder in _folders(study)]
    serve(
        storages,
        port,
        writable=writable,
        ready=lambda address: typer.echo(f"{address} until Ctrl-C"),
        browser=browser,
    )


def _folders(study: str | None) -> list[Path]:
    """Return the folders that hold the wanted studies; raises `StudyError`."""
    from autoprune.experiment.study_store import STUDIES, find_study
    from autoprune.storage.storage import JOURNAL

    if study is None:
        found = sorted(path.parent for path in STUDIES.glob(f"*/{JOURNAL}"))
        if not found:
            raise StudyError(
                "no studies here: run `autoprune search` first, or go where the folder studies is"
            )
        return found
    folder = find_study(study)
    if not (folder / JOURNAL).is_file():
        raise StudyError(
            f"study {study} has no {JOURNAL} in {folder}: a baseline has no trials to show; name "
            "the URL if the trials are in a database"
        )
    return [folder]
