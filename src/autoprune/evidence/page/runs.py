"""Runs: who is looked at closely, and what each of them said of the test rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprune.evidence.runs import runs_of
from autoprune.evidence.studied import Studied


@dataclass(frozen=True, slots=True)
class Said:
    """What one entrant predicted for the cleaned test rows: label indices, (seeds, rows)."""

    origin: str
    labels: NDArray[np.int64]


def close(studied: Studied) -> list[Said]:
    """Return what found, the best fixed strategy and the full model said, each layout once.

    Of equal layouts the first is taken; those that were left out are missing.
    """
    comparison = studied.comparison
    origins = [comparison.subject.origin, comparison.reference, "full"]
    layouts = {row.origin: row.layout for row in comparison.rows if row.origin in origins}
    once = {layouts[origin]: origin for origin in reversed(origins) if origin in layouts}
    kept = np.array(studied.test.kept)
    return [
        Said(
            origin,
            np.array([run.predictions for run in runs_of(studied, origin).values()])[:, kept],
        )
        for origin in dict.fromkeys(origins)
        if origin in once.values()
    ]


def truth(studied: Studied) -> NDArray[np.int64]:
    """Return the labels of the cleaned test rows, (rows,)."""
    labels: NDArray[np.int64] = np.array(studied.test.rows.labels)[np.array(studied.test.kept)]
    return labels
