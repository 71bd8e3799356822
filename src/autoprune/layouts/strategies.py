"""Strategies: fixed rules that choose a layout without looking at the task.

`top`, `middle` and `bottom` name what is *removed*, as in arXiv 2501.00733.
"""

from collections.abc import Callable

from autoprune.layouts.layout import Layout, check_keep


def top(depth: int, keep: int) -> Layout:
    """Remove the last layers, those nearest the output.

    >>> str(top(12, 6))
    '12:0-5'
    """
    return Layout(depth, tuple(range(keep)))


def middle(depth: int, keep: int) -> Layout:
    """Remove the middle layers; of an odd `keep` the extra layer is kept at the start.

    >>> str(middle(12, 6)), str(middle(12, 5))
    ('12:0-2,9-11', '12:0-2,10-11')
    """
    start = (keep + 1) // 2
    return Layout(depth, (*range(start), *range(depth - (keep - start), depth)))


def bottom(depth: int, keep: int) -> Layout:
    """Remove the first layers, those nearest the embeddings.

    >>> str(bottom(12, 6))
    '12:6-11'
    """
    return Layout(depth, tuple(range(depth - keep, depth)))


def alternate(depth: int, keep: int) -> Layout:
    """Remove layers at even distances and keep the first (DistilBERT, arXiv 1910.01108).

    >>> str(alternate(12, 6)), str(alternate(12, 5))
    ('12:0,2,4,6,8,10', '12:0,2,4,7,9')
    """
    return Layout(depth, tuple(i * depth // keep for i in range(keep)))


STRATEGIES: dict[str, Callable[[int, int], Layout]] = {
    strategy.__name__: strategy for strategy in (top, middle, bottom, alternate)
}


def strategy_layouts(names: list[str], depth: int, keep: int) -> dict[str, Layout]:
    """Return the layout of each named strategy; raises `LayoutError` if no layer is removed."""
    check_keep(depth, keep)
    return {name: STRATEGIES[name](depth, keep) for name in names}
