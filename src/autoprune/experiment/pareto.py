"""The end of a search over several numbers of layers: what each costs, and which to take."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoprune.errors import OptionError
from autoprune.evaluation.pareto import (
    Limits,
    ModelCost,
    ParetoFront,
    ParetoPoint,
    is_dominated,
    pareto_point,
)
from autoprune.experiment.cost import save_layouts
from autoprune.experiment.pipeline import StudyOutcome, study_folder
from autoprune.experiment.progress import ProgressDisplay
from autoprune.experiment.result import check_writable
from autoprune.experiment.setup import Experiment
from autoprune.experiment.tables import PIPE_WIDTH, print_line
from autoprune.export.cost import CostConditions, CostMeasurement, measure_costs
from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout, format_keeps
from autoprune.reporting.pareto_report import (
    PARETO_HEADER,
    pareto_advice,
    pareto_markdown,
    pareto_table,
)
from autoprune.training.workers import available_cores

# They are in the report; a console has no room for them.
_SPARED = ("layout", "parameters", "interval, ms", "interval, texts a second")


def check_limits(
    keeps: Sequence[int],
    max_drop: float | None,
    max_latency_ms: float | None,
    max_megabytes: float | None,
) -> Limits:
    """Return the limits; raises `OptionError` where there is nothing to choose among."""
    limits = Limits(max_drop, max_latency_ms, max_megabytes)
    if limits.any and len(keeps) == 1:
        raise OptionError(
            "--max-drop, --max-latency-ms and --max-megabytes choose among several numbers of "
            f"layers, name them like --keep 2-8, got {keeps[0]}"
        )
    return limits


def check_report(grounds: Sequence[Experiment], name: str | None) -> None:
    """Raise `StudyError` now where the front's report could not be written after hours of work."""
    if len(grounds) > 1:
        keeps = [ground.keep for ground in grounds]
        for place in _places([study_folder(ground, name, True) for ground in grounds], keeps):
            check_writable(place)


def _places(folders: Sequence[Path], keeps: Sequence[int]) -> tuple[Path, Path]:
    """Name the report over all studies, and its page.

    The studies' names end in the number of layers, those of the report in all of them.
    """
    stem = folders[0].name.removesuffix(str(keeps[0])) + format_keeps(keeps)
    return Path("reports") / f"{stem}.md", Path("reports") / f"{stem}.html"


def report_pareto(
    done: Sequence[StudyOutcome], limits: Limits, show: ProgressDisplay, quiet: bool
) -> dict[str, Any]:
    """Measure what each recommended layout costs, write the front's report, and print its table.

    Returns what `--json` tells; `quiet` leaves standard output alone.
    """
    from autoprune.reporting.html.pareto_page import pareto_page

    front = _front(done, limits, show)
    report, page = _places([one.folder for one in done], [one.ground.keep for one in done])
    write_atomic(page, pareto_page(front))
    write_atomic(report, pareto_markdown(front))
    if not quiet:
        _print(front)
        print_line(f"Report: {report}   page: {page}")
    return {
        "studies": [one.result for one in done],
        "front": [_values(one, front.everyone) for one in front.everyone],
        "knee": str(front.knee.layout),
        "recommended": str(front.chosen.layout) if front.chosen else None,
        "report": str(report),
        "page": str(page),
    }


def _front(done: Sequence[StudyOutcome], limits: Limits, show: ProgressDisplay) -> ParetoFront:
    """Measure what each recommended layout and the full model cost."""
    show.say(f"measuring what {len(done) + 1} models cost, in turns")
    prices, machine = measure_model_costs(done)
    ground = done[0].ground
    return ParetoFront(
        model=ground.checkpoint.encoder.name,
        task=ground.task.name,
        metric=ground.task.metric,
        device=machine,
        points=tuple(
            pareto_point(one.comparison, one.comparison.recommended, price)
            for one, price in zip(done, prices[:-1], strict=True)
        ),
        full=pareto_point(done[0].comparison, "full", prices[-1]),
        limits=limits,
        studies=tuple(one.folder.name for one in done),
    )


def _print(front: ParetoFront) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    table = Table(box=box.SIMPLE, padding=(0, 0))
    shown = [heading for heading in PARETO_HEADER if heading not in _SPARED]
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=heading == PARETO_HEADER[0])
    for cells in pareto_table(front).rows:
        texts = (cell if isinstance(cell, str) else cell.picture for cell in cells)
        row = dict(zip(PARETO_HEADER, texts, strict=True))
        table.add_row(*(Text(row[heading]) for heading in shown))
    console.print(table)
    for sentence in pareto_advice(front):
        print_line(sentence)


def _values(one: ParetoPoint, everyone: Sequence[ParetoPoint]) -> dict[str, Any]:
    values = asdict(one) | {"layout": str(one.layout)}
    return values | {"on_the_front": not is_dominated(one, everyone)}


THROUGHPUT_BATCH = 32  # texts that go together where throughput is measured

COST_ROUNDS = 15


def measure_model_costs(done: Sequence[StudyOutcome]) -> tuple[list[ModelCost], str]:
    """Measure the layout that each study recommends, and the full model last, by turns.

    Returns the prices and the machine in words. On all cores: sets how many threads torch uses in
    this process. Raises `OptionError` where the disk has no room for the models.
    """
    ground = done[0].ground
    layouts = {
        f"keep {one.ground.keep}": one.comparison.row(one.comparison.recommended).layout
        for one in done
    }
    layouts["full"] = Layout.full(ground.checkpoint.depth)
    torch.set_num_threads(available_cores())
    under = CostConditions(
        THROUGHPUT_BATCH, COST_ROUNDS, ground.device, ground.tokens, memory=False
    )
    with save_layouts(ground, layouts) as subjects:
        found = measure_costs(subjects, ground.splits.train, under)
    return [_price(cost) for cost in found], under.machine


def _price(cost: CostMeasurement) -> ModelCost:
    assert cost.parameters is not None, "they are torch models"
    return ModelCost(
        parameters=cost.parameters.total,
        megabytes=cost.bytes / 1e6,
        latency_ms=1000 * cost.latency.median,
        latency_low_ms=1000 * cost.latency.low,
        latency_high_ms=1000 * cost.latency.high,
        per_second=cost.throughput.median,
        per_second_low=cost.throughput.low,
        per_second_high=cost.throughput.high,
    )
