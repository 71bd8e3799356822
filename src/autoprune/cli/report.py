"""The report command: finished studies as Markdown and as one page for the browser."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.errors import AutopruneError, OptionError, StudyError
from autoprune.experiment.study_store import asked_of, find_study, finished_studies, study_costs

if TYPE_CHECKING:
    from autoprune.evaluation.study_files import FinishedStudy

REPORTS = Path("reports")


def report(
    study: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or folders of finished studies; else all of ./studies.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page, a file .html; else reports/STUDY.html, reports/studies.html for many.",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the tasks' data lie now, if moved.", show_default=False),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write the report on finished studies: Markdown, and one HTML file that needs no network.

    Example: `autoprune report my-study --out my-study.html`
    """
    from autoprune.files import write_atomic

    _check(out, data_dir)
    texts = _texts([_with_texts(folder, data_dir) for folder in _folders(study)], out)
    for place in reversed(texts):  # the page first: its place is the user's choice
        write_atomic(place, texts[place])
    for place in texts:
        typer.echo(place)
    if open_:
        webbrowser.open(place.resolve().as_uri())


def _check(out: Path | None, data_dir: Path | None) -> None:
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out must name a file that ends in .html, got {out}")
    if data_dir is not None and not data_dir.is_dir():
        raise OptionError(f"--data-dir must be a folder, {data_dir} is none")


def _folders(names: list[str] | None) -> list[Path]:
    """Return the folders of the wanted studies, each once; raises `StudyError`."""
    if names:
        found = [find_study(name) for name in names]
        return list({folder.resolve(): folder for folder in found}.values())
    every = finished_studies()
    if not every:
        raise StudyError(
            "no finished study here: run `autoprune search` first, or go where the folder "
            "studies is"
        )
    return every


def _texts(studied: "list[FinishedStudy]", out: Path | None) -> dict[Path, str]:
    """Return the text of each file, the page last."""
    from autoprune.reporting.html.study_page import study_page
    from autoprune.reporting.markdown_report import markdown_report

    named = {_file(one): one for one in studied}
    if len(named) < len(studied):
        folders = ", ".join(str(one.folder) for one in studied)
        raise OptionError(f"studies in one report need different names, got {folders}")
    single = len(named) == 1
    whole = out or REPORTS / f"{next(iter(named)) if single else 'studies'}.html"
    costs = {name: study_costs(one.folder, one.comparison) for name, one in named.items()}
    texts = {
        whole.with_suffix(".md") if single else whole.parent / f"{name}.md": markdown_report(
            one.setting, one.comparison, one.trials, costs[name]
        )
        for name, one in named.items()
    }
    shown = {one.name: costs[name] for name, one in named.items()}
    return {
        **texts,
        whole: study_page(studied, {one.name: _importances(one) for one in studied}, shown),
    }


def _file(studied: "FinishedStudy") -> str:
    """Name a study's files; those of a baseline leave a search's as they are."""
    return studied.name if studied.found else f"{studied.name}-baseline"


def _with_texts(folder: Path, data_dir: Path | None) -> "FinishedStudy":
    """Read a study, with its test texts if its data can be read again."""
    from autoprune.evaluation.study_files import read_study, with_test_texts
    from autoprune.tasks.loading import read_test
    from autoprune.tasks.registry import find_task as find_task

    studied, asked = read_study(folder), asked_of(folder)
    try:
        test = read_test(
            find_task(asked["task"], asked["columns"]),
            data_dir or asked["data_dir"],
            asked["keep_duplicates"],
            asked["seed"],
        )
        return with_test_texts(studied, test)
    except AutopruneError as error:
        why = " ".join(str(error).split())
        typer.echo(f"the report on {studied.name} shows no texts: {why}", err=True)
        return studied


def _importances(studied: "FinishedStudy") -> dict[str, float]:
    """Ask Optuna which layers decide, where the study's journal is beside it."""
    from autoprune.search.dashboard import layer_importances
    from autoprune.storage.storage import JOURNAL, open_storage

    if not studied.trials or not (studied.folder / JOURNAL).is_file():
        return {}
    try:
        return layer_importances(open_storage(None, studied.folder), studied.name)
    except AutopruneError as error:
        why = " ".join(str(error).split())
        typer.echo(f"the report on {studied.name} shows no importances: {why}", err=True)
        return {}
