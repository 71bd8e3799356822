"""Evolution: searches layouts that are too many to score all (24 layers: 2.7 million)."""

from collections.abc import Callable, Sequence

import numpy as np

from autoprune.layouts.layout import Layout

LayoutLosses = Callable[[Sequence[Layout]], list[float]]


def evolve(
    losses: LayoutLosses,
    depth: int,
    keep: int,
    seed: int,
    generations: int = 40,
    parents: int = 8,
    children: int = 32,
) -> list[tuple[Layout, float]]:
    """Return all scored layouts with their losses, the lowest loss first.

    In each generation, `children` new layouts are made from the best `parents` so far by exchanging
    one layer, or rarely more, and scored together. No layout is scored twice; the same seed gives
    the same result. After EvoPress (Sieberling et al. 2024, https://arxiv.org/abs/2410.14649),
    with a population instead of a single parent.
    """
    rng = np.random.default_rng(seed)
    scored: dict[Layout, float] = {}
    best: list[Layout] = []

    def draw() -> Layout:
        return Layout(depth, tuple(sorted(rng.choice(depth, keep, replace=False).tolist())))

    def make_child() -> Layout:
        return _mutate(best[int(rng.integers(len(best)))], rng)

    generation = _new_layouts(scored, children, draw)
    for _ in range(generations):
        scored |= dict(zip(generation, losses(generation), strict=True))
        best = sorted(scored, key=lambda layout: (scored[layout], layout.keep))[:parents]
        generation = _new_layouts(scored, children, make_child)
        if not generation:
            break
    return sorted(scored.items(), key=lambda pair: (pair[1], pair[0].keep))


def _new_layouts(
    scored: dict[Layout, float], number: int, make: Callable[[], Layout], max_attempts: int = 50
) -> list[Layout]:
    """Make up to `number` layouts that are not in `scored`; fewer where hardly any are left."""
    layouts: dict[Layout, None] = {}
    for _ in range(number * max_attempts):
        layout = make()
        if layout not in scored:
            layouts[layout] = None
        if len(layouts) == number:
            break
    return list(layouts)


def _mutate(layout: Layout, rng: np.random.Generator) -> Layout:
    """Exchange a kept layer for a removed one; with probability 1/2 another one, and so on."""
    kept, removed = set(layout.keep), set(range(layout.depth)) - set(layout.keep)
    while kept and removed:
        out, into = int(rng.choice(sorted(kept))), int(rng.choice(sorted(removed)))
        kept ^= {out, into}
        removed ^= {out, into}
        if rng.random() < 0.5:
            break
    return Layout(layout.depth, tuple(sorted(kept)))
