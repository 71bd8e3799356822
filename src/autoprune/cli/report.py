"""The report, compare and dashboard commands: finished studies to look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.options import (
    REPORTS_FOLDER,
    STUDIES_FOLDER,
    JsonOption,
    MovedDataOption,
    complete_studies,
    say,
    show,
)

if TYPE_CHECKING:
    from autoprune.evaluation.study_comparison import StudyPair, StudyWinner


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
    from autoprune.evaluation.study_files import read_study
    from autoprune.experiment.study_reports import select_finished_studies, write_study_reports

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out must name a file that ends in .html, got {out}")
    folders = select_finished_studies(study or [], STUDIES_FOLDER)
    finished = [read_study(folder) for folder in folders]
    files = write_study_reports(finished, REPORTS_FOLDER, out, data_dir, say)
    for file in files:
        show(file)
    if open_:
        webbrowser.open(files[-1].resolve().as_uri())


def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="A finished study, by name or folder.", autocompletion=complete_studies
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(help="The study to compare it with.", autocompletion=complete_studies),
    ],
    json: JsonOption = False,
) -> None:
    """Test whether the layout that one study recommends is better than the other study's.

    Both must have been scored on the same test rows: same seeds, a paired permutation test.

    Example: `autoprune compare my-study my-other-study`
    """
    from json import dumps

    from autoprune.api import compare_studies

    pair = compare_studies(first, second)
    if json:
        show(dumps(_pair_as_json(pair)))
    else:
        _print_pair(pair)


def _print_pair(pair: "StudyPair") -> None:
    from autoprune.cli.tables import print_line
    from autoprune.evaluation.study_comparison import winners_verdict
    from autoprune.training.metrics import METRICS

    winners = (pair.first, pair.second)
    width = max(len(winner.study) for winner in winners)
    depth = max(winner.row.layout.depth for winner in winners)
    for winner in winners:
        row = winner.row
        print_line(
            f"{winner.study:{width}}  {row.layout.picture:{depth}}  "
            f"{METRICS[pair.metric].format(winner.quality):>7}  {row.origin:10} {row.layout}"
        )
    for line in (winners_verdict(pair), *pair.notes):
        print_line(line)


def _pair_as_json(pair: "StudyPair") -> dict[str, Any]:
    from autoprune.evaluation.study_comparison import winners_verdict

    difference = pair.difference
    return {
        "first": _winner(pair.first),
        "second": _winner(pair.second),
        "metric": pair.metric,
        "test_rows": pair.test_rows,
        "seeds": pair.seeds,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p_value": difference.p_value,
        "finding": difference.finding,
        "verdict": winners_verdict(pair),
        "notes": pair.notes,
    }


def _winner(winner: "StudyWinner") -> dict[str, Any]:
    return {
        "study": winner.study,
        "model": winner.model,
        "origin": winner.row.origin,
        "layout": str(winner.row.layout),
        "test_mean": winner.quality,
    }


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
