"""Encoder registry: how a text names an encoder, without heavy imports."""

import subprocess
import sys

import pytest

from autoprune.encoders.registry import ENCODERS, RIVALS, Encoder, find_encoder, find_rivals
from autoprune.errors import ModelError, UnknownNameError


@pytest.mark.parametrize("name", ENCODERS)
def test_find_encoder_finds_every_name(name):
    assert find_encoder(name) is ENCODERS[name]
    assert ENCODERS[name].name == name


def test_registry_has_the_encoders_of_the_paper():
    assert {name: encoder.source for name, encoder in ENCODERS.items()} == {
        "mahabert-v2": "l3cube-pune/marathi-bert-v2",
        "muril": "google/muril-base-cased",
        "mahabert-small": "l3cube-pune/marathi-bert-small",
        "mahabert-smaller": "l3cube-pune/marathi-bert-smaller",
        "demo": "package:demo",
    }


@pytest.mark.parametrize(
    ("text", "name", "source", "revision"),
    [
        ("google/muril-base-cased", "google/muril-base-cased", "google/muril-base-cased", "main"),
        ("org/name@v1.0", "org/name", "org/name", "v1.0"),
        ("org/name@refs/pr/3", "org/name", "org/name", "refs/pr/3"),
        ("muril@0123abc", "muril", "google/muril-base-cased", "0123abc"),
    ],
)
def test_hub_ids_and_revisions(text, name, source, revision):
    assert find_encoder(text) == Encoder(name, source, revision)


@pytest.mark.parametrize("text", ["muril@main", "org/name@v1.0"])
def test_text_form_of_a_hub_encoder_finds_it_again(text):
    assert str(find_encoder(text)) == text
    assert find_encoder(str(find_encoder(text))) == find_encoder(text)


@pytest.mark.parametrize("text", ["model", "./model", "deep/model", "deep/er/model", "my@model"])
def test_find_encoder_takes_an_existing_folder(tmp_path, text):
    (tmp_path / text).mkdir(parents=True)
    folder = (tmp_path / text).resolve()
    assert find_encoder(text) == Encoder(folder.name, str(folder))
    assert find_encoder(str(folder)) == find_encoder(text)


@pytest.mark.parametrize("text", [".", "./", "../inner", "../inner/", "..//inner", "../link"])
def test_folder_in_which_one_stands_has_its_own_name(tmp_path, monkeypatch, text):
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to("inner")
    monkeypatch.chdir(tmp_path / "inner")
    assert find_encoder(text) == Encoder("inner", str(tmp_path / "inner"))
    assert find_encoder("..") == Encoder(tmp_path.name, str(tmp_path))
    assert find_encoder("/") == Encoder("model", "/")


@pytest.mark.parametrize(
    ("folder", "name"), [("कर्\u200dहाड", "कर्\u200dहाड"), ("a\x1b[2Jb", "a_[2Jb"), ("-x", "-x")]
)
def test_name_of_a_folder_is_safe_in_a_terminal(tmp_path, monkeypatch, folder, name):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    assert find_encoder(".") == Encoder(name, str(tmp_path / folder))


def test_working_folder_that_is_gone_is_an_error_of_one_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ModelError, match=r"a model is a folder with config\.json"):
        find_encoder(".")


def test_find_encoder_expands_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert find_encoder("~/mine").source == str((tmp_path / "mine").resolve())


@pytest.mark.parametrize(
    "text", ["./empty", "../x", "/no/where", "~/no-such", "~nobody/x", "a/b/c", "./" + "x" * 5000]
)
def test_path_without_a_folder_is_an_error_of_one_short_line(text):
    with pytest.raises(ModelError, match=r"a model is a folder with config\.json") as raised:
        find_encoder(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as raised:
        find_encoder("mahabert-v3")
    assert str(raised.value) == (
        "unknown model 'mahabert-v3', did you mean 'mahabert-v2'? "
        "(or give a folder or a hub id org/name)"
    )


@pytest.mark.parametrize(
    "text", ["", " ", "bert-base-uncased", "a\0b", "a\nb", "x" * 5000, "org/", "/@", "a b/c"]
)
def test_other_text_is_an_unknown_name(text):
    with pytest.raises((UnknownNameError, ModelError)) as raised:
        find_encoder(text)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("text", ["muril@../../x", "muril@a b", "org/name@-\x1b[2J", "muril@a..b"])
def test_impossible_revision_is_refused(text):
    with pytest.raises((ModelError, UnknownNameError)):
        find_encoder(text)


def test_packaged_model_has_no_revision():
    with pytest.raises(ModelError, match="comes with a package"):
        find_encoder("demo@main")


@pytest.mark.parametrize("name", ["mahabert-v2", "muril"])
def test_find_rivals_at_the_depths_of_the_small_models(name):
    assert [rival.name for rival in find_rivals(find_encoder(name), 6)] == ["mahabert-small"]
    assert [rival.name for rival in find_rivals(find_encoder(name), 2)] == ["mahabert-smaller"]
    assert find_rivals(find_encoder(name), 4) == []
    assert name in RIVALS


def test_find_rivals_compares_sources():
    assert [str(each) for each in find_rivals(find_encoder("google/muril-base-cased@v1"), 6)] == [
        "mahabert-small@main"
    ]
    assert find_rivals(find_encoder("demo"), 6) == []


def test_registry_needs_no_third_party_package():
    code = (
        "import sys; before = set(sys.modules); import autoprune.encoders.registry; "
        "print({m.partition('.')[0] for m in set(sys.modules) - before}"
        " - sys.stdlib_module_names - {'autoprune'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
