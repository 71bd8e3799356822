"""Predictions: what the trained models of an entrant predict for each test row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoprune.evaluation.records import Record
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import row_contributions
from autoprune.tasks.task import TestSplit
from autoprune.training.metrics import METRICS, Labels


@dataclass(frozen=True, eq=False)
class Predictions:
    """One entrant on the cleaned test rows: `labels` (rows,) and `predicted` (seeds, rows)."""

    labels: Labels
    predicted: Labels
    metric: str

    @classmethod
    def of(cls, records: Sequence[Record], test: TestSplit, metric: str) -> Self:
        """Take the predictions of one record per seed; records hold those of the raw rows."""
        kept = np.array(test.kept)
        predicted = np.array([record.predictions for record in records])[:, kept]
        return cls(np.array(test.rows.labels)[kept], predicted, metric)

    @classmethod
    def of_simple_model(cls, model: SimpleModel, test: TestSplit, metric: str, seeds: int) -> Self:
        """Take a simple model's predictions, which are the same with each of `seeds` seeds."""
        kept = np.array(test.kept)
        predicted = np.tile(np.array(model.predictions, dtype=np.int64)[kept], (seeds, 1))
        return cls(np.array(test.rows.labels)[kept], predicted, metric)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """What each row contributes to the quality, which is their mean: (seeds, rows)."""
        metric = METRICS[self.metric]
        return np.array([row_contributions(metric, self.labels, row) for row in self.predicted])
