"""Getting an encoder's files onto this machine: from the package, a folder, or the hub."""

import logging
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
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

from autoprune.encoders.files import (
    CONFIG,
    WEIGHTS,
    first_line,
    has_weights,
    pick_weight_files,
    read_checkpoint,
)
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import HubError, ModelError

# Seconds to wait before the second, third, ... attempt.
RETRY_WAITS: tuple[float, ...] = (1, 2, 4, 8)

_PASSING = {408, 425, 429, 500, 502, 503, 504}

_FAILURES = (HTTPError, EntryNotFoundError, XetDownloadError, OSError, ValueError)

_T = TypeVar("_T")


class UnreachableError(HubError):
    """The hub gives no usable answer: what is cached may still serve."""


def call_hub(what: str, call: Callable[[], _T]) -> _T:
    """Return `call()`; on a passing failure wait and call again, at most `len(WAITS)` times.

    `what` names the model or data set in errors. Raises `HubError` that says what to do,
    `UnreachableError` where the hub did not answer.
    """
    for wait in RETRY_WAITS:
        try:
            return call()
        except _FAILURES as error:
            root = _root(error)
            if not _may_pass(root):
                raise _explained(what, root) from error
            logging.getLogger(__name__).warning(
                "%s: %s; trying again in %g s", what, first_line(root), wait
            )
            time.sleep(wait)
    try:
        return call()
    except _FAILURES as error:
        raise _explained(what, _root(error)) from error


def _root(error: BaseException) -> BaseException:
    """Return why the client fell back to its cache, where it reports only that the cache fails."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    if isinstance(error, HTTPError | XetDownloadError):
        return True
    # The client reports a file that came cut short as an OSError without a number.
    return type(error) is OSError and error.errno is None


def _explained(what: str, error: BaseException) -> HubError:
    hub = constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return HubError(f"{what} is gated: ask for access on {hub}, then set HF_TOKEN")
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"{hub} has no {what}, or it is private: check the name, or set HF_TOKEN to a token "
            "that may read it"
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{what} names a revision that is not on {hub}: check it, or leave it out")
    if isinstance(error, HfHubHTTPError):
        return _explained_status(what, error)
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return HubError(
            f"HF_HUB_OFFLINE is set and the cache {constants.HF_HUB_CACHE} does not hold all of "
            f"{what}: unset it once to fetch it, or use local files"
        )
    if isinstance(error, HTTPError | XetDownloadError):
        return UnreachableError(
            f"cannot fetch {what} from {hub} ({type(error).__name__}: {first_line(error)}): check "
            "the network, set HF_ENDPOINT to a mirror, or use local files"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return HubError(
            f"cannot store {what} in {constants.HF_HUB_CACHE} ({error.strerror}): make room, or "
            "name another place in HF_HOME"
        )
    return UnreachableError(
        f"{hub} does not answer as a hub does when asked for {what}: check HF_ENDPOINT and proxy "
        "settings, or use local files"
    )


def _explained_status(what: str, error: HfHubHTTPError) -> HubError:
    hub, status = constants.ENDPOINT, error.response.status_code
    if isinstance(error, EntryNotFoundError):
        file = error.response.url.path.rpartition("/")[2]
        return HubError(
            f"{hub} lists {file} in {what} and does not serve it: try again later, name another "
            "revision, or use local files"
        )
    if status in (401, 403):
        return HubError(
            f"{hub} refuses {what} ({status}): set HF_TOKEN to a token that may read it"
        )
    if status in _PASSING:
        return UnreachableError(
            f"{hub} still answers {status} for {what}: try again later, or use local files"
        )
    return HubError(f"{hub} answers {status} for {what}: check HF_ENDPOINT, or use local files")


_log = logging.getLogger(__name__)

# The hub's own service, which converts pickled weights in an isolated machine and offers the
# result as a pull request: https://huggingface.co/spaces/safetensors/convert
_CONVERTER = "SFconvertbot"

_CONVERSION = "Adding `safetensors` variant"

# Seconds to wait for the hub to tell about a model; files have HF_HUB_DOWNLOAD_TIMEOUT.
_TIMEOUT = 30.0


def fetch(encoder: Encoder, trust_remote_code: bool = False) -> EncoderFiles:
    """Return `encoder` as whole files on this machine, downloading what is not cached yet.

    Only config, safetensors and tokenizer are downloaded, Python files only if trusted. Raises
    `ModelError` where the model is unfit, `HubError` where it cannot be had.
    """
    if encoder.source.startswith("package:"):
        name = encoder.source.removeprefix("package:")
        folder = Path(str(resources.files("autoprune.encoders").joinpath(name)))
        return read_checkpoint(encoder, folder)
    if not encoder.revision:
        folder = Path(encoder.source)
        return read_checkpoint(encoder, folder, trust_remote_code=trust_remote_code)
    folder = _snapshot(encoder, trust_remote_code)
    return read_checkpoint(encoder, folder, folder.name, trust_remote_code)


def _snapshot(encoder: Encoder, trust_remote_code: bool) -> Path:
    """Return the cached folder of a hub model, named after its commit."""
    if constants.HF_HUB_OFFLINE:
        return _cached(encoder)
    try:
        info = _info(encoder, encoder.revision)
    except UnreachableError as error:
        folder = _cached(encoder, error)
        _log.warning("%s; going on with the cached commit %s", error, folder.name)
        return folder
    if not has_weights(_names(info)):
        revision = _converted(encoder, _names(info))
        info = _info(encoder, revision)
        _log.warning("%s has no safetensors: using %s, commit %s", encoder, revision, info.sha)
    folder = _download(encoder, info, pick_weight_files(_names(info), trust_remote_code))
    _note(encoder, folder)
    return folder


def _info(encoder: Encoder, revision: str) -> ModelInfo:
    return call_hub(
        str(encoder),
        lambda: HfApi().model_info(encoder.source, revision=revision, timeout=_TIMEOUT),
    )


def _names(info: ModelInfo) -> list[str]:
    return [sibling.rfilename for sibling in info.siblings or []]


def _download(encoder: Encoder, info: ModelInfo, names: list[str]) -> Path:
    """Download the files `names` of one commit, one by one, each going on where it was cut."""
    if not info.sha or not names:
        raise ModelError(f"a model holds {CONFIG} and {WEIGHTS}, {encoder} on the hub does not")
    get = partial(hf_hub_download, encoder.source, revision=info.sha)
    paths = [call_hub(str(encoder), partial(get, name)) for name in names]
    return Path(paths[0]).parent


def _converted(encoder: Encoder, names: list[str]) -> str:
    """Return the pull request in which the hub's own converter offers safetensors.

    It starts from the main branch, so it stands in for no other revision.
    """
    if CONFIG not in names:
        raise ModelError(f"a model holds {CONFIG} and safetensors, {encoder} on the hub does not")
    if encoder.revision == "main":
        offers = call_hub(
            str(encoder),
            lambda: list(
                HfApi().get_repo_discussions(
                    encoder.source,
                    author=_CONVERTER,
                    discussion_type="pull_request",
                    discussion_status="open",
                )
            ),
        )
        for offer in offers:
            # Anybody may open a pull request: the server's filter is not enough to go by.
            if (
                offer.author == _CONVERTER
                and offer.is_pull_request
                and offer.status == "open"
                and offer.title.startswith(_CONVERSION)
            ):
                return f"refs/pr/{offer.num}"
    raise ModelError(
        f"{encoder} has only pickled weights, which can run code when read: on a machine you "
        f"trust, load and save it with transformers to get {WEIGHTS}, and pass that folder"
    )


def _cached(encoder: Encoder, reason: HubError | None = None) -> Path:
    """Return the cached folder of a hub model without asking the hub; raises `HubError`.

    What this tool fetched whole comes first, then what other tools left in the cache.
    """
    for revision in (_noted(encoder), encoder.revision):
        try:
            # Other files of the commit that some tool has listed need not be there.
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


def _noted(encoder: Encoder) -> str:
    return f"autoprune/{encoder.revision}"


def _note(encoder: Encoder, folder: Path) -> None:
    """Note in the hub's cache which commit, now whole there, a revision stands for."""
    note = folder.parent.parent / "refs" / _noted(encoder)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=note.parent, delete=False) as new:
            new.write(folder.name)
        Path(new.name).replace(note)
    except OSError as error:  # a cache we may only read serves online all the same
        _log.warning("cannot note the commit of %s for offline use: %s", encoder, error.strerror)
