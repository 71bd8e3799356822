"""The simple models: known answers of the majority label, and what TF-IDF can tell apart."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from autoprune.evaluation.simple_models import fit_simple_models
from autoprune.tasks.task import CleaningReport, LabelledRows, Splits, TestSplit
from autoprune.training.metrics import METRICS
from autoprune.training.problem_types import SINGLE_LABEL

REPORT = CleaningReport("train", 0, 0, 0, 0, 0, 0)


def fit(train, validation, test, metric="accuracy"):
    """Fit on rows given as (text, label) or (text, second text, label)."""

    def rows(given):
        *texts, labels = zip(*given, strict=True)
        return LabelledRows(texts[0], labels, texts[1] if len(texts) > 1 else None)

    splits = Splits(("sport", "health", "auto"), rows(train), rows(validation), (REPORT,), "f")
    split = TestSplit(rows(test), (True,) * len(test), REPORT, "t")
    return fit_simple_models(splits, split, metric)


@pytest.mark.parametrize("metric", SINGLE_LABEL.metrics)
def test_majority_is_what_scikit_learn_answers(metric):
    rng = np.random.default_rng(0)
    labels = [rng.choice(3, size, p=(0.2, 0.5, 0.3)).tolist() for size in (60, 40, 30)]
    train, validation, test = ([(f"w{i}", y) for i, y in enumerate(part)] for part in labels)
    majority, _ = fit(train, validation, test, metric)
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((60, 1)), labels[0])
    assert majority.predictions == tuple(dummy.predict(np.zeros((30, 1))))
    predicted = dummy.predict(np.zeros((40, 1)))
    assert majority.validation == METRICS[metric].quality(np.array(labels[1]), predicted)
    assert majority.description == "always answers 'health'"


def test_majority_is_of_the_train_rows_not_of_the_test_rows():
    majority, _ = fit([("a", 1), ("b", 1), ("c", 0)], [("d", 0)], [("e", 0), ("f", 0)])
    assert (majority.predictions, majority.validation) == ((1, 1), 0.0)


def test_tfidf_tells_vowel_signs_apart():
    """scikit-learn's own words would be प and र for both."""
    train = [(f"पूर आला {i}", 0) for i in range(20)] + [(f"पुर आला {i}", 1) for i in range(20)]
    _, tfidf = fit(train, train[::4], [("पूर 97", 0), ("पुर 97", 1)])
    assert tfidf.predictions == (0, 1)
    assert tfidf.validation == 1.0
    assert tfidf.parameters > 10


def test_tfidf_reads_the_second_text():
    train = [("same", f"ball {i}", 0) for i in range(20)] + [
        ("same", f"pill {i}", 1) for i in range(20)
    ]
    _, tfidf = fit(train, train[::4], [("same", "ball", 0), ("same", "pill", 1)])
    assert tfidf.predictions == (0, 1)


def test_tfidf_of_equal_rows_is_equal():
    rng = np.random.default_rng(1)
    rows = [(" ".join(rng.choice(list("abcdefgh"), 5)), int(rng.integers(3))) for _ in range(60)]
    first, second = (fit(rows[:40], rows[40:50], rows[50:])[1] for _ in range(2))
    assert (first.predictions, first.validation) == (second.predictions, second.validation)


def test_tfidf_takes_texts_of_punctuation_alone():
    rows = [("!!!", 0), ("???", 1)] * 5
    _, tfidf = fit(rows, rows, rows)
    assert tfidf.validation == 1.0
