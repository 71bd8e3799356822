"""Pushing to the hub of this machine: private, whole, and the token stays where it is."""

import pytest

from autoprune.errors import HubError
from autoprune.export.push_to_hub import check_target, push

NAME = "org/my-model"
FILES = {"config.json": b"{}", "model.safetensors": b"\0" * 3000, "README.md": b"---\n---\nA card"}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    for name, content in FILES.items():
        made.joinpath(name).write_bytes(content)
    return made


@pytest.fixture(autouse=True)
def quick(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def lying(hub):
    return dict(hub.repos["models", NAME].revisions["main"][1])


@pytest.mark.parametrize("private", [True, False])
def test_a_model_is_uploaded_whole(hub, folder, private):
    assert push(folder, NAME, private) == f"{hub.url}/{NAME}"
    assert lying(hub) == {**FILES, ".gitattributes": b""}
    assert hub.repos["models", NAME].private is private
    assert len([path for _, path in hub.log if "/commit/" in path]) == 1


def test_private_is_the_default(hub, folder):
    push(folder, NAME)
    assert hub.repos["models", NAME].private


def test_what_is_no_part_of_a_model_stays_here(hub, folder):
    folder.joinpath(".env").write_text(f"HF_TOKEN={hub.token}")
    push(folder, NAME)
    assert ".env" not in lying(hub)
    assert [name for name, content in lying(hub).items() if hub.token.encode() in content] == []


def test_a_second_push_replaces_the_first(hub, folder):
    folder.joinpath("model.onnx").write_bytes(b"old")
    push(folder, NAME)
    folder.joinpath("model.onnx").unlink()
    folder.joinpath("config.json").write_bytes(b'{"new": 1}')
    push(folder, NAME)
    assert lying(hub) == {**FILES, "config.json": b'{"new": 1}', ".gitattributes": b""}


def test_nothing_private_goes_where_everyone_looks(hub, folder):
    hub.add(NAME, folder)
    before = lying(hub)
    folder.joinpath("config.json").write_bytes(b"secret")
    with pytest.raises(HubError, match="for everyone to see: push with --public"):
        push(folder, NAME)
    assert lying(hub) == before
    push(folder, NAME, private=False)
    assert lying(hub)["config.json"] == b"secret"


def test_what_is_private_is_not_said_to_be_public(hub, folder):
    push(folder, NAME)
    before = lying(hub)
    folder.joinpath("config.json").write_bytes(b"new")
    with pytest.raises(HubError, match="and private: make it public there first"):
        push(folder, NAME, private=False)
    assert lying(hub) == before


def test_a_hub_that_stumbles_is_asked_again(hub, folder):
    hub.fail("/commit/", 503, 1)
    push(folder, NAME)
    assert lying(hub) == {**FILES, ".gitattributes": b""}


def test_without_a_token_nothing_is_begun(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="needs a token that may write there: set HF_TOKEN"):
        check_target(NAME, True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        check_target(NAME, True)
    assert hub.log == []


def test_a_token_that_may_not_write_is_not_shown(hub, folder, monkeypatch, caplog):
    monkeypatch.setenv("HF_TOKEN", "hf_anotherone")
    with pytest.raises(HubError, match=r"does not let org/my-model be written \(403\)") as refusal:
        push(folder, NAME)
    assert "hf_anotherone" not in str(refusal.value) + caplog.text
    assert ("models", NAME) not in hub.repos
