"""Packing: what goes into a model's folder beside its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.artifacts.silence import silence
from autoprune.encoders.cost import count_parameters
from autoprune.scoring.metrics import METRICS
from autoprune.tasks.task import Rows, Splits, TestSplit


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The tokenizer to pack; `numbers`: the base model's tokens in it, None where none went.

    `notes` are sentences on what was cut.
    """

    tokenizer: PreTrainedTokenizerBase
    numbers: dict[int, int] | None = None
    notes: tuple[str, ...] = ()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write config, weights (safetensors) and tokenizer to `folder`."""
    with silence():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def cut(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    corpus: Sequence[Path],
) -> Words:
    """Cut the vocabulary of `model` in place; see `cut_vocabulary`."""
    from autoprune.artifacts.vocabulary import cut_vocabulary

    before = count_parameters(model).total
    vocabulary = cut_vocabulary(model, tokenizer, splits, test, corpus)
    after = count_parameters(model).total
    sizes = f"Weights cut from {before * 4 / 1e6:.1f} to {after * 4 / 1e6:.1f} MB."
    numbers = {int(old): new for new, old in enumerate(vocabulary.kept)}
    return Words(vocabulary.tokenizer, numbers, (vocabulary.note, sizes))


def add_onnx(folder: Path, rows: Rows, test: TestSplit, int8: bool) -> tuple[str, ...]:
    """Add the model in `folder` as ONNX, with `int8` also in 8 bits; return what to say of each.

    `rows` are those on which it must agree with torch. Raises `ModelError` where it does not.
    """
    from autoprune.artifacts.onnx_export import export_onnx, onnx_logits

    done = export_onnx(folder, rows.texts, int8)
    kept, labels = np.array(test.kept), np.array(test.rows.labels)
    said = []
    for file in filter(None, (done.file, done.int8)):
        logits = onnx_logits(file, folder, test.rows.texts)
        share = METRICS["accuracy"](labels[kept], logits[kept].argmax(-1))
        size = file.stat().st_size / 1e6
        said.append(
            f"{file.name}: {size:.1f} MB, accuracy on the cleaned test rows {share * 100:.1f} %."
        )
    return tuple(said)
