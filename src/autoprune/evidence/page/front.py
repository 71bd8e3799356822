"""The page of a front: several numbers of layers as one HTML file, the advice first."""

from autoprune.evidence.front import Front, Point
from autoprune.evidence.front_report import advice, front_table, reading, title
from autoprune.evidence.page.front_plots import Cost, Ends, against, behind, pick
from autoprune.evidence.page.parts import Items, Plot, Plots, Section, Sheet, Text
from autoprune.evidence.page.rendering import render


def front_page(front: Front) -> str:
    """Return what a search over several numbers of layers found as HTML."""
    return render(
        "front.html.j2",
        title=title(front),
        advice=advice(front),
        tiles=_tiles(front),
        sections=[_plots(front), _table(front), _studies(front)],
    )


def _tiles(front: Front) -> list[tuple[str, Point]]:
    """Return the points to see first with what they are, each once."""
    first = f"the {pick(front)}"
    named = {first: front.knee}
    if front.limits.any and front.chosen is not None:
        name = "the smallest within the limits"
        named = named | {name: front.chosen}
        if front.chosen == front.knee:
            named = {f"{first}, and {name}": front.knee}
    return list((named | {"the full model": front.full}).items())


def _plots(front: Front) -> Section:
    plots = (
        _plot(
            front,
            "latency",
            lambda one: one.price.latency_ms,
            "ms a text",
            lambda one: one.price.latency,
        ),
        _plot(front, "size", lambda one: one.price.megabytes, "MB on disk"),
    )
    read = Text(
        "Each mark is a number of layers, filled where it is on the front; the line is the best "
        "validation quality that so much latency, or size, buys. The dashes are the same models "
        "on the test split, which chose nothing. Thin lines are 95 % intervals: level ones of the "
        "latency, upright ones of the quality on test.",
        aside=True,
    )
    return Section("plots", "Quality against latency and size", (Plots(plots), read))


def _plot(front: Front, name: str, cost: Cost, axis: str, ends: Ends | None = None) -> Plot:
    figure, table = against(front, cost, axis, ends), behind(front, cost, axis, ends)
    return Plot(f"quality-{name}", f"Quality against {name}", figure, table)


def _table(front: Front) -> Section:
    parts = (Sheet(front_table(front)), Text(reading(front), aside=True))
    return Section("table", "All numbers of layers", parts)


def _studies(front: Front) -> Section:
    told = Text("Each number of layers is a study of its own, with a report of its own:")
    return Section("studies", "Studies", (told, Items(front.studies)))
