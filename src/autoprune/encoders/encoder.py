"""An encoder's name, and a checkpoint: the encoder as files on this machine."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Encoder:
    """A pre-trained encoder by name.

    `source` is a hub id (`org/name`), a folder, or `package:NAME`; `revision` a branch, tag or
    commit of the hub, empty for folders.
    """

    name: str
    source: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An encoder whose files lie in `folder`, whole.

    `commit` is what the revision resolved to: the hub's commit, or for a folder `sha256:` and the
    digest of its config, weights and tokenizer; a record stores it. `depth` is the layer count.
    """

    encoder: Encoder
    folder: Path
    commit: str
    depth: int
    trust_remote_code: bool = False
