"""A small corpus, prepared once, and trainings on it."""

from dataclasses import replace

import numpy as np
import pytest

from autoprune.pretraining.config import PretrainingSchedule, encoder_shape
from autoprune.pretraining.data import scan_corpus
from autoprune.pretraining.model import build_encoder
from autoprune.pretraining.training import (
    PretrainingState,
    pretraining_optimizer,
)
from autoprune.pretraining.workspace import prepare_corpus, read_prepared_corpus
from tiny_models import NUMBERS


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    texts = [" ".join(rng.choice(NUMBERS, 9)) + f" {number}" for number in range(400)]
    path.write_text("\n".join([*texts, texts[0], "", "  "]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def prepared(corpus_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "prepared"
    prepare_corpus(scan_corpus([corpus_file]), None, 150, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["prepared"]
    return read_prepared_corpus(folder, 16)


@pytest.fixture(scope="session")
def shape():
    return encoder_shape(2, 16, 2, 24, 16)


@pytest.fixture(scope="session")
def schedule():
    """Return a schedule of twelve steps."""
    return PretrainingSchedule(
        batch=4, learning_rate=0.01, seed=3, seconds=None, budget_tokens=4 * 16 * 12
    )


@pytest.fixture(scope="session")
def create(prepared, shape, schedule):
    """Return a function that begins a training of so many layers."""

    def create(layers=2):
        model = build_encoder(replace(shape, layers=layers), prepared.tokenizer, schedule.seed)
        return PretrainingState(model, pretraining_optimizer(model))

    return create
