"""Error analysis: known scores of classes, and the errors that only one entrant makes."""

import dataclasses

import numpy as np
import pytest

from autoprune.evaluation.racing import compare_entrants
from autoprune.reporting.classes import (
    SeedPredictions,
    class_scores,
    confusion_table,
    f1_table,
    seed_predictions,
    true_labels,
)
from autoprune.reporting.html.errors import (
    MAX_CHARACTERS,
    MAX_CLASSES,
    confusion_matrix,
    entrant_errors,
)
from autoprune.tasks.task import LabelledRows

NAMES = ("sport", "health", "auto")


def test_seed_predictions_have_each_layout_once(
    finished_study, entrant, split, conditions, tmp_path
):
    entrants = [
        entrant("top", "4:0-1", (0,), 0.5),
        entrant("found", "4:0-1", (0,), 0.5),
        entrant("full", "4:0-3", (1,), 0.5),
    ]
    comparison = compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "r.jsonl")
    found, full = seed_predictions(dataclasses.replace(finished_study, comparison=comparison))
    assert (found.origin, full.origin) == ("found", "full")
    assert found.labels.shape == (2, 10)


def test_class_scores_have_known_values():
    labels = np.array([0, 0, 1, 1, 2])
    predictions = SeedPredictions("x", np.array([[0, 1, 1, 1, 2], [0, 0, 1, 1, 2]]))
    scores = class_scores(predictions, labels, 4)
    assert scores.f1 == pytest.approx([(2 / 3 + 1) / 2, (4 / 5 + 1) / 2, 1, 0])
    assert scores.shares[0] == pytest.approx([0.75, 0.25, 0, 0])
    assert scores.shares[3].sum() == 0
    rows = np.array([2, 2, 1, 0])
    table = f1_table([scores], ("a", "b", "c", "d"), rows)
    assert table.rows[0] == ("a", "2", "83.3")
    assert table.rows[3] == ("d", "0", "")


def test_confusion_matrix_of_many_classes_has_the_most_frequent():
    count = MAX_CLASSES + 5
    labels = np.repeat(np.arange(count), np.arange(count) + 1)
    scores = class_scores(SeedPredictions("x", labels[None]), labels, count)
    matrix = confusion_matrix(scores, [f"c{i}" for i in range(count)], np.arange(count) + 1)
    assert len(matrix.names) == len(matrix.shares) == len(matrix.shares[0]) == MAX_CLASSES
    assert matrix.names[0] == "c5"


def test_confusion_table_has_counts_and_the_other_classes_in_one_column():
    labels = np.array([0, 0, 0, 1, 1, 2])
    scores = class_scores(SeedPredictions("x", np.array([[0, 2, 0, 1, 0, 2]])), labels, 3)
    table = confusion_table(scores, NAMES, np.array([3, 2, 1]), 12)
    assert table.header == ("true \\ predicted", *NAMES)
    assert table.rows == (
        ("sport", "2", "0", "1"),
        ("health", "1", "1", "0"),
        ("auto", "0", "0", "1"),
    )
    table = confusion_table(scores, NAMES, np.array([3, 2, 1]), 2)
    assert table.header == ("true \\ predicted", "sport", "health", "others")
    assert table.rows == (("sport", "2", "0", "1"), ("health", "1", "1", "0"))


def test_entrant_errors_are_of_one_entrant_only(split):
    labels = np.array(split.rows.labels)[:10]

    def predict(origin, *wrong):
        predicted = np.array([labels, labels, labels])
        for seed, rows in enumerate(wrong):
            predicted[seed, list(rows)] = (predicted[seed, list(rows)] + 1) % 3
        return SeedPredictions(origin, predicted)

    entrants = [
        predict("found", (0, 1, 4), (0, 1, 4), (4,)),
        predict("top", (1, 2), (1,), (1,)),
        predict("full", (0,), (), ()),
    ]
    found, top, full = entrant_errors(entrants, labels, split, NAMES)
    assert (found.origin, found.count) == ("found", 2)
    assert [error.text for error in found.examples] == ["e", "a"]
    assert (found.examples[0].label, found.examples[0].predicted) == ("health", "auto")
    assert (found.examples[1].wrong, found.examples[1].seeds) == (2, 3)
    assert (top.count, full.count) == (0, 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("x" * 999, "x" * MAX_CHARACTERS + "…"), ("first", "first | second")],
)
def test_entrant_errors_cut_long_texts_and_show_pairs(finished_study, text, shown):
    rows = LabelledRows((text,) * 12, finished_study.test.rows.labels, ("second",) * 12)
    test = dataclasses.replace(finished_study.test, rows=rows)
    predictions, labels = seed_predictions(finished_study), true_labels(finished_study)
    errors = entrant_errors(predictions, labels, test, NAMES)
    assert errors[0].examples[0].text == shown


def test_entities_behind_the_cut_have_their_words(finished_study):
    texts = tuple(" ".join(["xxxxxxxxx"] * 60 + ["Asha\u00a0Rao"]) for _ in range(12))
    tags = ((0,) * 60 + (1,),) * 12
    test = dataclasses.replace(finished_study.test, rows=LabelledRows(texts, tags))
    rows = int(sum(test.kept))
    labels = np.array([tags[0]] * rows)
    entrant = SeedPredictions("found", np.zeros((1, *labels.shape), np.int64))
    names = ("O", "B-PER", "I-PER")
    [errors] = entrant_errors([entrant], labels, test, names, "token_classification")
    assert errors.examples[0].label == "Asha Rao: PER"
