"""Energy: the joules that the processors use while a block runs."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

# Linux shows the counters of Intel's and AMD's processors (RAPL) here, mostly only to root:
# https://docs.kernel.org/power/powercap/powercap.html
POWERCAP_FOLDER = Path("/sys/class/powercap")

POWER_INTERVAL = 10.0  # seconds; a counter wraps around after some minutes at the earliest


class EnergyMeter:
    """Context manager that adds up the joules of all processors, used by any program.

    `joules` is None where a counter cannot be read.
    """

    def __init__(self, folder: Path = POWERCAP_FOLDER) -> None:
        # intel-rapl:0 is a whole processor; intel-rapl:0:1 is a part of it and is not counted.
        counters = sorted(folder.glob("intel-rapl:[0-9]*/energy_uj"))
        self._counters = [path for path in counters if path.parent.name.count(":") == 1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._add_regularly, daemon=True)
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
        """Add what was used since the last call. A counter that fell has wrapped around once."""
        now = self._read()
        if now is None or self._last is None or self.joules is None:
            self.joules = self._last = None
            return
        for (last, _), (new, span) in zip(self._last, now, strict=True):
            self.joules += (new - last if new >= last else new - last + span) / 1e6
        self._last = now

    def _add_regularly(self) -> None:
        while not self._ended.wait(POWER_INTERVAL):
            self.add()

    def _read(self) -> list[tuple[int, int]] | None:
        """Return value and range of each counter in microjoules, None where one is unreadable."""
        try:
            return [
                (int(path.read_text()), int(path.with_name("max_energy_range_uj").read_text()))
                for path in self._counters
            ] or None
        except (OSError, ValueError):
            return None
