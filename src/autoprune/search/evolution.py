"""Evolution: over layouts that are too many to score all (24 layers: 2.7 million)."""

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
    """Return all layouts that were scored with their losses, the lowest loss first.

    Each generation, `children` new layouts are made from the best `parents` so far by exchanging
    one layer, or seldom more, and scored together. No layout is scored twice; same seed, same
    course. After EvoPress (Sieberling et al. 2024, https://arxiv.org/abs/2410.14649), with a
    population in place of a single parent.
    """
    rng = np.random.default_rng(seed)
    found: dict[Layout, float] = {}
    best: list[Layout] = []

    def child() -> Layout:
        return _mutated(best[int(rng.integers(len(best)))], rng)

    fresh = _new(found, children, lambda: _drawn(depth, keep, rng))
    for _ in range(generations):
        found |= dict(zip(fresh, losses(fresh), strict=True))
        best = sorted(found, key=lambda layout: (found[layout], layout.keep))[:parents]
        fresh = _new(found, children, child)
        if not fresh:
            break
    return sorted(found.items(), key=lambda pair: (pair[1], pair[0].keep))


def _new(
    found: dict[Layout, float], number: int, make: Callable[[], Layout], patience: int = 50
) -> list[Layout]:
    """Make up to `number` layouts that are not among `found`; fewer where hardly any are left."""
    fresh: dict[Layout, None] = {}
    for _ in range(number * patience):
        layout = make()
        if layout not in found:
            fresh[layout] = None
        if len(fresh) == number:
            break
    return list(fresh)


def _drawn(depth: int, keep: int, rng: np.random.Generator) -> Layout:
    return Layout(depth, tuple(sorted(rng.choice(depth, keep, replace=False).tolist())))


def _mutated(layout: Layout, rng: np.random.Generator) -> Layout:
    """Exchange one kept layer for a removed one; with chance a half another, and so on."""
    kept, removed = set(layout.keep), set(range(layout.depth)) - set(layout.keep)
    while kept and removed:
        out, into = int(rng.choice(sorted(kept))), int(rng.choice(sorted(removed)))
        kept ^= {out, into}
        removed ^= {out, into}
        if rng.random() < 0.5:
            break
    return Layout(layout.depth, tuple(sorted(kept)))
