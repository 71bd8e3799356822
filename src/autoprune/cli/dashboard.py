"""The dashboard command: look at studies in the browser."""

from typing import Annotated

import typer

from autoprune.cli.options import STUDIES_FOLDER, complete_studies, show


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            help="A study's name or folder, or a storage URL; else all studies of ./studies.",
            autocompletion=complete_studies,
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
    from autoprune.experiment.study_store import searched_studies
    from autoprune.search.dashboard import serve
    from autoprune.storage.storage import open_existing, open_journal_of, open_storage

    if study is not None and "://" in study:
        storages = [open_existing(study)]
    else:
        folders = searched_studies(study, STUDIES_FOLDER)
        storages = [
            open_storage(None, folder) if writable else open_journal_of(folder)
            for folder in folders
        ]
    serve(
        storages,
        port,
        writable=writable,
        ready=lambda address: show(f"{address} until Ctrl-C"),
        browser=browser,
    )
