"""Push to a hub on this machine: private, whole, and the token is never shown."""

import pytest

from autoprune.errors import HubError
from autoprune.export.push_to_hub import check_push_target, push_model

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
def short_waits(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def files_on(hub):
    return dict(hub.repos["models", NAME].revisions["main"][1])


@pytest.mark.parametrize("private", [True, False])
def test_push_uploads_the_whole_model(hub, folder, private):
    assert push_model(folder, NAME, private) == f"{hub.url}/{NAME}"
    assert files_on(hub) == {**FILES, ".gitattributes": b""}
    assert hub.repos["models", NAME].private is private
    assert len([path for _, path in hub.log if "/commit/" in path]) == 1


def test_push_is_private_by_default(hub, folder):
    push_model(folder, NAME)
    assert hub.repos["models", NAME].private


def test_push_uploads_no_other_files(hub, folder):
    folder.joinpath(".env").write_text(f"HF_TOKEN={hub.token}")
    push_model(folder, NAME)
    assert ".env" not in files_on(hub)
    assert [name for name, content in files_on(hub).items() if hub.token.encode() in content] == []


def test_push_replaces_an_earlier_one(hub, folder):
    folder.joinpath("model.onnx").write_bytes(b"old")
    push_model(folder, NAME)
    folder.joinpath("model.onnx").unlink()
    folder.joinpath("config.json").write_bytes(b'{"new": 1}')
    push_model(folder, NAME)
    assert files_on(hub) == {**FILES, "config.json": b'{"new": 1}', ".gitattributes": b""}


def test_push_of_a_private_model_to_a_public_repository_is_refused(hub, folder):
    hub.add(NAME, folder)
    before = files_on(hub)
    folder.joinpath("config.json").write_bytes(b"secret")
    with pytest.raises(HubError, match="and public: push with --public"):
        push_model(folder, NAME)
    assert files_on(hub) == before
    push_model(folder, NAME, private=False)
    assert files_on(hub)["config.json"] == b"secret"


def test_push_of_a_public_model_to_a_private_repository_is_refused(hub, folder):
    push_model(folder, NAME)
    before = files_on(hub)
    folder.joinpath("config.json").write_bytes(b"new")
    with pytest.raises(HubError, match="and private: make it public there first"):
        push_model(folder, NAME, private=False)
    assert files_on(hub) == before


def test_push_is_retried(hub, folder):
    hub.fail("/commit/", 503, 1)
    push_model(folder, NAME)
    assert files_on(hub) == {**FILES, ".gitattributes": b""}


def test_push_without_a_token_or_offline_is_refused_at_once(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="needs a token that may write there: set HF_TOKEN"):
        check_push_target(NAME, True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        check_push_target(NAME, True)
    assert hub.log == []


def test_push_with_a_wrong_token_does_not_show_it(hub, folder, monkeypatch, caplog):
    monkeypatch.setenv("HF_TOKEN", "hf_anotherone")
    with pytest.raises(HubError, match=r"does not let org/my-model be written \(403\)") as refusal:
        push_model(folder, NAME)
    assert "hf_anotherone" not in str(refusal.value) + caplog.text
    assert ("models", NAME) not in hub.repos
