"""Saving: the models of a study, untrained, in a folder that goes away, to be measured."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from autoprune.artifacts.costing import Subject
from autoprune.artifacts.silence import silence
from autoprune.cli.ground import Ground
from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.folder import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.surgery import keep_layers
from autoprune.errors import OptionError
from autoprune.layouts.layout import Layout


@contextmanager
def saved(
    ground: Ground, layouts: Mapping[str, Layout], rivals: tuple[Checkpoint, ...] = ()
) -> Iterator[list[Subject]]:
    """Lend the ground's model cut to each of the named layouts, then the rivals, as saved models.

    They have the task's head; what they cost does not depend on training. Raises `OptionError`
    where there is no room for them.
    """
    with tempfile.TemporaryDirectory(prefix="autoprune-cost-") as drafts:
        try:
            subjects = _all(ground, layouts, rivals, Path(drafts))
        except OSError as error:
            raise OptionError(
                f"cannot save the models in {drafts} ({error.strerror or error}): make room, or "
                "name another place in TMPDIR"
            ) from error
        yield subjects


def _all(
    ground: Ground, layouts: Mapping[str, Layout], rivals: tuple[Checkpoint, ...], drafts: Path
) -> list[Subject]:
    names, subjects = ground.splits.names, []
    for name, layout in layouts.items():
        model = load_classifier(ground.checkpoint, names, 0)
        keep_layers(model, layout)
        subjects.append(_save(name, model, ground.checkpoint, drafts))
    for rival in rivals:
        model = load_classifier(rival, names, 0)
        subjects.append(_save(rival.encoder.name, model, rival, drafts))
    return subjects


def _save(name: str, model: PreTrainedModel, source: Checkpoint, drafts: Path) -> Subject:
    folder = drafts / str(len(list(drafts.iterdir())))
    with silence():
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)
    encoder = replace(source.encoder, source=str(folder))
    return Subject(
        name, read_checkpoint(encoder, folder, trust_remote_code=source.trust_remote_code)
    )
