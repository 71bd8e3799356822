"""Attempts: a layout fine-tuned to the full budget on several seeds, of which one is taken home."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.embeddings import restore_embeddings
from autoprune.encoders.pruning import keep_layers
from autoprune.errors import TrialError
from autoprune.export.reload import RELOAD_BATCH, SINGLE_TEXTS
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows, Splits, TestSplit
from autoprune.tasks.tokenization import EncodedSplit, collate, encode, remap_tokens
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import MicroBatcher, predict_logits
from autoprune.training.metrics import Score
from autoprune.training.workers import WorkerPool

VERIFICATION_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class VerificationSample:
    """Rows as texts and as the trained model's tokens, numbered as in its training."""

    rows: LabelledRows
    encoded: EncodedSplit


@dataclass(frozen=True, slots=True, eq=False)
class SampleLogits:
    """A model's logits in 32-bit floats on the processor, (rows, classes).

    `together` are those of all rows, padded in batches of `RELOAD_BATCH`; `alone` of the first `SINGLE_TEXTS`
    rows, each by itself.
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
    """Choose `VERIFICATION_ROWS` rows of all splits (all, if there are fewer), from the shortest to the longest.

    `tokens` is the longest input, `kept` the tokens that were trained (see `keep_tokens`).
    """
    parts = (splits.train, splits.validation, test.rows)
    whole = [(text, pair) for rows in parts for text, pair in _texts(rows)]
    whole = sorted(dict.fromkeys(whole), key=lambda row: (len(row[0]) + len(row[1]), row))
    places = np.unique(np.linspace(0, len(whole) - 1, VERIFICATION_ROWS).round().astype(int))
    texts, pairs = zip(*(whole[place] for place in places), strict=True)
    rows = LabelledRows(texts, (0,) * len(texts), None if splits.train.pairs is None else pairs)
    encoded = encode(rows, tokenizer, tokens)
    return VerificationSample(rows, encoded if kept is None else remap_tokens(encoded, kept))


def sample_logits(model: PreTrainedModel, encoded: EncodedSplit) -> SampleLogits:
    """Return what `model` makes of the rows; it is moved to the processor and set to evaluation."""
    model.cpu().eval()
    rows = np.arange(len(encoded))
    return SampleLogits(
        together=_logits(model, encoded, np.split(rows, rows[RELOAD_BATCH::RELOAD_BATCH])),
        alone=_logits(model, encoded, np.split(rows[:SINGLE_TEXTS], rows[1:SINGLE_TEXTS])),
    )


def _texts(rows: LabelledRows) -> list[tuple[str, str]]:
    pairs = rows.pairs if rows.pairs is not None else ("",) * len(rows)
    return list(zip(rows.texts, pairs, strict=True))


def _logits(
    model: PreTrainedModel, encoded: EncodedSplit, batches: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    found = []
    for index in batches:
        inputs = collate(encoded, index)
        del inputs["labels"]
        with torch.inference_mode():
            found.append(model(**inputs).logits.float().numpy())
    return np.concatenate(found)


@dataclass(frozen=True, slots=True, eq=False)
class FinalRun:
    """One fine-tuned run: its scores on `validation`, `test` (cleaned rows) and `test-raw`.

    `weights` are as the bench trained them, tokens renumbered; `sample_logits` are that model's to the
    sample, before anything else was done to it.
    """

    scores: tuple[Score, ...]
    weights: dict[str, NDArray[np.float32]]
    answers: SampleLogits

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        return {score.split: score for score in self.scores}[split]


def train_final_model(
    bench: LayoutEvaluator,
    layout: Layout,
    seed: int,
    test: EncodedSplit,
    kept: NDArray[np.bool_],
    rows: EncodedSplit,
) -> FinalRun:
    """Fine-tune `layout` with `seed`; raises `TrialError`.

    `test` are the raw test rows, of which cleaning leaves those marked in `kept`; `rows` are the
    sample. All are numbered as the bench's rows.
    """
    assert test.kept is rows.kept is bench.rows.kept, "all rows are numbered alike"
    trained = bench.train(layout, seed)
    micro_batcher = MicroBatcher(bench.budget.batch)
    logits = predict_logits(trained.model, test, bench.device, micro_batcher)
    if not np.isfinite(logits).all():
        raise TrialError(f"the outputs with seed {seed} are not finite numbers")
    seconds = trained.score.seconds
    score, metric = bench.problem_type.score, bench.metric
    cleaned = score(logits[kept], test.labels[kept], metric, "test", seed, seconds)
    raw = score(logits, test.labels, metric, "test-raw", seed, seconds)
    answered = sample_logits(trained.model, rows)  # moves the model to the processor
    weights = {name: weight.numpy() for name, weight in trained.model.state_dict().items()}
    return FinalRun((trained.score, cleaned, raw), weights, answered)


def train_best(
    bench: LayoutEvaluator,
    layout: Layout,
    seeds: Sequence[int],
    test: EncodedSplit,
    kept: NDArray[np.bool_],
    rows: EncodedSplit,
    crew: WorkerPool,
    watch: Callable[[int, FinalRun | TrialError], None] = lambda *_: None,
) -> FinalRun:
    """Return the attempt with the best validation quality, the first of equal ones.

    `watch` is told of each seed's. Raises `TrialError` where no seed could be trained.
    """
    under_way = {
        seed: crew.start(train_final_model, bench, layout, seed, test, kept, rows) for seed in seeds
    }
    best: FinalRun | None = None
    failure = TrialError("no seed was given")
    for seed in seeds:
        try:
            done = under_way.pop(seed)()
        except TrialError as error:
            failure = error
            watch(seed, error)
            continue
        watch(seed, done)
        if best is None or _quality(done) > _quality(best):
            best = done
    if best is None:
        raise failure
    return best


def merged_model(bench: LayoutEvaluator, layout: Layout, attempt: FinalRun) -> PreTrainedModel:
    """Return the plain pruned model of an attempt, the rows left out of its training restored."""
    model = bench.load(attempt.score("validation").seed)
    keep_layers(model, layout)
    restore_embeddings(model, attempt.weights, bench.rows.kept)
    return model.eval()


def export_seeds(used: Sequence[int], number: int) -> list[int]:
    """Return the next `number` seeds above all that were `used`.

    >>> fresh_seeds([0, 3, 1], 2)
    [4, 5]
    """
    return [max(used, default=-1) + 1 + i for i in range(number)]


def _quality(attempt: FinalRun) -> float:
    return attempt.score("validation").quality
