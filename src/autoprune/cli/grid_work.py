"""Working through a grid: each cell that is not finished is a study, at work in one process."""

import time
from collections.abc import Sequence

from autoprune.cli.grid import Place, finished
from autoprune.cli.grid_cost import Estimate, estimates
from autoprune.cli.plan import Plan
from autoprune.cli.result import check_places
from autoprune.cli.show import Show, minutes
from autoprune.cli.studying import study_each
from autoprune.errors import StudyError
from autoprune.search.working import is_at_work


def work(plan: Plan, places: Sequence[Place], wanted: Sequence[Place], show: Show) -> None:
    """Bring the `wanted` of all cells to their end; one that another process works on is left.

    What is on file is not measured again. Raises `typer.Exit` where the user stops a search.
    """
    for place in places:
        check_places(place.folder)
    todo = [place for place in wanted if finished(place, plan) is None]
    costs = estimates(todo, plan)
    done = len(wanted) - len(todo)
    whole = sum(cost.seconds for cost in costs)
    show.say(
        f"plan {plan.name}: {len(wanted)} cells, {done} done, {len(todo)} to do"
        + (f", at most {minutes(whole)}" if todo else "")
    )
    elsewhere = _pass(plan, places, costs, show)
    for cost in _pass(plan, places, elsewhere, show):  # its owner may have gone meanwhile
        show.say(f"{cost.place.name}: another process is at work on it")


def _pass(
    plan: Plan, places: Sequence[Place], costs: Sequence[Estimate], show: Show
) -> list[Estimate]:
    """Work on the cells that are free; return those that are not."""
    elsewhere: list[Estimate] = []
    spent = expected = 0.0
    for index, cost in enumerate(costs):
        if is_at_work(cost.place.folder):
            elsewhere.append(cost)
            continue
        if finished(cost.place, plan) is not None:  # by another process, meanwhile
            continue
        pace = spent / expected if expected else 1.0
        left = pace * sum(one.seconds for one in costs[index:])
        number = places.index(cost.place) + 1
        show.say(f"cell {number}/{len(places)}: {cost.place.name}; about {minutes(left)} left")
        began = time.monotonic()
        try:
            _study(plan, places, cost.place, show)
        except StudyError:
            if not is_at_work(cost.place.folder):
                raise
            elsewhere.append(cost)
        else:
            spent += time.monotonic() - began
            expected += cost.seconds
    return elsewhere


def _study(plan: Plan, places: Sequence[Place], place: Place, show: Show) -> None:
    alike = [one.folder for one in places if one.task == place.task and one != place]
    study_each(
        [place.ground],
        f"{plan.name}/{place.folder.name}",
        place.asked,
        show,
        trials=plan.trials,
        minutes=None,
        sampler="gp",
        pruner="none",
        proxy="none",
        seed=plan.seed,
        seeds=plan.seeds,
        storage=None,
        quiet=True,
        lenders=alike,
    )
