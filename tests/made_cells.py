"""Made-up cells of a grid: known figures, without a model."""

import numpy as np

from autoprune.evaluation.comparison import ComparisonRow
from autoprune.evaluation.permutation_test import PairedDifference, Predictions
from autoprune.layouts.layout import Layout
from autoprune.reproduction.paired_tests import CellResult

ROWS = 1000
LAYOUTS = {
    "found": "12:0-4,6",
    "top": "12:0-5",
    "middle": "12:0-2,9-11",
    "bottom": "12:6-11",
    "full": "12:0-11",
    "scratch": "6:0-5",
    "mr-6": "6:0-5",
}
TYPICAL = {"found": 80, "top": 78, "middle": 76, "bottom": 74, "full": 80, "scratch": 70}


def predictions_with(correct):
    """Return predictions that are right where `correct` (seeds, rows) says so."""
    return Predictions(np.ones(correct.shape[1], dtype=int), correct.astype(int), "accuracy")


def comparison_row(origin, predictions, layout=None):
    quality = float(predictions.values.mean())
    return ComparisonRow(
        origin=origin,
        layout=Layout.parse(layout or LAYOUTS[origin]),
        parameters=1000,
        seeds=3,
        test_mean=quality,
        test_std=0.0,
        test_low=quality,
        test_high=quality,
        raw_mean=quality,
        validation_mean=quality,
        macro_f1=0.5,
        seconds=9.0,
        learning_rate=5e-4,
        difference=PairedDifference(0.0, 0.0, 0.0, 1.0),
    )


def mse_cell(task="sts", **errors):
    """Return a cell of numbers whose entrants are off by so much on each row, on three seeds."""
    labels, wobble = np.linspace(0, 5, 200), np.linspace(0.9, 1.1, 200)
    predictions = {
        name: Predictions(labels, np.array([labels + error * wobble] * 3), "mse")
        for name, error in {**dict.fromkeys(LAYOUTS, 1.0), **errors}.items()
    }
    return cell_of(predictions, task)


def cell_of(predictions, task="shc", keep=6, model="mr-12", recommended="found", layouts=()):
    """Return a cell of the given predictions by origin."""
    rows = {
        name: comparison_row(name, values, dict(layouts).get(name))
        for name, values in predictions.items()
    }
    return CellResult(model, task, keep, predictions, rows, "top", recommended, task)


def make_cell(
    task="shc", keep=6, model="mr-12", recommended="found", wobble=0, layouts=(), **points
):
    """Return a cell whose entrants have so many per cent of the rows right, on three seeds.

    The seeds of the recommended one differ by `wobble` rows. An entrant of None is left out.
    """
    predictions = {}
    for name, value in {**TYPICAL, **points}.items():
        if value is not None:
            spread = wobble if name == recommended else 0
            counts = [10 * value - spread, 10 * value, 10 * value + spread]
            correct = np.array([np.arange(ROWS) < count for count in counts])
            predictions[name.replace("_", "-")] = predictions_with(correct)
    return cell_of(predictions, task, keep, model, recommended, layouts)
