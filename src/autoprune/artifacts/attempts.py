"""Attempts: a layout fine-tuned to the full budget on several seeds, of which one is taken home."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autoprune.artifacts.samples import Answers, answers
from autoprune.encoders.surgery import keep_layers
from autoprune.encoders.vocabulary import restore
from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.course import Clock
from autoprune.scoring.crew import Crew
from autoprune.scoring.memory import Parts
from autoprune.scoring.metrics import score
from autoprune.scoring.score import Score
from autoprune.scoring.training import predict
from autoprune.tasks.tokenising import Encoded


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One fine-tuned run: its scores on `validation`, `test` (cleaned rows) and `test-raw`.

    `weights` are as the bench trained them, tokens renumbered; `answers` are that model's to the
    sample, before anything else was done to it.
    """

    scores: tuple[Score, ...]
    weights: dict[str, NDArray[np.float32]]
    answers: Answers

    def score(self, split: str) -> Score:
        """Return the score on `split`; raises KeyError where there is none."""
        return {score.split: score for score in self.scores}[split]


def attempt(
    bench: Bench, layout: Layout, seed: int, test: Encoded, kept: NDArray[np.bool_], rows: Encoded
) -> Attempt:
    """Fine-tune `layout` with `seed`; raises `TrialError`.

    `test` are the raw test rows, of which cleaning leaves those marked in `kept`; `rows` are the
    sample. All are numbered as the bench's rows.
    """
    assert test.kept is rows.kept is bench.rows.kept, "all rows are numbered alike"
    trained = bench.train(layout, seed)
    logits = predict(trained.model, test, bench.device, Parts(bench.budget.batch), Clock())
    if not np.isfinite(logits).all():
        raise TrialError(f"the outputs with seed {seed} are not finite numbers")
    seconds = trained.score.seconds
    cleaned = score(logits[kept], test.labels[kept], bench.metric, "test", seed, seconds)
    raw = score(logits, test.labels, bench.metric, "test-raw", seed, seconds)
    answered = answers(trained.model, rows)  # moves the model to the processor
    weights = {name: weight.numpy() for name, weight in trained.model.state_dict().items()}
    return Attempt((trained.score, cleaned, raw), weights, answered)


def best_attempt(
    bench: Bench,
    layout: Layout,
    seeds: Sequence[int],
    test: Encoded,
    kept: NDArray[np.bool_],
    rows: Encoded,
    crew: Crew,
    watch: Callable[[int, Attempt | TrialError], None] = lambda *_: None,
) -> Attempt:
    """Return the attempt with the best validation quality, the first of equal ones.

    `watch` is told of each seed's. Raises `TrialError` where no seed could be trained.
    """
    under_way = {seed: crew.start(attempt, bench, layout, seed, test, kept, rows) for seed in seeds}
    best: Attempt | None = None
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


def whole_model(bench: Bench, layout: Layout, attempt: Attempt) -> PreTrainedModel:
    """Return the plain pruned model of an attempt, the rows left out of its training restored."""
    model = bench.load(attempt.score("validation").seed)
    keep_layers(model, layout)
    restore(model, attempt.weights, bench.rows.kept)
    return model.eval()


def fresh_seeds(used: Sequence[int], number: int) -> list[int]:
    """Return the next `number` seeds above all that were `used`.

    >>> fresh_seeds([0, 3, 1], 2)
    [4, 5]
    """
    return [max(used, default=-1) + 1 + i for i in range(number)]


def _quality(attempt: Attempt) -> float:
    return attempt.score("validation").quality
