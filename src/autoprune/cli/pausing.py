"""Pausing: the files in which a study's runs are kept, under way or until they go on."""

from pathlib import Path

from autoprune.layouts.layout import Layout
from autoprune.scoring.place import Place, place_of
from autoprune.search.findings import Finding
from autoprune.search.run import Run

MOST = 8
"""Paused runs whose state is kept, at about twelve bytes for each weight that learns. One that goes
on without its state is trained from the start, to the same end."""


class Pauses:
    """Knows where runs are kept; with `promotes`, the states of the best that paused stay there."""

    def __init__(self, folder: Path, promotes: bool) -> None:
        self._folder, self._promotes = folder, promotes
        self._waiting: dict[tuple[Layout, int], float] = {}

    def place(self, run: Run) -> Place:
        """Return the file of a run, the same for its pause and its end."""
        return place_of(self._folder, (run.layout, run.seed))

    def ends(self, finding: Finding) -> None:
        """Take away what no run goes on from after this trial."""
        mine = (finding.layout, finding.seed)
        if self._promotes and finding.fidelity < 1.0 and finding.score is not None:
            self._waiting[mine] = finding.score.quality
            if len(self._waiting) <= MOST:
                return
            mine = min(self._waiting, key=lambda one: self._waiting[one])
        self._waiting.pop(mine, None)
        place_of(self._folder, mine).take_away()
