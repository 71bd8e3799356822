"""Entrants: who is compared, and how one of them is run on one seed."""

from collections.abc import Callable, Sequence

from autoprune.evidence.measuring import Entrant, Run
from autoprune.evidence.record import Start
from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.course import Clock
from autoprune.scoring.crew import Team
from autoprune.scoring.memory import Parts
from autoprune.scoring.place import Place
from autoprune.scoring.score import Score
from autoprune.scoring.training import predict
from autoprune.tasks.tokenising import Encoded


def entrants_of(
    origin: str,
    layout: Layout,
    benches: Sequence[Bench],
    test: Encoded,
    model: str,
    start: Start,
    crew: Team,
) -> list[Entrant]:
    """Return the entrant that trains `layout` and predicts every raw test row, once for each bench.

    The benches differ in their budget alone. A run begins as soon as a process of `crew` is free.
    `model` names the checkpoint with its commit; `start` is `pretrained` or `random`.
    """
    parameters = benches[0].parameters(layout).total
    return [
        _entrant(origin, layout, bench, test, model, start, parameters, crew) for bench in benches
    ]


def _entrant(
    origin: str,
    layout: Layout,
    bench: Bench,
    test: Encoded,
    model: str,
    start: Start,
    parameters: int,
    crew: Team,
) -> Entrant:
    assert test.kept is bench.rows.kept, "all rows are numbered alike"

    def begin(seed: int, place: Place) -> Callable[[], Run]:
        return crew.start(_run, bench, layout, test, seed, place)

    def validate(seed: int, place: Place) -> Callable[[], Score]:
        return crew.start(_validate, bench, layout, seed, place)

    return Entrant(origin, layout, start, model, parameters, bench.budget, begin, validate)


def _validate(bench: Bench, layout: Layout, seed: int, place: Place) -> Score:
    return bench.measure(layout, seed, saved=place)


def _run(bench: Bench, layout: Layout, test: Encoded, seed: int, place: Place) -> Run:
    trained = bench.train(layout, seed, saved=place)
    parts = Parts(bench.budget.batch)
    logits = predict(trained.model, test, bench.device, parts, Clock())
    return Run(trained.score, logits, tuple(parts.notes))
