"""The base model of an export: what its own card says, and how it is found again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, metadata_load
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
)

from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import EncoderFiles, find_encoder
from autoprune.errors import ModelError

CARD_FILE = "README.md"

OWN_METADATA = "autoprune"
"""The field of an export's card under which stand `base` and `commit`, see `hub_base_model`."""

_LONGEST = 200  # characters of a word or two in a card


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model: `hub` is its id there, empty for a folder; the rest is what its card says.

    `license`, `license_link` and `languages` are empty where the card does not say. `asked` is
    what the user named it by, `commit` which state of it was used.
    """

    name: str
    hub: str
    license: str
    license_link: str
    languages: tuple[str, ...]
    asked: str
    commit: str


def local_base_model(checkpoint: EncoderFiles, asked: str) -> BaseModel:
    """Read the card of the base model, beside it or on the hub at its commit, if it can be had.

    `asked` is what the user named the model by.
    """
    hub = checkpoint.encoder.source if checkpoint.encoder.revision else ""
    fields = _front_matter(_card(checkpoint, hub))
    languages = fields.get("language") or ()
    listed = isinstance(languages, list | tuple)
    return BaseModel(
        name=checkpoint.encoder.name,
        hub=hub,
        license=_text(fields.get("license")),
        license_link=_text(fields.get("license_link")),
        languages=tuple(filter(None, map(_text, languages if listed else [languages]))),
        asked=asked,
        commit=checkpoint.commit,
    )


def hub_base_model(folder: Path, trust_remote_code: bool = False) -> EncoderFiles:
    """Fetch the base model that the card of the exported model in `folder` names.

    The base models that other tools' cards name are left alone: nobody asked to download them.
    Raises `AutopruneError` where the card names none, it cannot be had, or is not what it was.
    """
    fields = _front_matter(folder / CARD_FILE)
    own = fields.get(OWN_METADATA)
    told = own if isinstance(own, Mapping) else {}
    tags = fields.get("tags")
    ours = isinstance(tags, list) and OWN_METADATA in tags
    name = _text(told.get("base"), 4096) or (_text(fields.get("base_model")) if ours else "")
    commit = _text(told.get("commit"))
    if not name:
        raise ModelError(f"no card in {folder} names it")
    encoder = find_encoder(name)
    if encoder.revision and commit:
        encoder = replace(encoder, revision=commit)
    checkpoint = fetch(encoder, trust_remote_code)
    if commit and checkpoint.commit != commit:
        raise ModelError(f"{name} is now {checkpoint.commit}, it was made from {commit}")
    return checkpoint


def _card(checkpoint: EncoderFiles, hub: str) -> Path:
    if hub:
        try:
            return Path(hf_hub_download(hub, CARD_FILE, revision=checkpoint.commit))
        except (EntryNotFoundError, HfHubHTTPError, HTTPError, OSError, ValueError):
            pass  # a card that cannot be had says nothing, and the new card says so
    return checkpoint.folder / CARD_FILE


def _front_matter(path: Path) -> Mapping[str, Any]:
    try:
        return metadata_load(path) or {}
    except Exception:  # a card is free text, whatever it holds must not stop an export
        return {}


def _text(value: object, longest: int = _LONGEST) -> str:
    """Return a short text, or nothing: cards also hold lists and mappings where a word belongs."""
    return value if isinstance(value, str) and len(value) <= longest else ""
