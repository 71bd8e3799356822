"""The one-shot table: what is scored, and how it is shown."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import typer
from transformers import PreTrainedModel

from autoprune.encoders.pruning import check_layout
from autoprune.errors import LayoutError
from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.search.evolution import evolve
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.one_shot import OneShot, PrefixCache, SharedScore, sample_rows, score_all
from autoprune.training.proxies import PROXIES

LISTED = 20_000  # up to so many layouts all are scored; of more, those that evolution looks at

_EVOLVED = 100  # how many of those are shown

_STATES = 256  # prefix states held of each batch


@dataclass(frozen=True, slots=True)
class Table:
    """The scored layouts, the best first; `values` are the proxy's, or minus the loss."""

    depth: int
    scores: tuple[SharedScore, ...]
    values: tuple[float, ...]
    layer_passes: float


def table_of(
    bench: LayoutEvaluator,
    depth: int,
    keeps: Sequence[int],
    seed: int,
    rows: int,
    rungs: int,
    proxy: str | None,
) -> Table:
    """Fine-tune the full model and score layouts with its weights; raises `AutopruneError`."""
    model = bench.train(Layout.full(depth), seed).model.eval()
    few = sample_rows(bench.validation, rows, seed)
    if sum(count_layouts(depth, keep) for keep in keeps) <= LISTED:
        layouts = [layout for keep in keeps for layout in all_layouts(depth, keep)]
        layouts = [layout for layout in layouts if _can_have(model, layout)]
        found = score_all(model, layouts, few, bench.budget.batch, bench.device, rungs)
    else:
        found = _evolved(bench, model, depth, keeps, seed, few)
    scored = [shared.layout for shared in found.scores]
    values = (
        PROXIES[proxy](bench, scored, seed) if proxy else [-shared.loss for shared in found.scores]
    )
    # With halving, layouts that saw more rows got further.
    order = sorted(
        range(len(scored)),
        key=lambda i: (0 if proxy else -found.scores[i].rows, -values[i], scored[i].keep),
    )
    return Table(
        depth,
        tuple(found.scores[i] for i in order),
        tuple(values[i] for i in order),
        found.layer_passes,
    )


def effects(scores: Sequence[SharedScore], depth: int) -> list[dict[str, float | int]]:
    """Return what each layer adds: means of the layouts with it, less those without.

    Layers that all layouts keep, or none, are left out.
    """
    flags = np.array([shared.layout.flags for shared in scores], dtype=bool)
    figures = {
        "loss": np.array([shared.loss for shared in scores]),
        "accuracy": np.array([shared.accuracy for shared in scores]),
    }
    return [
        {"layer": layer}
        | {
            name: float(figure[flags[:, layer]].mean() - figure[~flags[:, layer]].mean())
            for name, figure in figures.items()
        }
        for layer in range(depth)
        if 0 < flags[:, layer].sum() < len(flags)
    ]


def as_json(table: Table, proxy: str | None, seconds: float) -> str:
    """Return the table as one JSON object."""
    return json.dumps(
        {
            "layouts": [
                {
                    "layout": str(shared.layout),
                    "loss": shared.loss,
                    "accuracy": shared.accuracy,
                    "rows": shared.rows,
                }
                | ({"value": value} if proxy else {})
                for shared, value in zip(table.scores, table.values, strict=True)
            ],
            "layers": effects(table.scores, table.depth),
            "layer_passes": table.layer_passes,
            "full_depth_passes": table.layer_passes / table.depth,
            "proxy": proxy,
            "best": str(table.scores[0].layout),
            "seconds": seconds,
        }
    )


def print_table(table: Table) -> None:
    """Print the layouts as CSV on standard output, and the layers' effects on standard error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("layout", "loss", "accuracy"))
    for shared in table.scores:
        writer.writerow((str(shared.layout), f"{shared.loss:.5f}", f"{shared.accuracy:.5f}"))
    typer.echo(out.getvalue(), nl=False)
    typer.echo(
        f"{len(table.scores)} layouts by {table.layer_passes:,.0f} layer passes, as much as "
        f"{table.layer_passes / table.depth:,.1f} passes of the full model",
        err=True,
    )
    for effect in effects(table.scores, table.depth):
        typer.echo(
            f"layer {effect['layer']:>2}  loss {effect['loss']:+.3f}  "
            f"accuracy {100 * effect['accuracy']:+.1f} points where it is kept",
            err=True,
        )


def _evolved(
    bench: LayoutEvaluator,
    model: PreTrainedModel,
    depth: int,
    keeps: Sequence[int],
    seed: int,
    rows: EncodedSplit,
) -> OneShot:
    """Return the best layouts that evolution finds for each of `keeps`."""
    prefixes = PrefixCache(model, rows, bench.budget.batch, bench.device, _STATES)
    best = []
    for keep in keeps:
        ranked = evolve(prefixes.losses, depth, keep, seed)
        fitting = [layout for layout, _ in ranked if _can_have(model, layout)]
        best += fitting[:_EVOLVED]
    found = score_all(model, best, rows, bench.budget.batch, bench.device)
    return OneShot(found.scores, prefixes.passes + found.layer_passes)


def _can_have(model: PreTrainedModel, layout: Layout) -> bool:
    try:
        check_layout(model, layout)
    except LayoutError:
        return False
    return True
