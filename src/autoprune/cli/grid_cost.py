"""What a grid costs in time: one measured step a cell, and what is on file already."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autoprune.cli.grid import Place
from autoprune.cli.ground import Ground
from autoprune.cli.plan import Plan
from autoprune.evidence.record import Record
from autoprune.scoring.budget import Budget


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
    measured = [one for one in records if one.state == "complete"]
    budgets = _budgets(ground, measured)
    made = {
        (one.origin, one.seed)
        for one in measured
        if one.phase == "comparison" and one.budget == budgets.get(one.origin)
    }
    runs = [
        (origin, depth)
        for origin, depth in _entrants(place, full_is_lent)
        for number in range(plan.seeds)
        if (origin, plan.seed + 1 + number) not in made
    ]
    tuned = {(one.origin, one.budget) for one in measured if one.phase == "tuning"}
    runs += [
        (origin, depth)
        for origin, depth in _entrants(place, full_is_lent)
        for budget in (ground.full_budgets if ground.rates else ())
        if (origin, budget) not in tuned
    ]
    passes = sum(depth for _, depth in runs) / ground.keep
    steps = trials * ground.quick.steps + passes * ground.full.steps
    return Estimate(place, step, trials, len(runs), steps * step / ground.workers)


def _budgets(ground: Ground, measured: Sequence[Record]) -> dict[str, Budget]:
    """Return the full budget of each origin that has one: of others no rate is chosen yet."""
    if not ground.rates:
        return {one.origin: ground.full for one in measured}
    tried: dict[str, dict[Budget, float]] = {}
    for one in measured:
        if one.phase == "tuning" and one.budget in ground.full_budgets:
            tried.setdefault(one.origin, {})[one.budget] = one.score("validation").quality
    return {
        origin: max(ground.full_budgets, key=qualities.__getitem__)
        for origin, qualities in tried.items()
        if len(qualities) == len(ground.rates)
    }


def _entrants(place: Place, full_is_lent: bool) -> Collection[tuple[str, int]]:
    """Return who is compared, each with its number of layers."""
    ground = place.ground
    pruned = [(origin, ground.keep) for origin in ("found", *ground.strategies, "scratch")]
    rivals = [(rival.encoder.name, rival.depth) for rival in ground.rivals]
    full = [] if full_is_lent else [("full", ground.checkpoint.depth)]
    return [*pruned, *rivals, *full]
