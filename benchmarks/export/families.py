"""Print which formats each tested family of models passes, or why one is refused.

    python benchmarks/export/families.py [FAMILY ...]

Tiny untrained classifiers of each family in tests/tiny_models.py, cut to two layers, go through the
gate of `autoprune export`. The labels are what the model in torch predicts, so points of accuracy
are rows that a format with fewer bits labels otherwise. The table is in docs/guides/export.md, and
a soak test in tests/export/test_gate.py compares it.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.pruning import keep_layers
from autoprune.encoders.registry import Encoder
from autoprune.export import reload
from autoprune.export.export import save_model
from autoprune.export.formats import MODEL_FORMATS, TRANSFORMERS, predict_rows
from autoprune.export.gate import GateResult, GateRows, add_formats
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows
from autoprune.training.problem_types import SINGLE_LABEL

sys.path.append(str(Path(__file__).parents[2] / "tests"))
tiny_models: Any = import_module("tiny_models")

FORMATS = [name for name in MODEL_FORMATS if name != TRANSFORMERS]
TEXTS = tuple(" ".join(tiny_models.NUMBERS[row % 6 : row % 6 + 1 + row % 5]) for row in range(60))
MAX_DROP = 10.0  # points; an untrained model is unsure of many rows


def try_family(family: str, folder: Path) -> GateResult:
    """Return what the gate says of each format of a tiny model."""
    encoder = tiny_models.save_model(family, folder / "encoder")
    checkpoint = read_checkpoint(Encoder(family, str(encoder)), encoder)
    model, tokenizer = load_classifier(checkpoint, ("a", "b", "c"), 0), load_tokenizer(checkpoint)
    tiny_models.jitter_(model, 0.2)
    keep_layers(model, Layout(tiny_models.DEPTH, (0, 2)))
    tokenizer.model_max_length, tokenizer.padding_side = 12, "right"
    saved = folder / "model"
    save_model(model, tokenizer, saved)
    rows = LabelledRows(TEXTS, (0,) * len(TEXTS))
    forward = MODEL_FORMATS[TRANSFORMERS].opener(saved / MODEL_FORMATS[TRANSFORMERS].file)
    labels = np.asarray(SINGLE_LABEL.predict(predict_rows(forward, saved, rows)))
    gate = GateRows(rows, rows, rows, labels, SINGLE_LABEL, "accuracy", MAX_DROP)
    return add_formats(saved, FORMATS, gate, _run_here)


def _run_here(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a format in this process: a new one each time would double the time."""
    return reload.format_logits(**arguments)


def table_row(family: str, result: GateResult) -> str:
    """Return a family's row of the table."""
    cells = ["passes" if name in result.notes else "refused" for name in FORMATS]
    return f"| {family} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, and below it the reasons."""
    parser = argparse.ArgumentParser(description="Which formats does each family pass?")
    parser.add_argument("families", nargs="*", default=[*tiny_models.FAMILIES])
    torch.set_num_threads(1)
    print(f"| family | {' | '.join(FORMATS)} |\n|{'---|' * (len(FORMATS) + 1)}", flush=True)
    reasons = []
    for family in parser.parse_args().families:
        with tempfile.TemporaryDirectory() as folder:
            result = try_family(family, Path(folder))
        print(table_row(family, result), flush=True)
        reasons += [f"- {family}: {line}" for line in result.refused]
    print("", *reasons, sep="\n")


if __name__ == "__main__":
    main()
