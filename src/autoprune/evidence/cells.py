"""Cells: the finished studies of a grid, each with what its entrants answered on the test rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from autoprune.evidence.answers import Answers
from autoprune.evidence.comparison import Row
from autoprune.evidence.measuring import fingerprints_with
from autoprune.evidence.runs import runs_of
from autoprune.evidence.studied import Studied
from autoprune.layouts.strategies import STRATEGIES

_NO_RIVALS = {"found", "full", "scratch", *STRATEGIES}


@dataclass(frozen=True, slots=True)
class Cell:
    """One model, one task and one number of layers kept.

    `answers` and `rows` are by origin, without those that failed; `reference` is the best fixed
    strategy and `recommended` the layout to take, both by validation; `test` tells which test rows
    the answers are on: cells of equal `test` are on the same ones.
    """

    model: str
    task: str
    keep: int
    answers: Mapping[str, Answers]
    rows: Mapping[str, Row]
    reference: str
    recommended: str
    test: str

    @property
    def name(self) -> str:
        """How a table names it."""
        return f"{self.model}, {self.task}, keep {self.keep}"

    @property
    def strategies(self) -> list[str]:
        """The fixed strategies that were compared."""
        return [origin for origin in STRATEGIES if origin in self.answers]

    @property
    def rivals(self) -> list[str]:
        """The small models that others pre-trained from scratch."""
        return [origin for origin in self.answers if origin not in _NO_RIVALS]

    def same(self, one: str, other: str) -> bool:
        """Tell whether two origins are one and the same trained model."""
        if {one, other} & {"scratch", *self.rivals}:
            return one == other
        return self.rows[one].layout == self.rows[other].layout


def cell_of(studied: Studied) -> Cell:
    """Return the cell that a finished study is."""
    comparison, setting = studied.comparison, studied.setting
    prints = fingerprints_with(studied.test, {})
    return Cell(
        model=setting.model,
        task=setting.task,
        keep=setting.keep,
        answers={
            row.origin: Answers.of(
                list(runs_of(studied, row.origin).values()), studied.test, setting.metric
            )
            for row in comparison.rows
        },
        rows={row.origin: row for row in comparison.rows},
        reference=comparison.reference,
        recommended=comparison.recommended,
        test=" ".join(prints.values()),
    )
