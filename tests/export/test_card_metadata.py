"""Card metadata: an export's base model is found by its card, or the error says why not."""

import json

import pytest

from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import Encoder, EncoderFiles, find_encoder
from autoprune.errors import AutopruneError
from autoprune.export.card_metadata import (
    BaseModel,
    fetch_base_model,
    read_base_model,
    read_export_metadata,
)
from tiny_models import save_model

BARE = BaseModel("t", "", "", "", (), "", "c")


@pytest.fixture
def export(tmp_path):
    """Return a function that writes the card of an exported folder with the fields given."""

    def export(**fields):
        folder = tmp_path / "export"
        folder.mkdir(exist_ok=True)
        text = "\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
        folder.joinpath("README.md").write_text(f"---\n{text}\n---\n# A card\n")
        return folder

    return export


@pytest.fixture
def base(tmp_path):
    return save_model("bert", tmp_path / "tiny")


def test_base_model_in_a_folder_is_found_by_its_path(export, base):
    commit = fetch(find_encoder(str(base))).commit
    folder = export(autoprune={"base": "./tiny", "commit": commit})
    found = fetch_base_model(folder)
    assert (found.folder, found.encoder.name) == (base, "tiny")


def test_base_model_that_a_card_does_not_name_may_be_named(export, base):
    folder = export(autoprune={"commit": fetch(find_encoder(str(base))).commit, "study": "s"})
    assert fetch_base_model(folder, otherwise="./tiny").folder == base
    assert read_export_metadata(folder).study == "s"
    folder = export(autoprune={"commit": "sha256:0", "study": "s"})
    with pytest.raises(AutopruneError, match="it was made from sha256:0"):
        fetch_base_model(folder, otherwise="./tiny")


def test_base_model_that_changed_is_refused(export, base):
    folder = export(autoprune={"base": str(base), "commit": "sha256:0"})
    with pytest.raises(AutopruneError, match=r"tiny is now sha256:\w+, it was made from sha256:0"):
        fetch_base_model(folder)


def test_base_model_on_the_hub_is_fetched_at_its_commit(export, base, hub):
    old = hub.add("org/tiny", base)
    base.joinpath("tokenizer_config.json").write_text("{}")
    assert hub.add("org/tiny", base) != old
    folder = export(base_model="org/tiny", autoprune={"base": "org/tiny@main", "commit": old})
    assert fetch_base_model(folder).commit == old


def test_base_model_of_an_older_card_is_found_and_of_other_tools_not(export, base, hub):
    now = hub.add("org/tiny", base)
    assert fetch_base_model(export(base_model="org/tiny", tags=["autoprune"])).commit == now
    hub.log.clear()
    with pytest.raises(AutopruneError, match="no card in"):
        fetch_base_model(export(base_model="org/tiny", tags=["bert"]))
    assert hub.log == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no card in .* names it"),
        ({"base_model": ["org/a", "org/b"], "tags": ["autoprune"]}, "no card in .* names it"),
        ({"autoprune": "demo"}, "no card in .* names it"),
        ({"autoprune": {"base": 6, "commit": {}}}, "no card in .* names it"),
        ({"autoprune": {"base": "./gone", "commit": "c"}}, "found none at './gone'"),
        ({"autoprune": {"commit": "c", "study": "s"}}, "a card names no folder of its author"),
        ({"autoprune": {"base": "x" * 5000, "commit": "c"}}, "no card in .* names it"),
        ({"autoprune": {"base": "\n<script>", "commit": "c"}}, "unknown model"),
    ],
)
def test_base_model_that_is_missing_is_an_error(export, fields, message):
    with pytest.raises(AutopruneError, match=message):
        fetch_base_model(export(**fields))


def test_base_model_without_a_card_is_an_error(tmp_path):
    with pytest.raises(AutopruneError, match="no card in"):
        fetch_base_model(tmp_path)


def test_base_model_card_is_read(tmp_path):
    demo = fetch(find_encoder("demo"))
    wanted = BaseModel("demo", "", "mit", "", ("mr",), "demo", demo.commit)
    assert read_base_model(demo, "demo") == wanted


def checkpoint(folder, hub=""):
    return EncoderFiles(Encoder("t", hub or str(folder), "main" if hub else ""), folder, "c", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no front matter",
        "---\nlicense: [a\n---\n",
        "---\n- a\n---\n",
        "---\nlicense: {a: b}\n---",
    ],
)
def test_base_model_card_without_fields_is_accepted(tmp_path, text):
    tmp_path.joinpath("README.md").write_text(text)
    assert read_base_model(checkpoint(tmp_path), "./t") == BARE


def test_base_model_without_a_card_is_accepted(tmp_path):
    assert read_base_model(checkpoint(tmp_path), "./t").license == ""
    tmp_path.joinpath("README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert read_base_model(checkpoint(tmp_path), "./t").license == ""


def test_base_model_card_on_the_hub_is_read_at_its_commit(hub, tmp_path):
    folder = save_model("bert", tmp_path / "tiny")
    folder.joinpath("README.md").write_text("---\nlicense: mit\nlanguage: [mr, en]\n---\n")
    hub.add("org/tiny", folder)
    fetched = fetch(find_encoder("org/tiny"))
    assert not fetched.folder.joinpath("README.md").exists()
    wanted = BaseModel("org/tiny", "org/tiny", "mit", "", ("mr", "en"), "org/tiny", fetched.commit)
    assert read_base_model(fetched, "org/tiny") == wanted


def test_base_model_without_a_card_on_the_hub_is_accepted(hub, tmp_path):
    folder = save_model("bert", tmp_path / "tiny")
    hub.add("org/tiny", folder)
    fetched = fetch(find_encoder("org/tiny"))
    wanted = BaseModel("org/tiny", "org/tiny", "", "", (), "org/tiny", fetched.commit)
    assert read_base_model(fetched, "org/tiny") == wanted
