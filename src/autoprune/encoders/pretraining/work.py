"""The work folder: where a training is kept until its model is whole; one command at a time."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autoprune.encoders.pretraining.checkpoints import save
from autoprune.encoders.pretraining.course import Course
from autoprune.encoders.pretraining.training import State, Step, Texts, train
from autoprune.errors import OptionError

EVERY = 60.0  # seconds between checkpoints at least
_PATIENCE = 50  # times what a checkpoint takes: so at most 2 % of the time goes into them

_SETTINGS = "settings.json"

Settings = Mapping[str, str | int | float | bool | None]


def work_folder(out: Path) -> Path:
    """Return where the training of the model `out` is kept, beside it.

    >>> work_folder(Path("models/mr-6")).name
    '.mr-6.pretraining'
    """
    place = out.resolve()
    return place.with_name(f".{place.name}.pretraining")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; raises `OptionError` where that cannot be done.

    The system lets go of it when the process ends, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock", timeout=0)
        held.acquire()
    except Timeout:
        raise OptionError(
            f"another command trains in {folder}: wait for its end, or give another --out"
        ) from None
    except OSError as error:
        raise OptionError(f"cannot train in {folder}: {error.strerror or error}") from None
    try:
        yield
    finally:
        held.release()


def begin(folder: Path, settings: Settings) -> None:
    """Note what the training is begun with, or check that it is the same.

    Raises `OptionError` that names the first difference.
    """
    path = folder / _SETTINGS
    if not path.exists():
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        draft.replace(path)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if before.get(name) != value:
            raise OptionError(
                f"a training goes on with what it was begun with, {name} was {before.get(name)} "
                f"and is {value}: give the same again, or begin anew by removing {folder}"
            )


def keep_on(
    state: State,
    texts: Texts,
    course: Course,
    bfloat16: bool,
    folder: Path,
    stop: Callable[[], bool],
    end: float = 1.0,
    every: float = EVERY,
) -> Iterator[Step]:
    """Train until the share `end` of the course, with checkpoints in `folder`; yield each step.

    When `stop` says so a checkpoint is written and `KeyboardInterrupt` raised.
    """
    saved, pause = time.monotonic(), every
    for step in train(state, texts, course, bfloat16, end):
        yield step
        if stop():
            save(state, folder)
            raise KeyboardInterrupt
        if time.monotonic() - saved >= pause:
            began = time.monotonic()
            save(state, folder)
            saved = time.monotonic()
            pause = max(every, _PATIENCE * (saved - began))
    save(state, folder)


def clear(folder: Path) -> None:
    """Remove the work folder and all in it."""
    shutil.rmtree(folder, ignore_errors=True)
