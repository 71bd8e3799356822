"""Pictures: a layout as one small drawing, a tall cell for a layer that is kept."""

from dataclasses import dataclass

from autoprune.layouts.layout import Layout

_STEP, _CELL = 10, 8  # a cell's place and its width, in pixels


@dataclass(frozen=True, slots=True)
class Picture:
    """The two paths of an SVG drawing 14 high, and what it shows in words."""

    width: int
    kept: str
    removed: str
    words: str


def picture(layout: Layout) -> Picture:
    """Draw a layout, the layer nearest the embeddings first.

    >>> picture(Layout(3, (0, 2))).words
    'keeps layers 0,2 of 3'
    """
    kept, removed = "", ""
    for layer, flag in enumerate(layout.flags):
        if flag:
            kept += f"M{layer * _STEP} 0h{_CELL}v14h-{_CELL}z"
        else:
            removed += f"M{layer * _STEP} 6h{_CELL}v2h-{_CELL}z"
    layers = str(layout).partition(":")[2]
    words = f"keeps layers {layers} of {layout.depth}"
    return Picture(layout.depth * _STEP - _STEP + _CELL, kept, removed, words)
