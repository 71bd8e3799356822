"""Working: whether a search or a baseline is at work in a folder."""

from pathlib import Path

from filelock import FileLock, Timeout


def is_at_work(folder: Path) -> bool:
    """Tell whether another process holds the study in `folder`; nothing is left behind there."""
    place = folder / ".lock"
    if not place.is_file():
        return False
    held = FileLock(place, timeout=0)
    try:
        held.acquire()
    except Timeout:
        return True
    except OSError:  # not ours to lock: nobody can be told from here
        return False
    held.release()
    return False
