"""The page of a plan: the claims as one HTML file, the verdicts first."""

from autoprune.evidence.claim import Claim
from autoprune.evidence.claims_report import (
    ORACLE,
    SIZES,
    Reproduced,
    claims_table,
    layouts_table,
    oracle_table,
    published_note,
    published_table,
    scores_table,
    summary,
    tests_table,
    title,
    verdicts_table,
)
from autoprune.evidence.page.claims_plots import effects, grid, grid_table
from autoprune.evidence.page.parts import Code, Items, Plot, Section, Sheet, Text
from autoprune.evidence.page.rendering import render

GLANCE = (
    "Each mark is how many points of test quality an entrant is above or below the full model of "
    "its cell; the bar is the 95 % interval of the recommended layout."
)


def claims_page(found: Reproduced) -> str:
    """Return what a plan came to as HTML."""
    return render(
        "claims.html.j2",
        title=title(found),
        lead=summary(found),
        missing=[f"Not finished: {name}." for name in found.missing],
        claims=[(claim, _figures(claim)) for claim in found.claims],
        sections=_sections(found),
    )


def _figures(claim: Claim) -> str:
    """Tell a claim's effect in a line, empty where it was not tested."""
    *_, name, mean, interval, p, _ = claims_table([claim]).rows[0]
    return f"{name}: {mean} points ({interval}), p {p}" if claim.effect else ""


def _sections(found: Reproduced) -> list[Section]:
    cells = found.cells
    glance = Plot("grid", "Every cell at a glance", grid(cells), grid_table(cells))
    behind = Plot("effects", "The effects", effects(found.claims), claims_table(found.claims))
    how = tuple(f"({claim.letter}) {claim.test}." for claim in found.claims)
    return [
        Section("glance", "At a glance", (glance, Text(GLANCE, aside=True), behind)),
        Section(
            "cells",
            "Each cell",
            (Sheet(verdicts_table(cells, found.claims)), Sheet(layouts_table(cells))),
        ),
        Section("entrants", "Every entrant", (Sheet(scores_table(cells)), Text(SIZES, aside=True))),
        Section(
            "tests", "How each claim is tested", (Items(how), Sheet(tests_table(found.claims)))
        ),
        Section(
            "oracle",
            "Against the best fixed strategy on test",
            (Sheet(oracle_table(cells)), Text(ORACLE, aside=True)),
        ),
        Section(
            "published",
            "Published scores",
            (Text(published_note()), Sheet(published_table())),
        ),
        Section(
            "terms",
            "Terms",
            (Items(found.terms), Code("The command that repeats it:", found.command)),
        ),
    ]
