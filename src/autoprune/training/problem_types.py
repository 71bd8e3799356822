"""Problem types: what a label is, and hence head, loss, predictions and metrics of a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch.nn import functional
from transformers import PreTrainedModel

from autoprune.encoders.loading import load_classifier, random_classifier
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import UnknownNameError
from autoprune.training.metrics import METRICS, Labels, Score

LinearMap = tuple[NDArray[np.float64], NDArray[np.float64]]

_INVERSE_L2 = 0.1  # scikit-learn's C; of 0.01, 0.1 and 1 the best on features of deviation 0.5


@dataclass(frozen=True, slots=True)
class ProblemType:
    """How a model is built, trained and scored for one kind of label.

    `name` is transformers' `problem_type`. `loss(logits, labels)` is the training loss of logits in
    fp32, (rows, classes), summed over the rows. `teacher_losses(logits, teacher, temperature)` are
    those against a teacher's logits, (rows,): scaled by the square of the temperature, so that the
    gradient's size does not depend on it. `row_losses(logits, labels)` is what a score
    reports, in nats, (rows,). `predict(logits)` returns what is predicted for each row, and
    `probabilities(logits)` how probable each class is, (rows, classes). `fit(features, labels,
    classes)` returns weight (classes, features) and bias (classes,) of a linear map that is fitted
    to features (rows, features), None where it cannot be. `metrics` are names in
    `METRICS`, the default first.
    """

    name: str
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    teacher_losses: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    row_losses: Callable[[NDArray[np.float32], Labels], NDArray[np.float64]]
    predict: Callable[[NDArray[np.float32]], Labels]
    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    fit: Callable[[NDArray[np.float32], Labels, int], LinearMap | None]
    metrics: tuple[str, ...]

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
        """Score `logits` (rows, classes) against `labels` (rows,) of the split named `split`."""
        predictions = self.predict(logits)
        return Score(
            quality=METRICS[metric].quality(labels, predictions),
            accuracy=METRICS["accuracy"].quality(labels, predictions),
            macro_f1=METRICS["macro-f1"].quality(labels, predictions),
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


SINGLE_LABEL = ProblemType(
    name="single_label_classification",
    loss=_cross_entropy,
    teacher_losses=_kullback_leibler,
    row_losses=_row_cross_entropies,
    predict=_most_probable_class,
    probabilities=_class_probabilities,
    fit=_fit_logistic_regression,
    metrics=("accuracy", "macro-f1", "weighted-f1", "mcc"),
)

PROBLEM_TYPES: dict[str, ProblemType] = {SINGLE_LABEL.name: SINGLE_LABEL}


def find_problem_type(name: str | None) -> ProblemType:
    """Return the problem type that a model's config names; raises `UnknownNameError`.

    Configs without a name are taken for single-label classification.
    """
    if name is None:
        return SINGLE_LABEL
    if name not in PROBLEM_TYPES:
        raise UnknownNameError("problem type", name, PROBLEM_TYPES)
    return PROBLEM_TYPES[name]
