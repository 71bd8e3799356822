"""The compare command: a paired test between what two studies recommend."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli import options

if TYPE_CHECKING:
    from autoprune.evaluation.study_comparison import StudyPair, StudyWinner


def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="A finished study, by name or folder.", autocompletion=options.complete_studies
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            help="The study to compare it with.", autocompletion=options.complete_studies
        ),
    ],
    json: options.JsonOption = False,
) -> None:
    """Test whether the layout that one study recommends is better than the other study's.

    Both must have been scored on the same test rows: same seeds, a paired permutation test.

    Example: `autoprune compare my-study my-other-study`
    """
    from json import dumps

    from autoprune.api import compare_studies

    pair = compare_studies(first, second)
    if json:
        options.show(dumps(_as_json(pair)))
    else:
        _print(pair)


def _print(pair: "StudyPair") -> None:
    from autoprune.cli.tables import print_line
    from autoprune.evaluation.study_comparison import winners_verdict
    from autoprune.evaluation.verdict import format_percent

    winners = (pair.first, pair.second)
    width = max(len(winner.study) for winner in winners)
    depth = max(winner.row.layout.depth for winner in winners)
    for winner in winners:
        row = winner.row
        print_line(
            f"{winner.study:{width}}  {row.layout.picture:{depth}}  "
            f"{format_percent(winner.quality):>7}  {row.origin:10} {row.layout}"
        )
    for line in (winners_verdict(pair), *pair.notes):
        print_line(line)


def _as_json(pair: "StudyPair") -> dict[str, Any]:
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
