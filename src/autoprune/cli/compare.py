"""The compare command: a paired test between what two studies recommend."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli import options
from autoprune.experiment.study_store import find_study

if TYPE_CHECKING:
    from autoprune.evaluation.study_comparison import StudyPair, StudyWinner


def compare(
    first: Annotated[str, typer.Argument(help="A finished study, by name or folder.")],
    second: Annotated[str, typer.Argument(help="The study to compare it with.")],
    json: options.Json = False,
) -> None:
    """Test whether the layout that one study recommends is better than the other study's.

    Both must have been scored on the same test rows: same seeds, a paired permutation test.

    Example: `autoprune compare my-study my-other-study`
    """
    from json import dumps

    from autoprune.evaluation.study_comparison import compare_winners
    from autoprune.evaluation.study_files import read_study

    pair = compare_winners(read_study(find_study(first)), read_study(find_study(second)))
    if json:
        typer.echo(dumps(_as_json(pair)))
        return
    _print(pair)


def _print(pair: "StudyPair") -> None:
    from autoprune.evaluation.study_comparison import winners_verdict
    from autoprune.experiment.progress import format_percent
    from autoprune.experiment.tables import print_line

    both = (pair.first, pair.second)
    wide = max(len(one.study) for one in both)
    deep = max(one.row.layout.depth for one in both)
    for one in both:
        print_line(
            f"{one.study:{wide}}  {one.row.layout.picture:{deep}}  {format_percent(one.quality):>7}  "
            f"{one.row.origin:10} {one.row.layout}"
        )
    for line in (winners_verdict(pair), *pair.notes):
        print_line(line)


def _as_json(pair: "StudyPair") -> dict[str, Any]:
    from autoprune.evaluation.study_comparison import winners_verdict

    gap = pair.difference
    return {
        "first": _winner(pair.first),
        "second": _winner(pair.second),
        "metric": pair.metric,
        "test_rows": pair.test_rows,
        "seeds": pair.seeds,
        "difference": gap.mean,
        "low": gap.low,
        "high": gap.high,
        "p_value": gap.p_value,
        "finding": gap.finding,
        "verdict": winners_verdict(pair),
        "notes": pair.notes,
    }


def _winner(one: "StudyWinner") -> dict[str, Any]:
    return {
        "study": one.study,
        "model": one.model,
        "origin": one.row.origin,
        "layout": str(one.row.layout),
        "test_mean": one.quality,
    }
