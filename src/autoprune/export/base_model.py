"""Base model of an export: what its model card says, and how it is found again from an export."""

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
"""The field of an export's card that holds `base` and `commit`, see `fetch_base_model`."""

_MAX_TEXT = 200  # characters of a short field in a card


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model: `hub` is its id on the hub, empty for a folder.

    `license`, `license_link` and `languages` are from its card, empty where the card has none.
    `given_name` is how the user named it, `commit` the version that was used.
    """

    name: str
    hub: str
    license: str
    license_link: str
    languages: tuple[str, ...]
    given_name: str
    commit: str


def read_base_model(checkpoint: EncoderFiles, given_name: str) -> BaseModel:
    """Read the card of the base model, in its folder or on the hub at its commit, if there is one.

    `given_name` is how the user named the model.
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
        given_name=given_name,
        commit=checkpoint.commit,
    )


def fetch_base_model(folder: Path, trust_remote_code: bool = False) -> EncoderFiles:
    """Fetch the base model that the card of the exported model in `folder` names.

    Base models in the cards of other tools are not downloaded: no user asked for that. Raises
    `AutopruneError` where the card names none, or the model is not available or has changed.
    """
    fields = _front_matter(folder / CARD_FILE)
    metadata = fields.get(OWN_METADATA)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, commit = _text(metadata.get("base"), 4096), _text(metadata.get("commit"))
    tags = fields.get("tags")
    if not name and isinstance(tags, list) and OWN_METADATA in tags:  # a card of an older version
        name = _text(fields.get("base_model"))
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
            pass  # without a card nothing is known, and the new card says so
    return checkpoint.folder / CARD_FILE


def _front_matter(path: Path) -> Mapping[str, Any]:
    try:
        return metadata_load(path) or {}
    except Exception:  # a card is free text, and no fault in it may stop an export
        return {}


def _text(value: object, longest: int = _MAX_TEXT) -> str:
    """Return `value` if it is a short text, else "": a card may hold anything in a field."""
    return value if isinstance(value, str) and len(value) <= longest else ""
