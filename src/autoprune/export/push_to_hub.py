"""Push to the hub: upload an exported folder in one commit, private unless told otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from autoprune.encoders.hub import call_hub
from autoprune.errors import HubError
from autoprune.export.verify import ALLOWED_FILES

_T = TypeVar("_T")


def check_push_target(name: str, private: bool) -> None:
    """Check, before hours of work, that `name` can be pushed to. Raises `HubError`.

    A private model is not pushed to a public repository, nor a public one to a private repository.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set: unset it to push, or export without --push")
    if get_token() is None:
        raise HubError(f"pushing {name} needs a token that may write there: set HF_TOKEN")
    public = _call_hub(name, lambda: _is_public(name))
    if not private and public is False:
        raise HubError(
            f"{name} is on {constants.ENDPOINT} and private: make it public there first, or push "
            "without --public"
        )
    if private and public:
        raise HubError(
            f"{name} is on {constants.ENDPOINT} and public: push with --public, or under another "
            "name"
        )


def push_model(folder: Path, name: str, private: bool = True) -> str:
    """Upload the model in `folder` as `name` and return its address; raises `HubError`.

    Files of the same kinds that are there already are replaced, and no others.
    """
    check_push_target(name, private)
    api = HfApi()
    address = _call_hub(name, lambda: api.create_repo(name, private=private, exist_ok=True))
    _call_hub(
        name,
        lambda: api.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message="Upload the exported model",
            allow_patterns=list(ALLOWED_FILES),
            delete_patterns=list(ALLOWED_FILES),
        ),
    )
    return str(address)


def _is_public(name: str) -> bool | None:
    """Return whether everyone can see `name`, None where there is no such repository."""
    try:
        return not HfApi().model_info(name).private
    except RepositoryNotFoundError:
        return None


def _call_hub(name: str, call: Callable[[], _T]) -> _T:
    """Return the result of `call`, with retry; raises `HubError`."""

    def attempt() -> _T:
        try:
            return call()
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise HubError(
                    f"{constants.ENDPOINT} does not let {name} be written "
                    f"({error.response.status_code}): set HF_TOKEN to a token that may write there"
                ) from error
            raise

    return call_hub(name, attempt)
