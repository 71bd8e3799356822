"""A call to the Hugging Face hub: made again where that may help, else explained in one line."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub import constants

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

from autoprune.encoders.folder import first_line
from autoprune.errors import HubError

# Seconds to wait before the second, third, ... attempt.
WAITS: tuple[float, ...] = (1, 2, 4, 8)

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_FAILURES = (HTTPError, EntryNotFoundError, XetDownloadError, OSError, ValueError)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class UnreachableError(HubError):
    """The hub gives no usable answer: what is cached may still serve."""


def call_hub(what: str, call: Callable[[], _T]) -> _T:
    """Return `call()`; on a passing failure wait and call again, at most `len(WAITS)` times.

    `what` names the model or data set in errors. Raises `HubError` that says what to do,
    `UnreachableError` where the hub did not answer.
    """
    for wait in WAITS:
        try:
            return call()
        except _FAILURES as error:
            root = _root(error)
            if not _may_pass(root):
                raise _explained(what, root) from error
            _log.warning("%s: %s; trying again in %g s", what, first_line(root), wait)
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
