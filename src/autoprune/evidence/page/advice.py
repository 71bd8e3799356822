"""Advice: what to do next with a finished study."""

import shlex

from autoprune.evidence.page.parts import Code, Part, Text
from autoprune.evidence.studied import Studied
from autoprune.evidence.verdict import UNITS


def finding(studied: Studied) -> str:
    """Return the verdict in a word or two, for a badge.

    `better`, `worse` or `no difference found` against the best fixed strategy; `same layout` where
    the search found that one itself; `baseline` where nothing was searched.
    """
    comparison = studied.comparison
    subject, reference = comparison.subject, comparison.row(comparison.reference)
    if subject.origin == reference.origin:
        return "baseline"
    if subject.layout == reference.layout:
        return "same layout"
    return comparison.against[reference.origin].finding


def advice(studied: Studied, measured: bool) -> list[Part]:
    """Return what to do next, the first thing first; `measured`: its costs are known already."""
    comparison, name = studied.comparison, shlex.quote(studied.name)
    chosen = comparison.recommended
    parts: list[Part] = [
        Code(
            f"Train the recommended layout, {chosen}, on fresh seeds and take it home:",
            f"autoprune export {name} --layout {chosen} --out {name}-model",
        ),
    ]
    if not measured:
        parts.append(Code("See what it saves on this machine:", f"autoprune cost {name}"))
    if finding(studied) == "no difference found":
        gap = comparison.against[comparison.reference]
        parts.append(
            Text(
                f"The two cannot be told apart here: the interval is "
                f"{100 * (gap.high - gap.low):.1f} {UNITS[comparison.metric]} wide. More seeds "
                "narrow it (the study's command again with a larger --seeds; what is measured is "
                "not measured again), more test rows do too."
            )
        )
    return parts
