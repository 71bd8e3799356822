"""Places: the files in which runs are kept while they are under way."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDER = ".checkpoints"


@dataclass(frozen=True, slots=True)
class Place:
    """The file in which a run is kept while it is under way; one run at a time writes there.

    Nothing is written in the first `seconds`, so that short runs cost nothing, nor sooner after the
    last writing; and writing takes at most `share` of the time between. Who gives a place takes it
    away when the score is safe.
    """

    path: Path
    seconds: float = 30.0
    share: float = 0.02

    def draft(self) -> Path:
        """Return the file in which this process writes before the name is given."""
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def drop_drafts(self) -> None:
        """Remove what writers left that were killed."""
        for draft in self.path.parent.glob(f".{self.path.name}.*.part"):
            draft.unlink(missing_ok=True)

    def take_away(self) -> None:
        """Remove what is kept, if anything."""
        self.path.unlink(missing_ok=True)
        self.drop_drafts()


def place_of(study: Path, identity: object) -> Place:
    """Return where in the folder `study` a run is kept, by all that tells it from other runs."""
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:20]
    return Place(study / FOLDER / f"{name}.safetensors")


def sweep(study: Path) -> None:
    """Remove everything that is kept in the folder `study`: it has come to its end."""
    shutil.rmtree(study / FOLDER, ignore_errors=True)
