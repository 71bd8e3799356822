"""What a grid costs in time: one measured step a cell, and what is on file already."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autoprune.cli.grid import Place
from autoprune.cli.plan import Plan


@dataclass(frozen=True, slots=True)
class Estimate:
    """At most how long a cell takes from now on: `seconds`, at `step` seconds a step."""

    place: Place
    step: float
    trials: int
    runs: int
    seconds: float


def estimates(places: Sequence[Place], plan: Plan) -> list[Estimate]:
    """Measure a step of each cell on this device; the full model counts once for all its cells."""
    seen: set[tuple[str, str]] = set()
    found = []
    for place in places:
        found.append(_estimate(place, plan, (place.model, place.task) in seen))
        seen.add((place.model, place.task))
    return found


def _estimate(place: Place, plan: Plan, full_is_lent: bool) -> Estimate:
    ground = place.ground
    records = place.records
    step = ground.bench(ground.quick).seconds_per_step(next(iter(ground.strategies.values())))
    trials = max(0, plan.trials - sum(one.phase == "search" for one in records))
    made = {(one.origin, one.seed) for one in records if (one.phase, one.state) == _MEASURED}
    runs = [
        (origin, depth)
        for origin, depth in _entrants(place, full_is_lent)
        for number in range(plan.seeds)
        if (origin, plan.seed + 1 + number) not in made
    ]
    if len(ground.rates) > 1:
        tuned = Counter(one.origin for one in records if (one.phase, one.state) == _TUNED)
        runs += [
            (origin, depth)
            for origin, depth in _entrants(place, full_is_lent)
            for _ in range(len(ground.rates) - tuned[origin])
        ]
    passes = sum(depth for _, depth in runs) / ground.keep
    steps = trials * ground.quick.steps + passes * ground.full.steps
    return Estimate(place, step, trials, len(runs), steps * step / ground.workers)


_MEASURED = ("comparison", "complete")
_TUNED = ("tuning", "complete")


def _entrants(place: Place, full_is_lent: bool) -> Collection[tuple[str, int]]:
    """Return who is compared, each with its number of layers."""
    ground = place.ground
    pruned = [(origin, ground.keep) for origin in ("found", *ground.strategies, "scratch")]
    rivals = [(rival.encoder.name, rival.depth) for rival in ground.rivals]
    full = [] if full_is_lent else [("full", ground.checkpoint.depth)]
    return [*pruned, *rivals, *full]
