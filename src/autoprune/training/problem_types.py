"""Problem types: what a label is, and hence head, loss, predictions and metrics of a model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.encoders.loading import load_classifier, random_classifier
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import OptionError, UnknownNameError
from autoprune.training.metrics import METRICS, NO_WORD, Labels, Score

LinearMap = tuple[NDArray[np.float64], NDArray[np.float64]]

_INVERSE_L2 = 0.1  # scikit-learn's C; of 0.01, 0.1 and 1 the best on features of deviation 0.5


@dataclass(frozen=True, slots=True)
class ProblemType:
    """How a model is built, trained and scored for one kind of label.

    `name` is transformers' `problem_type`. Logits are (rows, classes); where `by_word`, each word
    of a row has its own, (rows, words, classes), and labels are (rows, words) with `NO_WORD` after
    the last word: see `metrics.Labels` for those of each type.

    `loss(logits, labels)` is the training loss of logits in fp32, summed over the rows.
    `teacher_losses(logits, teacher, temperature)` are those against a teacher's logits, (rows,):
    scaled by the square of the temperature, so that the gradient's size does not depend on it.
    `row_losses(logits, labels)` is what a score reports, (rows,). `predict(logits)` returns what is
    predicted for each row, of the form of labels, and `probabilities(logits)` how probable each
    class is, of the form of logits; a number is its own probability. `fit(features, labels,
    classes)` returns weight (classes, features) and bias (classes,) of a linear map that is fitted
    to features (rows, features), None where it cannot be; a word is a row there. `metrics` are
    names in `METRICS`, the default first; `accuracy` and `macro_f1` are the ones that a score has
    under these names.
    """

    name: str
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    teacher_losses: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    row_losses: Callable[[NDArray[np.float32], Labels], NDArray[np.float64]]
    predict: Callable[[NDArray[np.float32]], Labels]
    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    fit: Callable[[NDArray[np.float32], Labels, int], LinearMap | None]
    metrics: tuple[str, ...]
    accuracy: str | None = None
    macro_f1: str | None = None
    by_word: bool = False

    def check_metric(self, metric: str) -> None:
        """Raise `OptionError` for a metric that the type does not have; none is its default."""
        if metric and metric not in self.metrics:
            raise OptionError(
                f"--metric of {self.name} is one of {', '.join(self.metrics)}, got {metric}"
            )

    def load_classifier(
        self, checkpoint: EncoderFiles, labels: Sequence[str], seed: int
    ) -> PreTrainedModel:
        """Load the encoder with a new head; see `encoders.loading.load_classifier`."""
        return load_classifier(checkpoint, labels, seed, self.name)

    def random_classifier(
        self, checkpoint: EncoderFiles, labels: Sequence[str], depth: int, seed: int
    ) -> PreTrainedModel:
        """Build the model with random weights; see `encoders.loading.random_classifier`."""
        return random_classifier(checkpoint, labels, depth, seed, self.name)

    def score(
        self,
        logits: NDArray[np.float32],
        labels: Labels,
        metric: str,
        split: str,
        seed: int,
        seconds: float,
    ) -> Score:
        """Score `logits` against `labels` of the split named `split`."""
        predictions = self.predict(logits)

        def quality(name: str | None) -> float | None:
            return None if name is None else METRICS[name].quality(labels, predictions)

        return Score(
            quality=METRICS[metric].quality(labels, predictions),
            accuracy=quality(self.accuracy),
            macro_f1=quality(self.macro_f1),
            loss=float(self.row_losses(logits, labels).mean()),
            split=split,
            seed=seed,
            seconds=seconds,
        )


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, labels, reduction="sum")


def _kullback_leibler(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    divergences = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="none",
        log_target=True,
    )
    return divergences.sum(-1) * temperature**2  # (rows, classes) -> (rows,)


def _row_cross_entropies(logits: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    return np.asarray(-log_probabilities[np.arange(len(labels)), labels])


def _most_probable_class(logits: NDArray[np.float32]) -> Labels:
    return np.asarray(logits.argmax(-1))  # (rows, classes) -> (rows,)


def _class_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(softmax(logits.astype(np.float64), axis=-1))


def _fit_logistic_regression(
    features: NDArray[np.float32], labels: Labels, classes: int
) -> LinearMap | None:
    present = np.unique(labels)
    if len(present) < 2:
        return None
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=_INVERSE_L2, max_iter=200).fit(features.astype(np.float64), labels)
    weight, bias = fit.coef_, fit.intercept_
    if len(present) == 2:  # one row of weights, for the second class against the first
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    # A class without rows gets the least bias, and no weights.
    whole = np.zeros((classes, weight.shape[1])), np.full(classes, bias.min())
    whole[0][present], whole[1][present] = weight, bias
    return whole


def _binary_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    each = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return each.mean(-1).sum()  # (rows, classes) -> the mean of a row's classes, summed


def _binary_divergences(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the mean divergence of the classes, each a choice between yes and no."""
    yes_no, of_teacher = (
        torch.stack([each, torch.zeros_like(each)], dim=-1) for each in (logits, teacher)
    )
    return _kullback_leibler(yes_no, of_teacher, temperature).mean(-1)  # -> (rows,)


def _row_binary_cross_entropies(logits: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    signed = np.where(labels == 1, -logits, logits).astype(np.float64)
    return np.asarray(np.logaddexp(0, signed).mean(-1))


def _probable_classes(logits: NDArray[np.float32]) -> Labels:
    return (logits > 0).astype(np.int64)  # (rows, classes), a probability above one half


def _probabilities_of_yes(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(expit(logits.astype(np.float64)))


def _fit_each_class(
    features: NDArray[np.float32], labels: Labels, classes: int
) -> LinearMap | None:
    weight, bias = np.zeros((classes, features.shape[1])), np.zeros(classes)
    for number in range(classes):
        rows = int(labels[:, number].sum())
        if 0 < rows < len(labels):
            fitted = _fit_logistic_regression(features, labels[:, number], 2)
            assert fitted is not None, "there are both kinds of rows"
            weight[number] = fitted[0][1] - fitted[0][0]
            bias[number] = fitted[1][1] - fitted[1][0]
        else:
            bias[number] = math.log((rows + 0.5) / (len(labels) - rows + 0.5))
    return weight, bias


def _squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ((logits[:, 0] - labels.float()) ** 2).sum()


def _squared_distances(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the squared errors against the teacher's numbers, which have no temperature."""
    del temperature
    return ((logits - teacher) ** 2).sum(-1)


def _row_squared_errors(logits: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    return np.asarray((logits[:, 0].astype(np.float64) - labels) ** 2)


def _numbers(logits: NDArray[np.float32]) -> Labels:
    return logits[:, 0].astype(np.float64)


def _as_they_are(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return logits.astype(np.float64)


def _fit_ridge(features: NDArray[np.float32], labels: Labels, classes: int) -> LinearMap | None:
    del classes
    from sklearn.linear_model import RidgeCV

    fit = RidgeCV(alphas=(1.0, 10.0, 100.0, 1000.0)).fit(features.astype(np.float64), labels)
    return fit.coef_[None], np.array([fit.intercept_])


_WORDS = 16
"""By this the loss of a sentence's words is divided. A number that is the same for all rows keeps
the loss a sum over the rows, in which each word counts the same."""


def _word_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    losses = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=NO_WORD, reduction="sum"
    )
    return losses / _WORDS


def _row_word_cross_entropies(logits: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    found = np.take_along_axis(log_probabilities, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    is_word = labels != NO_WORD
    return np.asarray((-found * is_word).sum(-1) / np.maximum(1, is_word.sum(-1)))


def _word_divergences(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the divergences of a row's words, added up; after its last word both have zeros."""
    return _kullback_leibler(logits, teacher, temperature).sum(-1) / _WORDS


SINGLE_LABEL = ProblemType(
    name="single_label_classification",
    loss=_cross_entropy,
    teacher_losses=_kullback_leibler,
    row_losses=_row_cross_entropies,
    predict=_most_probable_class,
    probabilities=_class_probabilities,
    fit=_fit_logistic_regression,
    metrics=("accuracy", "macro-f1", "weighted-f1", "mcc"),
    accuracy="accuracy",
    macro_f1="macro-f1",
)

MULTI_LABEL = ProblemType(
    name="multi_label_classification",
    loss=_binary_cross_entropy,
    teacher_losses=_binary_divergences,
    row_losses=_row_binary_cross_entropies,
    predict=_probable_classes,
    probabilities=_probabilities_of_yes,
    fit=_fit_each_class,
    metrics=("micro-f1", "macro-f1", "subset-accuracy"),
    accuracy="subset-accuracy",
    macro_f1="macro-f1",
)

REGRESSION = ProblemType(
    name="regression",
    loss=_squared_error,
    teacher_losses=_squared_distances,
    row_losses=_row_squared_errors,
    predict=_numbers,
    probabilities=_as_they_are,
    fit=_fit_ridge,
    metrics=("spearman", "pearson", "mse"),
)

TOKEN_CLASSIFICATION = ProblemType(
    name="token_classification",
    loss=_word_cross_entropy,
    teacher_losses=_word_divergences,
    row_losses=_row_word_cross_entropies,
    predict=_most_probable_class,
    probabilities=_class_probabilities,
    fit=_fit_logistic_regression,
    metrics=("entity-f1", "token-accuracy"),
    accuracy="token-accuracy",
    by_word=True,
)

PROBLEM_TYPES: dict[str, ProblemType] = {
    each.name: each for each in (SINGLE_LABEL, MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION)
}


def find_problem_type(name: str | None) -> ProblemType:
    """Return the problem type that a model's config names; raises `UnknownNameError`.

    Configs without a name are taken for single-label classification.
    """
    if name is None:
        return SINGLE_LABEL
    if name not in PROBLEM_TYPES:
        raise UnknownNameError("problem type", name, PROBLEM_TYPES)
    return PROBLEM_TYPES[name]
