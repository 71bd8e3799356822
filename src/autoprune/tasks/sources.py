"""Where a task's rows come from: one function per kind of source; missing splits are cut."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoprune.tasks.cleaning import scorable
from autoprune.tasks.folders import files_at, read_files
from autoprune.tasks.hub import read_hub
from autoprune.tasks.official import official_files
from autoprune.tasks.raw import Raw
from autoprune.tasks.splitting import cut
from autoprune.tasks.task import Columns, Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Gathered:
    """The three splits as read, in the order of `SPLITS`; `cut` names those cut off train."""

    splits: dict[str, Raw]
    cut: tuple[str, ...]


def gather(task: Task, data_dir: Path | None, seed: int) -> Gathered:
    """Read all of a task's rows, cut the splits that its source lacks; raises `DataError`."""
    kind, _, place = task.source.partition(":")
    read = SOURCES[kind](place, task.columns, data_dir)
    missing = [split for split in ("test", "validation") if split not in read]
    if missing:
        read |= cut(read["train"], scorable(read["train"])[0], missing, seed)
    return Gathered({split: read[split] for split in SPLITS}, tuple(missing))


def _official(name: str, columns: Columns, data_dir: Path | None) -> dict[str, Raw]:
    return read_files(official_files(name, data_dir), columns)


def _package(name: str, columns: Columns, data_dir: Path | None) -> dict[str, Raw]:  # noqa: ARG001
    return read_files(files_at(Path(__file__).with_name(name)), columns)


def _files(place: str, columns: Columns, data_dir: Path | None) -> dict[str, Raw]:  # noqa: ARG001
    return read_files(files_at(Path(place)), columns)


def _hub(name: str, columns: Columns, data_dir: Path | None) -> dict[str, Raw]:  # noqa: ARG001
    return read_hub(name, columns)


SOURCES: dict[str, Callable[[str, Columns, Path | None], dict[str, Raw]]] = {
    "official": _official,
    "package": _package,
    "files": _files,
    "hub": _hub,
}
