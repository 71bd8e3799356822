"""Simple models: the majority label, TF-IDF with a linear model, a dictionary of tags.

An encoder that is not better than these is not worth its cost.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprune.errors import quote
from autoprune.tasks.task import (
    Label,
    LabelledRows,
    Splits,
    TestSplit,
    label_array,
    label_tuples,
    words_of,
)
from autoprune.training.metrics import METRICS, Labels

SIMPLE_ORIGINS = ("majority", "tf-idf", "dictionary")

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

    `origin` is `majority`, `tf-idf` or `dictionary`; `description` says what was fitted;
    `validation` is its quality there; `predictions` are labels of the raw test rows in order.
    """

    origin: str
    description: str
    validation: float
    predictions: tuple[Label, ...]
    parameters: int
    seconds: float


def fit_simple_models(splits: Splits, test: TestSplit, metric: str) -> list[SimpleModel]:
    """Fit the majority label and one simple model; the same rows always give the same models.

    The latter is TF-IDF, or for words the dictionary of the tags that train words have.
    """
    majority = _fit_majority(splits, test, metric)
    if splits.train.by_word:
        return [majority, _fit_dictionary(splits, test, metric)]
    return [majority, _fit_tfidf(splits, test, metric)]


def _fit_majority(splits: Splits, test: TestSplit, metric: str) -> SimpleModel:
    """Return what always answers the same: the most frequent label, labels or tag, or the mean."""
    started = time.perf_counter()
    labels: Sequence[Label] = splits.train.labels
    answer: Label
    if splits.train.by_word:
        answer, named = 0, splits.names[0]
    elif isinstance(labels[0], float):
        answer = float(np.mean(label_array(labels)))
        named = f"{answer:.4g}, the mean"
    else:
        answer = max(Counter(sorted(labels)).items(), key=lambda item: item[1])[0]
        named = _names_of(answer, splits.names)

    def answers(rows: LabelledRows) -> tuple[Label, ...]:
        if rows.by_word:
            return tuple((0,) * len(words_of(text)) for text in rows.texts)
        return (answer,) * len(rows)

    predicted = label_array(answers(splits.validation))
    return SimpleModel(
        "majority",
        f"always answers {quote(named)}",
        METRICS[metric].quality(label_array(splits.validation.labels), predicted),
        answers(test.rows),
        parameters=1,
        seconds=time.perf_counter() - started,
    )


def _names_of(label: Label, names: Sequence[str]) -> str:
    if isinstance(label, tuple):
        return ", ".join(name for name, has in zip(names, label, strict=True) if has) or "no label"
    return names[int(label)]


def _fit_dictionary(splits: Splits, test: TestSplit, metric: str) -> SimpleModel:
    """Give each word the tag that it has most often in train, and a new word none."""
    started = time.perf_counter()
    counts: dict[str, Counter[int]] = {}
    for text, tags in zip(splits.train.texts, splits.train.labels, strict=True):
        assert isinstance(tags, tuple), "each word has a tag"
        for word, tag in zip(words_of(text), tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    usual = {
        word: max(sorted(tags.items()), key=lambda item: item[1])[0]
        for word, tags in counts.items()
    }

    def predict(rows: LabelledRows) -> tuple[Label, ...]:
        return tuple(tuple(usual.get(word, 0) for word in words_of(text)) for text in rows.texts)

    validation = METRICS[metric].quality(
        label_array(splits.validation.labels), label_array(predict(splits.validation))
    )
    return SimpleModel(
        "dictionary",
        f"the usual tag of each of {len(usual):,} words",
        validation,
        predict(test.rows),
        parameters=len(usual),
        seconds=time.perf_counter() - started,
    )


def _fit_tfidf(splits: Splits, test: TestSplit, metric: str) -> SimpleModel:
    """Fit a linear model on TF-IDF of words, word pairs and 2 to 4 characters of a word.

    Logistic regression, for several labels one for each, and ridge regression for numbers. The
    regularization is the best on validation.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
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
    labels = label_array(splits.validation.labels)
    known = label_array(splits.train.labels)
    best, best_quality, best_model = 0.0, -np.inf, None
    for regularization in REGULARIZATIONS:
        model = _linear_model(known, regularization)
        model.fit(train, known)
        quality = METRICS[metric].quality(labels, _as_labels(model.predict(validation), known))
        if quality > best_quality:
            best, best_quality, best_model = regularization, quality, model
    assert best_model is not None, "a quality is finite"
    predicted = best_model.predict(features.transform(_joined_texts(test.rows)))
    parts = getattr(best_model, "estimators_", [best_model])
    return SimpleModel(
        "tf-idf",
        f"{'ridge' if known.dtype.kind == 'f' else 'logistic'} regression, C {best:g}",
        float(best_quality),
        label_tuples(_as_labels(predicted, known)),
        parameters=sum(
            int(np.size(part.coef_) + np.size(part.intercept_))
            for part in parts
            if hasattr(part, "coef_")
        ),
        seconds=time.perf_counter() - started,
    )


def _linear_model(labels: Labels, regularization: float) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    if labels.dtype.kind == "f":
        return Ridge(alpha=1 / regularization)
    model = LogisticRegression(C=regularization, max_iter=1000, tol=1e-3)
    return model if labels.ndim == 1 else OneVsRestClassifier(model)


def _joined_texts(rows: LabelledRows) -> Sequence[str]:
    """Return each row's text, with its second text on a new line, cut to `MAX_TEXT_LENGTH`."""
    texts: Iterable[str] = rows.texts
    if rows.pairs is not None:
        texts = map("\n".join, zip(rows.texts, rows.pairs, strict=True))
    return [text[:MAX_TEXT_LENGTH] for text in texts]


def _as_labels(predicted: object, like: Labels) -> Labels:
    return np.asarray(predicted, dtype=like.dtype)
