"""Who measures: a process told from every other one, also from those that are gone."""

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

_PROC = Path("/proc")
_AT_WORK: set[str] = set()  # ids of this process that have not ended


@dataclass(frozen=True, slots=True)
class Holder:
    """A process at work on a study.

    `id` is random. `host`: where process numbers mean the same: host name, boot and namespace.
    `started`: the process's start in the host's ticks, 0 where the system does not tell it: a
    number that is used again is known by it.
    """

    id: str
    host: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Self:
        """Return this process under a new id."""
        return cls(uuid.uuid4().hex, _host(), os.getpid(), _start_of(os.getpid()) or 0)

    @classmethod
    def read(cls, value: Any) -> Self | None:
        """Return the holder that `as_value` wrote, None where there is none."""
        try:
            return cls(str(value["id"]), str(value["host"]), int(value["pid"]), value["started"])
        except (TypeError, KeyError, ValueError):
            return None

    def as_value(self) -> dict[str, str | int]:
        """Return what can be written as JSON."""
        return asdict(self)

    @property
    def named(self) -> str:
        """Host and number, for people."""
        return f"process {self.pid} on {self.host.partition('/')[0]}"

    def is_gone(self) -> bool:
        """Say whether it is known to be gone; of another host nothing is known from here."""
        if self.host != _host() or not self.started:
            return False
        if _start_of(self.pid) != self.started:
            return True
        return self.pid == os.getpid() and self.id not in _AT_WORK

    def is_here(self) -> bool:
        """Say whether it is a process of this host that is known to be there."""
        return self.host == _host() and bool(self.started) and not self.is_gone()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be at work inside the block; after it the id counts as gone, though its process lives."""
        _AT_WORK.add(self.id)
        try:
            yield
        finally:
            _AT_WORK.discard(self.id)


@lru_cache(maxsize=1)
def _host() -> str:
    """Return what tells this host's processes from others of the same number.

    Two containers can share the name of a host, or its boot, but not the namespace of processes.
    """
    name = platform.node() or "localhost"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{name}/{boot}/{(_PROC / 'self/ns/pid').readlink().name}"
    except OSError:  # not Linux
        return name


def _start_of(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None where none runs or none is told."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie does no work
