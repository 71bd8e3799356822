"""Energy: what the processor's own counter says it used, where there is one that can be read."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

# Linux shows the counters of Intel's and AMD's processors (RAPL) here, mostly to root alone:
# https://docs.kernel.org/power/powercap/powercap.html
POWERCAP = Path("/sys/class/powercap")
EVERY = 10.0  # seconds; a counter starts again from 0 after some minutes at the earliest


class Meter:
    """Adds up the joules of all processors while a block runs, other work on them included.

    `joules` is None where no counter can be read.
    """

    def __init__(self, place: Path = POWERCAP) -> None:
        # intel-rapl:0 is a whole processor; intel-rapl:0:1, a part of it, is not counted again.
        self._counters = sorted(place.glob("intel-rapl:[0-9]*/energy_uj"))
        self._counters = [one for one in self._counters if one.parent.name.count(":") == 1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._last = self._read()
        self.joules: float | None = None if self._last is None else 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.add()

    def add(self) -> None:
        """Add what was used since the last call; a counter that went back started from 0 again."""
        now = self._read()
        if now is None or self._last is None or self.joules is None:
            self.joules = self._last = None
            return
        for (last, _), (new, span) in zip(self._last, now, strict=True):
            self.joules += (new - last if new >= last else new - last + span) / 1e6
        self._last = now

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self.add()

    def _read(self) -> list[tuple[int, int]] | None:
        """Return what each counter shows and how far it goes, in microjoules.

        None where one cannot be read, or none is there.
        """
        try:
            return [
                (int(one.read_text()), int(one.with_name("max_energy_range_uj").read_text()))
                for one in self._counters
            ] or None
        except (OSError, ValueError):
            return None
