"""Tiny encoders on disk that a test may damage."""

import json
import shutil

import pytest

from tiny_models import FAMILIES, jitter_, save_model


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """Return a function that saves a tiny pre-trained model of a family and returns its folder."""
    made = {}

    def make(family):
        if family not in made:
            made[family] = save_model(family, tmp_path_factory.mktemp("models") / f"tiny-{family}")
        return made[family]

    return make


@pytest.fixture(params=list(FAMILIES))
def family(request):
    return request.param


@pytest.fixture
def jitter():
    return jitter_


@pytest.fixture
def bert(make_model, tmp_path):
    """Return the folder of a tiny BERT that the test may spoil."""
    return shutil.copytree(make_model("bert"), tmp_path / "tiny")


@pytest.fixture
def edit_config(bert):
    """Return a function that changes fields of the tiny BERT's config."""

    def edit(**fields):
        path = bert / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        return bert

    return edit
