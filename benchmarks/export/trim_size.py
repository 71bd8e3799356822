"""Print how much smaller a trimmed vocabulary makes a checkpoint of MahaBERT-v2's shape.

    python benchmarks/export/trim_size.py [TASK] [DATA_DIR] [--corpus FILE] [--formats F,F]

12 layers x 768 and 197,285 tokens as MahaBERT-v2 has, random weights (sizes do not depend on them).
The real tokenizer needs the hub: WordPiece is trained on FILE (a text a line; by
default the task's own texts) and filled up to as many tokens with made-up ones. Real MuRIL tokens
are spread over 17 languages, so a Marathi task uses a smaller share of them than here. The cut is
that of `autoprune export --trim-vocabulary`; saved to disk and loaded again, the model must answer
64 test texts as before. With `--formats` six layers are also written in these formats, by the
exporter itself; printed is what a user carries who takes one of them alone: its files, the
tokenizer and config.json, and beside it the bytes of the tensors by their type.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from autoprune.encoders.config import silence_libraries
from autoprune.encoders.pruning import keep_layers
from autoprune.evaluation.records import installed_versions
from autoprune.export.export import save_model
from autoprune.export.formats import MODEL_FORMATS, files_of_format
from autoprune.export.gate import GateRows, add_formats
from autoprune.export.trim_vocabulary import cut_vocabulary
from autoprune.layouts.layout import Layout
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Columns, Splits, TestSplit
from autoprune.training.problem_types import SINGLE_LABEL

WIDTH, DEPTH, VOCABULARY, ROWS = 768, 12, 197_285, 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LAYOUTS = (Layout.full(DEPTH), Layout(DEPTH, tuple(range(6))))


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """Train WordPiece on `texts` and fill it up to `VOCABULARY` tokens."""
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    numbers: dict[str, int] = trained.get_vocab()
    for index in range(len(numbers), VOCABULARY):
        numbers[f"[made-up-{index}]"] = index
    whole = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    whole.normalizer, whole.pre_tokenizer = trained.normalizer, trained.pre_tokenizer
    whole.post_processor = processors.BertProcessing(
        ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"])
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=whole,
        model_max_length=512,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def random_model(layout: Layout, labels: int) -> PreTrainedModel:
    """Return a classifier with random weights, cut to `layout`."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_labels=labels
    )
    model: PreTrainedModel = BertForSequenceClassification(shape).eval()
    keep_layers(model, layout)
    return model


def logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> torch.Tensor:
    """Return the logits of `texts`, (texts, classes)."""
    with torch.inference_mode():
        found: torch.Tensor = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return found


def measure(
    layout: Layout,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    formats: Sequence[str],
    folder: Path,
) -> dict[str, Any]:
    """Return sizes in bytes, weights and whole folder, before and after the cut in `folder`."""
    texts = list(test.rows.texts[:ROWS])
    model = random_model(layout, len(splits.names))
    before = logits(model, tokenizer, texts)
    plain, trimmed = folder / "plain", folder / "trimmed"
    save_model(model, tokenizer, plain)
    cut, notes = cut_vocabulary(model, tokenizer, splits, test, [])
    save_model(model, cut.tokenizer, trimmed)
    with silence_libraries():
        again = AutoModelForSequenceClassification.from_pretrained(trimmed).eval()
    after = logits(again, AutoTokenizer.from_pretrained(trimmed), texts)
    sizes = {
        name: {
            "weights": (where / "model.safetensors").stat().st_size,
            "folder": sum(path.stat().st_size for path in where.iterdir()),
        }
        for name, where in (("plain", plain), ("trimmed", trimmed))
    }
    rows_left = int(model.get_input_embeddings().weight.shape[0])
    del model, again
    added = measure_formats(trimmed, splits, formats)
    return {
        "layout": str(layout),
        **sizes,
        "share_left": sizes["trimmed"]["weights"] / sizes["plain"]["weights"],
        "largest_difference": float((before - after).abs().max()),
        "tokens_left": rows_left,
        "notes": notes,
        "formats": added,
    }


def measure_formats(folder: Path, splits: Splits, formats: Sequence[str]) -> dict[str, Any]:
    """Add the formats to the model in `folder`; return the bytes of a folder with each alone.

    Random weights have no quality to lose, so the gate allows any loss, on a few rows.
    """
    shared = {
        name: (folder / name).stat().st_size
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    train, validation = (
        replace(rows, texts=rows.texts[:ROWS], labels=rows.labels[:ROWS])
        for rows in (splits.train, splits.validation)
    )
    labels = np.array(validation.labels)
    rows = GateRows(validation, train, validation, labels, SINGLE_LABEL, "accuracy", max_drop=100)
    result = add_formats(folder, formats, rows)
    found: dict[str, Any] = {}
    for name, note in result.notes.items():
        file = folder / MODEL_FORMATS[name].file
        model = sum(path.stat().st_size for path in files_of_format(file))
        tensors = bytes_by_type(file) if file.suffix == ".onnx" else {}
        found[name] = {
            "folder": model + sum(shared.values()),
            "model": model,
            **shared,
            "tensors": tensors,
            "note": note,
        }
    return found | {line.split()[0]: {"refused": line} for line in result.refused}


def bytes_by_type(file: Path) -> dict[str, int]:
    """Return the bytes of an ONNX model's tensors: embedding tables and others, by number type."""
    found: dict[str, int] = {}
    for tensor in onnx.load(file).graph.initializer:
        part = "embeddings" if "embeddings" in tensor.name and len(tensor.dims) > 1 else "others"
        key = f"{part} {onnx.TensorProto.DataType.Name(tensor.data_type).lower()}"
        found[key] = found.get(key, 0) + onnx.numpy_helper.to_array(tensor).nbytes
    return found


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description="How much smaller does a cut vocabulary make it?")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--formats", help="such as onnx-int8,openvino-int8; of six layers")
    parser.add_argument("--save", type=Path, help="leave all models in this folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    task = find_task(arguments.task, Columns())
    splits, test = read_splits(task, arguments.data_dir), read_test(task, arguments.data_dir)
    texts = (*splits.train.texts, *splits.validation.texts, *test.rows.texts)
    tokenizer = train_tokenizer(
        arguments.corpus.open(encoding="utf-8") if arguments.corpus else texts
    )
    head = {"date": time.strftime("%Y-%m-%d"), "task": task.name, "versions": installed_versions()}
    formats = arguments.formats.split(",") if arguments.formats else []
    with tempfile.TemporaryDirectory() as temporary:
        found = [
            measure(
                layout,
                tokenizer,
                splits,
                test,
                formats if len(layout.keep) < DEPTH else (),
                Path(arguments.save or temporary, f"keep{len(layout.keep)}"),
            )
            for layout in LAYOUTS
        ]
    if arguments.json:
        print(json.dumps(head | {"results": found}))
        return
    print(head)
    for result in found:
        plain, trimmed = result["plain"]["weights"] / 1e6, result["trimmed"]["weights"] / 1e6
        print(
            f"{result['layout']}: weights {plain:.0f} MB, trimmed {trimmed:.0f} MB "
            f"({result['share_left']:.1%} left, {result['tokens_left']:,} tokens); largest "
            f"difference of a logit on {ROWS} test texts {result['largest_difference']:.1e}"
        )
        print("   " + " ".join(result["notes"]))
        for name, sizes in result["formats"].items():
            if "refused" in sizes:
                print(f"   {sizes['refused']}")
                continue
            parts = ", ".join(
                f"{part} {size / 1e6:.1f}"
                for part, size in (sizes | sizes["tensors"]).items()
                if isinstance(size, int) and part != "folder"
            )
            print(f"   {name} alone: {sizes['folder'] / 1e6:.1f} MB ({parts})")


if __name__ == "__main__":
    main()
