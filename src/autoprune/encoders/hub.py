"""Hugging Face Hub: get an encoder's files from the hub, from a folder or from the package."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_download, snapshot_download

# HTTPError is the base of the client's transport errors; which library it comes from (httpx,
# httpx2) differs with the version of huggingface_hub.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from autoprune.encoders.config import CONFIG
from autoprune.encoders.files import (
    WEIGHTS,
    has_weights,
    pick_weight_files,
    read_checkpoint,
)
from autoprune.encoders.registry import Encoder, EncoderFiles, package_folder
from autoprune.errors import HubError, ModelError, first_line
from autoprune.files import atomic_file
from autoprune.retry import call_with_retry

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}

_FAILURES = (HTTPError, EntryNotFoundError, XetDownloadError, OSError, ValueError)

# The hub's own service, which converts pickled weights on an isolated machine and offers the
# result as a pull request: https://huggingface.co/spaces/safetensors/convert
_CONVERTER = "SFconvertbot"

_CONVERSION_TITLE = "Adding `safetensors` variant"

_COMPLETE = "autoprune/{}"  # our name in the hub's cache for a commit that is there completely

_TIMEOUT = 30.0  # seconds for the hub's answer about a model; files have HF_HUB_DOWNLOAD_TIMEOUT


class UnreachableError(HubError):
    """The hub gives no usable answer; a cached copy may still serve."""


def fetch(encoder: Encoder, trust_remote_code: bool = False) -> EncoderFiles:
    """Return the files of `encoder` on this machine; downloads what is not cached yet.

    Only config, safetensors and tokenizer are downloaded, Python files only if trusted. Raises
    `ModelError` where the model cannot be used, `HubError` where it cannot be downloaded.
    """
    if encoder.source.startswith("package:"):
        name = encoder.source.removeprefix("package:")
        return read_checkpoint(encoder, package_folder("models", name))
    if not encoder.revision:
        folder = Path(encoder.source)
        return read_checkpoint(encoder, folder, trust_remote_code=trust_remote_code)
    folder = _snapshot(encoder, trust_remote_code)
    return read_checkpoint(encoder, folder, folder.name, trust_remote_code)


def call_hub(subject: str, call: Callable[[], _T]) -> _T:
    """Return `call()`; a transient failure is retried with growing waits.

    `subject` names the model or data set in errors. Raises `HubError` with the remedy,
    `UnreachableError` where the hub did not answer.
    """
    try:
        return call_with_retry(partial(_raise_cause, call), _is_transient, subject)
    except _FAILURES as error:
        raise _to_hub_error(subject, error) from error


def _raise_cause(call: Callable[[], _T]) -> _T:
    """Return `call()`; where the client reports a cache miss only, raise what it follows from."""
    try:
        return call()
    except LocalEntryNotFoundError as error:
        raise error.__cause__ or error from None


def _is_transient(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _TRANSIENT_STATUS
    if isinstance(error, HTTPError | XetDownloadError):
        return True
    # The client reports a file that was cut short as an OSError without a number.
    return type(error) is OSError and error.errno is None


def _to_hub_error(subject: str, error: Exception) -> HubError:
    hub = constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return HubError(f"{subject} is gated: ask for access on {hub}, then set HF_TOKEN")
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"{hub} has no {subject}, or it is private: check the name, or set HF_TOKEN to a token "
            "that may read it"
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"{subject} names a revision that is not on {hub}: check it, or leave it out"
        )
    if isinstance(error, HfHubHTTPError):
        return _status_to_hub_error(subject, error)
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return HubError(
            f"HF_HUB_OFFLINE is set and the cache {constants.HF_HUB_CACHE} does not hold all of "
            f"{subject}: unset it once to fetch it, or use local files"
        )
    if isinstance(error, HTTPError | XetDownloadError):
        return UnreachableError(
            f"cannot fetch {subject} from {hub} ({type(error).__name__}: {first_line(error)}): "
            "check the network, set HF_ENDPOINT to a mirror, or use local files"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return HubError(
            f"cannot store {subject} in {constants.HF_HUB_CACHE} ({error.strerror}): make room, or "
            "name another folder in HF_HOME"
        )
    return UnreachableError(
        f"{hub} does not answer as a hub does when asked for {subject}: check HF_ENDPOINT and "
        "proxy settings, or use local files"
    )


def _status_to_hub_error(subject: str, error: HfHubHTTPError) -> HubError:
    hub, status = constants.ENDPOINT, error.response.status_code
    if isinstance(error, EntryNotFoundError):
        file = error.response.url.path.rpartition("/")[2]
        return HubError(
            f"{hub} lists {file} in {subject} and does not serve it: try again later, name another "
            "revision, or use local files"
        )
    if status in (401, 403):
        return HubError(
            f"{hub} refuses {subject} ({status}): set HF_TOKEN to a token that may read it"
        )
    if status in _TRANSIENT_STATUS:
        return UnreachableError(
            f"{hub} still answers {status} for {subject}: try again later, or use local files"
        )
    return HubError(f"{hub} answers {status} for {subject}: check HF_ENDPOINT, or use local files")


def _snapshot(encoder: Encoder, trust_remote_code: bool) -> Path:
    """Return the cached folder of a hub model, which is named after its commit."""
    if constants.HF_HUB_OFFLINE:
        return _cached_folder(encoder)
    try:
        info = _model_info(encoder, encoder.revision)
    except UnreachableError as error:
        folder = _cached_folder(encoder, error)
        _log.warning("%s; using the cached commit %s", error, folder.name)
        return folder
    if not has_weights(_file_names(info)):
        revision = _converted_revision(encoder, _file_names(info))
        info = _model_info(encoder, revision)
        _log.warning("%s has no safetensors: using %s, commit %s", encoder, revision, info.sha)
    names = pick_weight_files(_file_names(info), trust_remote_code)
    if not info.sha or not names:
        raise ModelError(f"a model holds {CONFIG} and {WEIGHTS}, {encoder} on the hub does not")
    download = partial(hf_hub_download, encoder.source, revision=info.sha)  # resumes what was cut
    paths = [call_hub(str(encoder), partial(download, name)) for name in names]
    folder = Path(paths[0]).parent
    _mark_complete(encoder, folder)
    return folder


def _model_info(encoder: Encoder, revision: str) -> ModelInfo:
    ask = partial(HfApi().model_info, encoder.source, revision=revision, timeout=_TIMEOUT)
    return call_hub(str(encoder), ask)


def _file_names(info: ModelInfo) -> list[str]:
    return [sibling.rfilename for sibling in info.siblings or []]


def _converted_revision(encoder: Encoder, names: list[str]) -> str:
    """Return the pull request in which the hub's own converter offers safetensors.

    It is made from the main branch, so it cannot replace another revision.
    """
    if CONFIG not in names:
        raise ModelError(f"a model holds {CONFIG} and safetensors, {encoder} on the hub does not")
    if encoder.revision == "main":
        find = partial(HfApi().get_repo_discussions, encoder.source, author=_CONVERTER)
        for offer in call_hub(str(encoder), lambda: list(find())):
            # Anybody may open a pull request: the server's filter alone is not enough.
            is_conversion = offer.author == _CONVERTER and offer.title.startswith(_CONVERSION_TITLE)
            if is_conversion and offer.is_pull_request and offer.status == "open":
                return f"refs/pr/{offer.num}"
    raise ModelError(
        f"{encoder} has only pickled weights, which can run code when read: on a machine you "
        f"trust, load and save it with transformers to get {WEIGHTS}, and pass that folder"
    )


def _mark_complete(encoder: Encoder, folder: Path) -> None:
    """Store in the hub's cache which commit of a revision was downloaded completely."""
    file = folder.parent.parent / "refs" / _COMPLETE.format(encoder.revision)
    try:
        with atomic_file(file) as temporary:
            temporary.write_text(folder.name)
    except OSError as error:  # a read-only cache still serves while the hub can be reached
        _log.warning("cannot note the commit of %s for offline use: %s", encoder, error.strerror)


def _cached_folder(encoder: Encoder, reason: HubError | None = None) -> Path:
    """Return the cached folder of a hub model without asking the hub; raises `HubError`.

    A commit that was downloaded completely comes first, then what other tools left in the cache.
    """
    for revision in (_COMPLETE.format(encoder.revision), encoder.revision):
        try:
            # Without a pattern, every file of the commit that some tool has listed must be there.
            folder = Path(
                snapshot_download(
                    encoder.source,
                    revision=revision,
                    allow_patterns=[CONFIG],
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            continue
        if has_weights(path.name for path in folder.iterdir()):
            return folder
    raise reason or HubError(
        f"HF_HUB_OFFLINE is set and the cache {constants.HF_HUB_CACHE} does not hold {encoder}: "
        "unset it once to fetch the model, or pass a local folder"
    )
