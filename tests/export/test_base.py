"""The base model of an export is found by its card, or it is said why not."""

import json

import pytest

from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import find_encoder
from autoprune.errors import AutopruneError
from autoprune.export.base_model import hub_base_model
from tiny_models import save_model


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
def tiny(tmp_path):
    return save_model("bert", tmp_path / "tiny")


def test_a_folder_is_found_where_the_user_named_it(export, tiny):
    commit = fetch(find_encoder(str(tiny))).commit
    folder = export(autoprune={"base": "./tiny", "commit": commit})
    found = hub_base_model(folder)
    assert (found.folder, found.encoder.name) == (tiny, "tiny")


def test_a_folder_that_holds_another_model_by_now_is_refused(export, tiny):
    folder = export(autoprune={"base": str(tiny), "commit": "sha256:0"})
    with pytest.raises(AutopruneError, match=r"tiny is now sha256:\w+, it was made from sha256:0"):
        hub_base_model(folder)


def test_a_model_of_the_hub_is_fetched_at_the_commit_that_was_used(export, tiny, hub):
    then = hub.add("org/tiny", tiny)
    tiny.joinpath("tokenizer_config.json").write_text("{}")
    assert hub.add("org/tiny", tiny) != then
    folder = export(base_model="org/tiny", autoprune={"base": "org/tiny@main", "commit": then})
    assert hub_base_model(folder).commit == then


def test_an_older_card_of_ours_serves_and_that_of_another_tool_does_not(export, tiny, hub):
    now = hub.add("org/tiny", tiny)
    assert hub_base_model(export(base_model="org/tiny", tags=["autoprune"])).commit == now
    hub.log.clear()
    with pytest.raises(AutopruneError, match="no card in"):
        hub_base_model(export(base_model="org/tiny", tags=["bert"]))
    assert hub.log == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "no card in .* names it"),
        ({"base_model": ["org/a", "org/b"], "tags": ["autoprune"]}, "no card in .* names it"),
        ({"autoprune": "demo"}, "no card in .* names it"),
        ({"autoprune": {"base": 6, "commit": {}}}, "no card in .* names it"),
        ({"autoprune": {"base": "./gone", "commit": "c"}}, "found none at './gone'"),
        ({"autoprune": {"base": "x" * 5000, "commit": "c"}}, "no card in .* names it"),
        ({"autoprune": {"base": "\n<script>", "commit": "c"}}, "unknown model"),
    ],
)
def test_what_cannot_be_found_is_said(export, fields, says):
    with pytest.raises(AutopruneError, match=says):
        hub_base_model(export(**fields))


def test_without_a_card_nothing_is_guessed(tmp_path):
    with pytest.raises(AutopruneError, match="no card in"):
        hub_base_model(tmp_path)
