"""Simple models: the majority label, and TF-IDF with logistic regression (scikit-learn).

An encoder that is not better than these is not worth its cost.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoprune.errors import quote
from autoprune.tasks.task import LabelledRows, Splits, TestSplit
from autoprune.training.metrics import METRICS, Labels

MAX_TEXT_LENGTH = 3_000  # characters of a text that TF-IDF reads: about 500 tokens of an encoder

MAX_FEATURES = 100_000  # the most frequent words and word pairs, and as many character n-grams

REGULARIZATIONS = (1.0, 10.0, 100.0)  # inverse strengths: `C` of scikit-learn

# A word is everything between spaces and punctuation, and a run of punctuation is one too.
# scikit-learn's own pattern cuts the words of Indic scripts at their vowel signs, which are marks.
_PUNCTUATION = r"!-/:-@\[-`{-~।॥‘’“”…–—"

_WORD = rf"(?u)[^\s{_PUNCTUATION}]+|[{_PUNCTUATION}]+"


@dataclass(frozen=True, slots=True)
class SimpleModel:
    """A simple model, trained on the cleaned train rows.

    `origin` is `majority` or `tf-idf`; `description` says what was fitted; `validation` is its
    quality there; `predictions` are label indexes of the raw test rows in order.
    """

    origin: str
    description: str
    validation: float
    predictions: tuple[int, ...]
    parameters: int
    seconds: float


def fit_simple_models(splits: Splits, test: TestSplit, metric: str) -> list[SimpleModel]:
    """Fit the majority label and TF-IDF; the same rows always give the same models."""
    return [_fit_majority(splits, test, metric), _fit_tfidf(splits, test, metric)]


def _fit_majority(splits: Splits, test: TestSplit, metric: str) -> SimpleModel:
    started = time.perf_counter()
    label = int(np.bincount(splits.train.labels).argmax())
    predicted = np.full(len(splits.validation), label)
    return SimpleModel(
        "majority",
        f"always answers {quote(splits.names[label])}",
        METRICS[metric].quality(np.array(splits.validation.labels), predicted),
        (label,) * len(test.rows),
        parameters=1,
        seconds=time.perf_counter() - started,
    )


def _fit_tfidf(splits: Splits, test: TestSplit, metric: str) -> SimpleModel:
    """Fit logistic regression on TF-IDF of words, word pairs and 2 to 4 characters of a word.

    The regularization is the best on validation.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion

    started = time.perf_counter()
    words = TfidfVectorizer(
        token_pattern=_WORD, ngram_range=(1, 2), sublinear_tf=True, max_features=MAX_FEATURES
    )
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=MAX_FEATURES
    )
    features = FeatureUnion([("words", words), ("characters", characters)])
    train = features.fit_transform(_joined_texts(splits.train))
    validation = features.transform(_joined_texts(splits.validation))
    labels = np.array(splits.validation.labels)
    best, best_quality, best_model = 0.0, -np.inf, None
    for regularization in REGULARIZATIONS:
        model = LogisticRegression(C=regularization, max_iter=1000, tol=1e-3)
        model.fit(train, splits.train.labels)
        quality = METRICS[metric].quality(labels, _as_labels(model.predict(validation)))
        if quality > best_quality:
            best, best_quality, best_model = regularization, quality, model
    assert best_model is not None, "a quality is finite"
    predicted = _as_labels(best_model.predict(features.transform(_joined_texts(test.rows))))
    return SimpleModel(
        "tf-idf",
        f"logistic regression, C {best:g}",
        float(best_quality),
        tuple(map(int, predicted)),
        parameters=int(best_model.coef_.size + best_model.intercept_.size),
        seconds=time.perf_counter() - started,
    )


def _joined_texts(rows: LabelledRows) -> Sequence[str]:
    """Return each row's text, with its second text on a new line, cut to `MAX_TEXT_LENGTH`."""
    texts: Iterable[str] = rows.texts
    if rows.pairs is not None:
        texts = map("\n".join, zip(rows.texts, rows.pairs, strict=True))
    return [text[:MAX_TEXT_LENGTH] for text in texts]


def _as_labels(predicted: object) -> Labels:
    return np.asarray(predicted, dtype=np.int64)
