"""The report command: finished studies as Markdown and as one page for the browser."""

from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.options import (
    REPORTS_FOLDER,
    STUDIES_FOLDER,
    MovedDataOption,
    complete_studies,
    say,
    show,
)


def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or folders of finished studies; else all of ./studies.",
            autocompletion=complete_studies,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page, a file .html; else reports/STUDY.html, reports/studies.html for many."
        ),
    ] = None,
    data_dir: MovedDataOption = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write the report on finished studies: Markdown, and one HTML file that needs no network.

    Example: `autoprune report my-study --out my-study.html`
    """
    import webbrowser

    from autoprune.errors import OptionError
    from autoprune.experiment.study_reports import select_finished_studies, write_study_reports

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out must name a file that ends in .html, got {out}")
    folders = select_finished_studies(study or [], STUDIES_FOLDER)
    files = write_study_reports(folders, REPORTS_FOLDER, out, data_dir, say)
    for file in files:
        show(file)
    if open_:
        webbrowser.open(files[-1].resolve().as_uri())
