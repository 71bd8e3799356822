"""Final training: a layout fine-tuned to the full budget on several seeds; the best run is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.pruning import keep_layers, restore_embeddings
from autoprune.errors import TrialError
from autoprune.export.reload import RELOAD_BATCH, SINGLE_TEXTS
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows, Splits, TestSplit
from autoprune.tasks.tokenization import EncodedSplit, collate, encode, remap_tokens
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import MicroBatcher, predict_logits
from autoprune.training.metrics import NO_WORD, Labels, Score
from autoprune.training.workers import WorkerPool

VERIFICATION_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class VerificationSample:
    """Rows on which an export is verified: as texts, and in the tokens of the trained model."""

    rows: LabelledRows
    encoded: EncodedSplit


@dataclass(frozen=True, slots=True, eq=False)
class SampleLogits:
    """A model's logits on a sample, computed in float32 on the CPU, (rows, classes).

    Of a model that tags words they are those of all tokens, (tokens, classes).

    `together` are those of all rows, padded in batches of `RELOAD_BATCH`; `alone` those of the
    first `SINGLE_TEXTS` rows, each by itself.
    """

    together: NDArray[np.float32]
    alone: NDArray[np.float32]


def draw_sample(
    splits: Splits,
    test: TestSplit,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int,
    kept: NDArray[np.int64] | None,
) -> VerificationSample:
    """Choose `VERIFICATION_ROWS` different rows of all splits, from the shortest to the longest.

    All rows are chosen if there are fewer. `tokens` is the longest input, `kept` the tokens whose
    embeddings were trained (see `used_token_ids`).
    """
    pairs = {
        pair
        for rows in (splits.train, splits.validation, test.rows)
        for pair in zip(rows.texts, rows.pairs or ("",) * len(rows), strict=True)
    }
    texts = sorted(pairs, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    index = np.unique(np.linspace(0, len(texts) - 1, VERIFICATION_ROWS).round().astype(int))
    first, second = zip(*(texts[row] for row in index), strict=True)
    rows = LabelledRows(first, (0,) * len(first), None if splits.train.pairs is None else second)
    encoded = encode(rows, tokenizer, tokens)
    return VerificationSample(rows, encoded if kept is None else remap_tokens(encoded, kept))


def sample_logits(model: PreTrainedModel, encoded: EncodedSplit) -> SampleLogits:
    """Return the logits of `model`, which is moved to the CPU and set to evaluation."""
    model.cpu().eval()

    def logits(batches: list[NDArray[np.int64]]) -> NDArray[np.float32]:
        found = []
        for index in batches:
            inputs = collate(encoded, index)
            del inputs["labels"]
            inputs.pop("words", None)
            with torch.inference_mode():
                output = model(**inputs).logits.float()
            if output.ndim == 3:  # of each token: (rows, longest, classes) -> (tokens, classes)
                output = output[inputs["attention_mask"].bool()]
            found.append(output.numpy())
        return np.concatenate(found)

    rows = np.arange(len(encoded))
    return SampleLogits(
        together=logits(np.split(rows, rows[RELOAD_BATCH::RELOAD_BATCH])),
        alone=logits(np.split(rows[:SINGLE_TEXTS], rows[1:SINGLE_TEXTS])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FinalTraining:
    """What each final run trains, and the rows it is measured on.

    `test` are the raw test rows, `cleaned` marks those that cleaning leaves; `sample` are the rows
    of the verification. All have the token numbers of the evaluator's rows.
    """

    evaluator: LayoutEvaluator
    layout: Layout
    test: EncodedSplit
    cleaned: NDArray[np.bool_]
    sample: EncodedSplit

    def __post_init__(self) -> None:
        kept = self.evaluator.rows.kept
        assert self.test.kept is self.sample.kept is kept, "all rows have the same token numbers"


@dataclass(frozen=True, slots=True, eq=False)
class FinalRun:
    """A final run: its scores on `validation`, `test` (cleaned rows) and `test-raw`.

    `predictions` are those for the cleaned test rows. `weights` are those of the trained model, in
    the evaluator's token numbers; `logits` are that model's on the sample, before it is merged or
    saved.
    """

    scores: tuple[Score, ...]
    predictions: Labels
    weights: dict[str, NDArray[np.float32]]
    logits: SampleLogits

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        return {score.split: score for score in self.scores}[split]


RunCallback = Callable[[int, FinalRun | TrialError], None]  # a seed, and how its run ended


def train_best(
    training: FinalTraining,
    seeds: Sequence[int],
    pool: WorkerPool,
    report: RunCallback = lambda *_: None,
) -> FinalRun:
    """Return the run with the best quality on validation, the first of equal ones.

    Calls `report` with each seed and its run. Raises `TrialError` if all runs fail.
    """
    results = {seed: pool.start(train_final_model, training, seed) for seed in seeds}
    best: FinalRun | None = None
    failure = TrialError("no seed was given")
    for seed in seeds:
        try:
            run = results.pop(seed)()
        except TrialError as error:
            failure = error
            report(seed, error)
            continue
        report(seed, run)
        if best is None or run.score("validation").quality > best.score("validation").quality:
            best = run
    if best is None:
        raise failure
    return best


def train_final_model(training: FinalTraining, seed: int) -> FinalRun:
    """Fine-tune the layout with `seed`; raises `TrialError`."""
    evaluator, test, cleaned = training.evaluator, training.test, training.cleaned
    trained = evaluator.train(training.layout, seed)
    micro_batcher = MicroBatcher(evaluator.budget.batch)
    logits = predict_logits(trained.model, test, evaluator.device, micro_batcher)
    if not np.isfinite(logits).all():
        raise TrialError(f"the outputs with seed {seed} are not finite numbers")
    score, metric, seconds = evaluator.problem_type.score, evaluator.metric, trained.score.seconds
    scores = (
        trained.score,
        score(logits[cleaned], test.labels[cleaned], metric, "test", seed, seconds),
        score(logits, test.labels, metric, "test-raw", seed, seconds),
    )
    predictions = evaluator.problem_type.predict(logits)[cleaned]
    if evaluator.problem_type.by_word:
        predictions = np.where(test.labels[cleaned] == NO_WORD, NO_WORD, predictions)
    sample = sample_logits(trained.model, training.sample)  # moves the model to the CPU
    weights = {name: weight.numpy() for name, weight in trained.model.state_dict().items()}
    return FinalRun(scores, predictions, weights, sample)


def merged_model(evaluator: LayoutEvaluator, layout: Layout, run: FinalRun) -> PreTrainedModel:
    """Return the plain pruned model of a run, with the embeddings that were not trained."""
    model = evaluator.load(run.score("validation").seed)
    keep_layers(model, layout)
    restore_embeddings(model, run.weights, evaluator.rows.kept)
    return model.eval()


def export_seeds(used: Sequence[int], number: int) -> list[int]:
    """Return the next `number` seeds above all `used` ones.

    >>> export_seeds([0, 3, 1], 2)
    [4, 5]
    """
    return [max(used, default=-1) + 1 + i for i in range(number)]
