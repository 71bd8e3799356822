"""The matrix: several studies at a glance, model and task by number of layers kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.evidence.comparison import Row
from autoprune.evidence.studied import Studied
from autoprune.evidence.verdict import points


@dataclass(frozen=True, slots=True)
class Field:
    """One study in the matrix: its recommended row, and how what was found stands in words."""

    id: str
    name: str
    row: Row
    held: str


@dataclass(frozen=True, slots=True)
class Line:
    """One model and task, with the studies for each number of layers."""

    model: str
    task: str
    fields: tuple[tuple[Field, ...], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Lines of studies under the numbers of layers kept."""

    keeps: tuple[int, ...]
    lines: tuple[Line, ...]


def matrix(studies: Sequence[tuple[str, Studied]]) -> Matrix:
    """Arrange the studies, given with the id of their chapter."""
    keeps = sorted({studied.setting.keep for _, studied in studies})
    places: dict[tuple[str, str, int], list[Field]] = {}
    for id, studied in studies:
        setting = studied.setting
        place = (setting.model, setting.task, setting.keep)
        places.setdefault(place, []).append(_field(id, studied))
    pairs = sorted({(model, task) for model, task, _ in places})
    return Matrix(
        tuple(keeps),
        tuple(
            Line(model, task, tuple(tuple(places.get((model, task, k), ())) for k in keeps))
            for model, task in pairs
        ),
    )


def _field(id: str, studied: Studied) -> Field:
    comparison = studied.comparison
    subject, reference = comparison.subject, comparison.reference
    if subject.origin == reference:
        held = f"{reference}: the best fixed strategy, nothing was searched"
    elif subject.layout == comparison.row(reference).layout:
        held = f"found is the best fixed strategy itself, {reference}"
    else:
        gap = comparison.against[reference]
        held = (
            f"found against {reference}: {points(gap.mean)} points "
            f"({points(gap.low)} to {points(gap.high)})"
        )
    return Field(id, studied.name, comparison.row(comparison.recommended), held)
