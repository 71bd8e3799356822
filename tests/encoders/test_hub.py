"""Hub: failures are retried or explained, and only safe files are requested."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.registry import ENCODERS, find_encoder
from autoprune.errors import HubError, ModelError
from autoprune.retry import RETRY_WAITS

NAME = "org/tiny"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Note the seconds to wait between attempts, ours and the client library's, and go on."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture
def served(hub, bert):
    """Serve the tiny BERT, with files beside it that nobody should ask for."""
    (bert / "pytorch_model.bin").write_bytes(b"a pickle")
    (bert / "modeling.py").write_text("raise SystemExit")
    (bert / "onnx").mkdir()
    (bert / "onnx" / "config.json").write_text("{}")
    hub.commit = hub.add(NAME, bert)
    return hub


def refused(match, name=NAME, error=HubError):
    """`fetch` refuses the model in one line."""
    with pytest.raises(error, match=match) as raised:
        fetch(find_encoder(name))
    assert "\n" not in str(raised.value)


def test_fetch_stores_the_commit_and_requests_safe_files_only(served):
    checkpoint = fetch(find_encoder(NAME))
    assert (checkpoint.commit, checkpoint.depth) == (served.commit, 5)
    assert str(checkpoint.encoder) == "org/tiny@main"
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert served.files_got() == wanted
    assert {path.name for path in checkpoint.folder.iterdir()} == wanted
    load_classifier(checkpoint, ["a", "b"], 0)
    assert load_tokenizer(checkpoint)("एक दोन")["input_ids"] == [2, 5, 6, 3]


def test_remote_code_is_fetched_only_if_trusted(served):
    fetch(find_encoder(NAME), trust_remote_code=True)
    assert "modeling.py" in served.files_got()
    assert "pytorch_model.bin" not in served.files_got()


def test_every_registry_entry_is_fetched_from_its_source(hub, bert):
    on_hub = [encoder for encoder in ENCODERS.values() if encoder.revision]
    for encoder in on_hub:
        commit = hub.add(encoder.source, bert)
        assert fetch(encoder).commit == commit
    assert len(on_hub) == len(ENCODERS) - 1  # the demo is in a package of its own


def test_a_branch_and_a_commit_are_fetched(served, edit_config):
    other = served.add(NAME, edit_config(hidden_act="relu"), revision="v2/beta")
    assert other != served.commit
    assert fetch(find_encoder(f"{NAME}@v2/beta")).commit == other
    assert fetch(find_encoder(f"{NAME}@{served.commit}")).commit == served.commit


def test_sharded_weights_are_fetched_completely(hub, make_model, tmp_path):
    from transformers import AutoModel

    folder = tmp_path / "sharded"
    AutoModel.from_pretrained(make_model("bert")).save_pretrained(folder, max_shard_size="8KB")
    (folder / "tokenizer.json").write_bytes((make_model("bert") / "tokenizer.json").read_bytes())
    hub.add(NAME, folder)
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert len(shards) > 1
    load_classifier(fetch(find_encoder(NAME)), ["a", "b"], 0)
    assert shards < hub.files_got()


def test_cached_model_is_found_again_offline(served, monkeypatch):
    first = fetch(find_encoder(NAME))
    asked = len(served.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(find_encoder(NAME)) == first
    assert fetch(find_encoder(f"{NAME}@{served.commit}")).commit == first.commit
    assert len(served.log) == asked


def test_model_missing_offline_is_explained(served, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(r"HF_HUB_OFFLINE is set and the cache .* unset it")
    assert served.log == []


def test_incomplete_download_is_not_used_offline(served, monkeypatch):
    served.hidden.add("model.safetensors")
    refused("lists model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("does not hold org/tiny@main")


@pytest.mark.parametrize("status", [503, 500, 429])
@pytest.mark.parametrize("part", ["/api/models/org/tiny", "model.safetensors", "config.json"])
def test_transient_failure_is_retried(served, status, part):
    served.fail(part, status=status, times=2)
    assert fetch(find_encoder(NAME)).commit == served.commit
    assert served.failures[0].times == 0


def test_cut_connection_is_resumed(served, bert):
    served.cut("model.safetensors", after=1000, times=2)
    checkpoint = fetch(find_encoder(NAME))
    assert served.failures[0].times == 0
    whole = (bert / "model.safetensors").read_bytes()
    assert (checkpoint.folder / "model.safetensors").read_bytes() == whole


def test_connection_that_is_always_cut_is_explained(served):
    served.cut("model.safetensors", after=0, times=1000)
    refused(r"cannot fetch org/tiny@main from .* check the network")


def test_hub_that_stays_down_is_explained_after_growing_waits(served, waits):
    served.fail("/api/", status=503, times=1000)
    refused("still answers 503 for org/tiny@main: try again")
    assert len(served.log) == len(RETRY_WAITS) + 1
    assert tuple(waits) == RETRY_WAITS == tuple(sorted(set(RETRY_WAITS)))


def test_hub_that_goes_down_is_replaced_by_the_cache(served, caplog):
    first = fetch(find_encoder(NAME))
    served.fail("/api/", status=503, times=1000)
    assert fetch(find_encoder(NAME)) == first
    assert f"using the cached commit {first.commit}" in caplog.text


def test_missing_file_is_explained_at_once(served):
    served.hidden.add("tokenizer.json")
    refused(r"lists tokenizer.json in org/tiny@main and does not")
    assert sum("tokenizer.json" in path for _, path in served.log) == 1


def test_unknown_repository_is_explained_at_once(hub):
    refused("has no org/none@main, or it is private", "org/none")
    assert len(hub.log) == 1


def test_unknown_revision_is_explained(served):
    refused("org/tiny@v9 names a revision that is not on", f"{NAME}@v9")


def test_gated_repository_asks_for_a_token(served, monkeypatch):
    served.repos["models", NAME].gated = True
    refused(r"is gated: ask for access .* set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(find_encoder(NAME)).commit == served.commit


def test_unreachable_endpoint_is_explained(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused("check the network, set HF_ENDPOINT")


def test_endpoint_that_is_no_hub_is_explained(served, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", f"{served.url}/portal")
    refused(r"does not answer as a hub does .* check HF_ENDPOINT")


def test_cache_that_cannot_be_written_is_explained(served, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    refused(r"cannot store org/tiny@main in .* HF_HOME")


@pytest.fixture
def pickled(hub, bert, tmp_path):
    """Serve a tiny BERT with pickled weights only; return the folder with safetensors, too."""
    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((bert / name).read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    hub.add(NAME, folder)
    return bert


TITLE = "Adding `safetensors` variant of this model"


def test_conversion_by_the_hubs_bot_is_used(hub, pickled, caplog, monkeypatch):
    commit = hub.propose(NAME, pickled, "SFconvertbot", TITLE, "open")
    checkpoint = fetch(find_encoder(NAME))
    assert checkpoint.commit == commit
    assert f"using refs/pr/1, commit {commit}" in caplog.text
    assert "pytorch_model.bin" not in hub.files_got()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(find_encoder(NAME)) == checkpoint


@pytest.mark.parametrize(
    ("author", "title", "status"),
    [
        ("SFconvertbot2", TITLE, "open"),
        ("mallory", TITLE, "open"),
        ("SFconvertbot", "Better weights", "open"),
        ("SFconvertbot", TITLE, "closed"),
    ],
)
def test_other_pull_requests_are_not_used(hub, pickled, author, title, status):
    hub.propose(NAME, pickled, author, title, status)
    refused("org/tiny@main has only pickled weights", error=ModelError)
    assert hub.files_got() == set()


def test_conversion_is_not_used_for_another_revision(hub, pickled, tmp_path):
    hub.add(NAME, tmp_path / "pickled", revision="v1")
    hub.propose(NAME, pickled, "SFconvertbot", TITLE, "open")
    refused("org/tiny@v1 has only pickled weights", f"{NAME}@v1", error=ModelError)


@pytest.mark.slow
def test_environment_variables_of_the_hub_are_used(served, tmp_path):
    code = (
        "from autoprune.encoders.hub import fetch\n"
        "from autoprune.encoders.registry import find_encoder\n"
        "checkpoint = fetch(find_encoder('org/tiny'))\n"
        "print(checkpoint.commit, checkpoint.folder, sep='\\n')\n"
    )
    home = tmp_path / "home"
    environment = {**os.environ, "HF_ENDPOINT": served.url, "HF_HOME": str(home)}
    run = [sys.executable, "-c", code]
    first = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    commit, folder = first.stdout.split("\n")[:2]
    assert commit == served.commit
    assert Path(folder).is_relative_to(home)
    asked = len(served.log)
    environment |= {"HF_HUB_OFFLINE": "1"}
    second = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
    assert len(served.log) == asked
