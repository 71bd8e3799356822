"""Encoder registry: the encoders that have a short name, and how a text names an encoder."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from autoprune.errors import ModelError, OptionError, UnknownNameError
from autoprune.files import expand_home, path_exists


@dataclass(frozen=True, slots=True)
class Encoder:
    """A pre-trained encoder by name.

    `source` is a hub id (`org/name`), a folder, or `package:NAME`; `revision` a branch, tag or
    commit of the hub, empty for folders. `language` and `layers` are told of known ones only.
    """

    name: str
    source: str
    revision: str = ""
    language: str = field(default="", compare=False)
    layers: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """An encoder whose files are complete in `folder`.

    `commit` is the hub's commit, or for a local folder `sha256:` and the digest of its config,
    weights and tokenizer; records store it. `depth` is the number of layers.
    """

    encoder: Encoder
    folder: Path
    commit: str
    depth: int
    trust_remote_code: bool = False

    @property
    def versioned(self) -> str:
        """The encoder's name with its commit."""
        return f"{self.encoder.name}@{self.commit}"


ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        Encoder("mahabert-v2", "l3cube-pune/marathi-bert-v2", "main", "mr", 12),
        Encoder("muril", "google/muril-base-cased", "main", "17 languages of India", 12),
        Encoder("mahabert-small", "l3cube-pune/marathi-bert-small", "main", "mr", 6),
        Encoder("mahabert-smaller", "l3cube-pune/marathi-bert-smaller", "main", "mr", 2),
        Encoder("demo", "package:demo", language="mr", layers=12),
    )
}

# Rivals: models that were pre-trained from scratch at these depths, which a pruned one must beat.
RIVALS: dict[str, dict[int, str]] = {
    "mahabert-v2": {6: "mahabert-small", 2: "mahabert-smaller"},
    "muril": {6: "mahabert-small", 2: "mahabert-smaller"},
}

_REVISION = re.compile(r"(?!.*\.\.)[\w-][\w./-]*", re.ASCII)

_JOINERS = "\u200c\u200d"  # zero width; Marathi, Hindi and others write words with them

_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"

_HUB_ID = re.compile(rf"(?P<id>{_NAME}/{_NAME})(?:@(?P<revision>.+))?", re.ASCII)


def find_encoder(text: str) -> Encoder:
    """Return the encoder that `text` names: a registry name, a folder, or a hub id.

    A registry name or a hub id may be followed by `@` and a branch, tag or commit. Does not use the
    network. Raises `UnknownNameError`, and `ModelError` for a path where there is no folder.

    >>> str(find_encoder("google/muril-base-cased@main"))
    'google/muril-base-cased@main'
    """
    name, _, revision = text.partition("@")
    if name in ENCODERS:
        return _with_revision(ENCODERS[name], revision)
    if text.strip() and _is_printable(text):
        if folder := _folder(text):
            return Encoder(_folder_name(folder), str(folder))
        if text.startswith((".", "/", "~")) or "\\" in text or name.count("/") > 1:
            raise ModelError(
                f"a model is a folder with config.json in it, found none at {_short(text)}"
            )
        if match := _HUB_ID.fullmatch(text):
            encoder = Encoder(match["id"], match["id"], "main")
            return _with_revision(encoder, match["revision"] or "")
    known = [
        *ENCODERS,
        *(f"{organization}/{text[:80]}" for organization in _former_organization(text)),
    ]
    raise UnknownNameError(
        "model", text[:80], known, hint="(or give a folder or a hub id org/name)"
    )


def _former_organization(name: str) -> list[str]:
    """Return the organization of a model that the hub once named without one; else nothing.

    >>> _former_organization("bert-base-uncased"), _former_organization("my-model")
    (['google-bert'], [])
    """
    return [
        organization
        for prefix, organization in (
            ("bert-", "google-bert"),
            ("distilbert-", "distilbert"),
            ("roberta-", "FacebookAI"),
            ("xlm-roberta-", "FacebookAI"),
            ("camembert-", "almanach"),
        )
        if name.startswith(prefix) and "/" not in name
    ]


def package_folder(kind: str, name: str) -> Path:
    """Return a folder of the package `autoprune-demo`; `kind` is `models` or `tasks`.

    Raises `OptionError` where that package is not installed.
    """
    spec = find_spec("autoprune_demo")
    if spec is None or not spec.submodule_search_locations:
        option = {"models": "--model", "tasks": "--task"}[kind]
        raise OptionError(
            f"{option} {name} needs the package autoprune-demo: pip install ./demo in the folder "
            "of autoprune's source"
        )
    return Path(spec.submodule_search_locations[0]) / kind / name


def anchor_model(text: str) -> str:
    """Return the absolute path of a folder that `text` names only by where one stands.

    These are `.`, `..` and the like: elsewhere they are another folder, so that a study could not
    be found again by them. Any other text is returned as it is.
    """
    folder = _folder(text) if text and set(text) <= {".", "/"} else None
    return str(folder) if folder else text


def find_rivals(encoder: Encoder, keep: int) -> list[Encoder]:
    """Return the known rivals of `encoder` pruned to `keep` layers, often none.

    >>> [str(rival) for rival in find_rivals(find_encoder("muril"), 6)]
    ['mahabert-small@main']
    """
    return [
        ENCODERS[by_keep[keep]]
        for name, by_keep in RIVALS.items()
        if ENCODERS[name].source == encoder.source and keep in by_keep
    ]


def distinct_rivals(rivals: Sequence[Encoder], names: Collection[str]) -> list[Encoder]:
    """Return the rivals, each once; raises `OptionError` for one that has one of `names`."""
    distinct = list({(rival.source, rival.revision): rival for rival in rivals}.values())
    taken = set(names)
    for rival in distinct:
        if rival.name in taken:
            raise OptionError(
                f"each rival needs another name in the table, {rival.name!r} ({rival.source}) is "
                "taken: rename its folder"
            )
        taken.add(rival.name)
    return distinct


def _with_revision(encoder: Encoder, revision: str) -> Encoder:
    if not revision:
        return encoder
    if encoder.source.startswith("package:"):
        raise ModelError(
            f"{encoder.name} comes with a package, it has no revision {_short(revision)}"
        )
    if not _REVISION.fullmatch(revision):
        raise ModelError(f"a revision is a branch, tag or commit, got {_short(revision)}")
    return replace(encoder, revision=revision)


def _folder(text: str) -> Path | None:
    """Return the folder at the path `text`, with links resolved; None where there is none."""
    path = expand_home(text)
    try:
        return path.resolve() if path_exists(path) and path.is_dir() else None
    except OSError:  # the working folder is gone, or a loop of links
        return None


def _folder_name(folder: Path) -> str:
    """Return the name of a folder with what a terminal could obey replaced by `_`."""
    return "".join(c if _is_printable(c) else "_" for c in folder.name) or "model"


def _is_printable(text: str) -> bool:
    """Return whether no character of `text` controls a terminal; a joiner is part of a word."""
    return all(c.isprintable() or c in _JOINERS for c in text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:40]}...{text[-40:]}")
