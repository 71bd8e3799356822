"""The base model's own card: under which license it is, and which languages it is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, metadata_load
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
)

from autoprune.encoders.encoder import Checkpoint

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Base:
    """A base model: `hub` is its id there, empty for a folder; the rest is what its card says.

    `license`, `license_link` and `languages` are empty where the card does not say.
    """

    name: str
    hub: str
    license: str
    license_link: str
    languages: tuple[str, ...]


def base_of(checkpoint: Checkpoint) -> Base:
    """Read the card of the base model, beside it or on the hub at its commit, if it can be had."""
    hub = checkpoint.encoder.source if checkpoint.encoder.revision else ""
    fields = _front_matter(_card(checkpoint, hub))
    languages = fields.get("language") or ()
    listed = isinstance(languages, list | tuple)
    return Base(
        name=checkpoint.encoder.name,
        hub=hub,
        license=_text(fields.get("license")),
        license_link=_text(fields.get("license_link")),
        languages=tuple(filter(None, map(_text, languages if listed else [languages]))),
    )


def _card(checkpoint: Checkpoint, hub: str) -> Path:
    if hub:
        try:
            return Path(hf_hub_download(hub, CARD, revision=checkpoint.commit))
        except (EntryNotFoundError, HfHubHTTPError, HTTPError, OSError, ValueError):
            pass  # a card that cannot be had says nothing, and the new card says so
    return checkpoint.folder / CARD


def _front_matter(path: Path) -> Mapping[str, Any]:
    try:
        return metadata_load(path) or {}
    except Exception:  # a card is free text, whatever it holds must not stop an export
        return {}


def _text(value: object) -> str:
    """Return a short text, or nothing: cards also hold lists and mappings where a word belongs."""
    return value if isinstance(value, str) and len(value) <= 200 else ""
