"""The page: studies as one HTML file."""

from collections.abc import Mapping, Sequence

from autoprune.evidence.costs import Costs
from autoprune.evidence.page.chapter import chapter
from autoprune.evidence.page.matrix import matrix
from autoprune.evidence.page.rendering import render
from autoprune.evidence.studied import Studied


def page(
    studied: Sequence[Studied],
    importances: Mapping[str, Mapping[str, float]] | None = None,
    costs: Mapping[str, Costs | None] | None = None,
) -> str:
    """Return the report on one or several studies as HTML.

    `importances` has for a study's name the share of each layer (`layer 0` -> [0, 1]), `costs` what
    was measured of its models; both may lack any study.
    """
    assert studied, "a report is on at least one study"
    chapters = [
        chapter(
            one,
            f"s{number}",
            (importances or {}).get(one.name, {}),
            (costs or {}).get(one.name),
        )
        for number, one in enumerate(studied, start=1)
    ]
    ids = [(one.id, study) for one, study in zip(chapters, studied, strict=True)]
    return render(
        "page.html.j2", chapters=chapters, matrix=matrix(ids) if len(chapters) > 1 else None
    )
