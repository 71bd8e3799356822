"""The tasks known by name, and how a name, path or hub id becomes a task."""

import re
from dataclasses import replace
from pathlib import Path

from autoprune.errors import DataError, UnknownNameError, format_path, quote
from autoprune.tasks.task import Columns, Task

MAHANEWS_LABELS = (
    "Auto", "Bhakti", "Crime", "Education", "Fashion", "Health",
    "International", "Manoranjan", "Politics", "Sports", "Tech", "Travel",
)  # fmt: skip

# `tokens`: in a tokenizer of 16,000 pieces, 99.8 % of SHC's headlines have at most 64 (with MuRIL's
# larger vocabulary still more), 94 % of LPC's paragraphs at most 256; LDC takes BERT's limit.
TASKS: dict[str, Task] = {
    "shc": Task("shc", "official:SHC", labels=MAHANEWS_LABELS, tokens=64),
    "lpc": Task("lpc", "official:LPC", labels=MAHANEWS_LABELS, tokens=256),
    "ldc": Task("ldc", "official:LDC", labels=MAHANEWS_LABELS, tokens=512),
    "demo": Task("demo", "package:demo", labels=MAHANEWS_LABELS, tokens=64, full_epochs=5),
}

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

ANY_COLUMNS = Columns()


def find_task(text: str, columns: Columns = ANY_COLUMNS, metric: str | None = None) -> Task:
    """Return the task that `text` names: a known name, a file or folder, or a hub id `org/name`.

    A known name wins over a folder of the same name (write `./shc` for the folder), a path that
    exists over a hub id. `columns` and `metric` (default: accuracy) replace the task's own where
    given. Raises `UnknownNameError`, and `DataError` for a path where nothing lies.
    """
    known = TASKS.get(text)
    if known is not None:
        return replace(
            known,
            columns=known.columns if columns == ANY_COLUMNS else columns,
            metric=metric or known.metric,
        )
    metric = metric or "accuracy"
    path = _expanded(text)
    if text and _exists(path):
        whole = path.resolve()
        name = whole.name if whole.is_dir() else whole.stem
        return Task(name or "root", f"files:{path}", columns, metric=metric)
    if _looks_like_path(text):
        raise DataError(f"a task's file or folder must exist, nothing lies at {format_path(path)}")
    if _HUB.fullmatch(text):
        return Task(text.rpartition("/")[2], f"hub:{text}", columns, metric=metric)
    raise UnknownNameError(
        "task", quote(text)[1:-1], TASKS, hint="(or give a file, a folder or a hub id org/name)"
    )


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of a user who does not exist
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the file system, or with a NUL in it
        return False


def _looks_like_path(text: str) -> bool:
    return text.startswith(("./", "../", "/", "~")) or text.lower().endswith(SUFFIXES)
