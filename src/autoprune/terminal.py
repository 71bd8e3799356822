"""Terminal: whatever is written to one is made safe, since names and texts come from outside.

A name of a label, a model's path or a line of a damaged file may hold escape sequences: they move
the cursor, change what stands above, or set the clipboard. They are shown escaped.
"""

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from autoprune.errors import printable

_KEPT = "\n\t"


class SafeConsole(Console):
    """A console that escapes what is not printable; its own control codes stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of `renderable`."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else Segment(printable(segment.text, _KEPT), segment.style)
            )


class SafeOutput:
    """Standard output for data: as it is for a file or a pipe, safe where a person reads it."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._is_terminal = self._file.isatty()

    def write(self, text: str) -> int:
        """Write a text."""
        return self._file.write(printable(text, _KEPT) if self._is_terminal else text)
