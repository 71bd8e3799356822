"""Print how much smaller a trimmed vocabulary makes a checkpoint of MahaBERT-v2's shape.

    python benchmarks/export/trim_size.py [TASK] [DATA_DIR] [--corpus FILE] [--json]

12 layers x 768 and 197,285 tokens as MahaBERT-v2 has, random weights (sizes do not depend on them).
The real tokenizer needs the hub: WordPiece is trained on FILE (a text a line; by
default the task's own texts) and filled up to as many tokens with made-up ones. Real MuRIL tokens
are spread over 17 languages, so a Marathi task uses a smaller share of them than here. The cut is
that of `autoprune export --trim-vocabulary`; saved to disk and loaded again, the model must answer
64 test texts as before.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
from autoprune.export.trim_vocabulary import cut_vocabulary
from autoprune.layouts.layout import Layout
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Columns, Splits, TestSplit

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
    layout: Layout, tokenizer: PreTrainedTokenizerBase, splits: Splits, test: TestSplit
) -> dict[str, Any]:
    """Return sizes in bytes, weights and whole folder, before and after the cut."""
    texts = list(test.rows.texts[:ROWS])
    model = random_model(layout, len(splits.names))
    before = logits(model, tokenizer, texts)
    with tempfile.TemporaryDirectory() as folder:
        plain, trimmed = Path(folder, "plain"), Path(folder, "trimmed")
        save_model(model, tokenizer, plain)
        cut, notes = cut_vocabulary(model, tokenizer, splits, test, [])
        save_model(model, cut.tokenizer, trimmed)
        with silence_libraries():
            again = AutoModelForSequenceClassification.from_pretrained(trimmed).eval()
        after = logits(again, AutoTokenizer.from_pretrained(trimmed), texts)
        sizes = {
            name: {
                "weights": (folder / "model.safetensors").stat().st_size,
                "folder": sum(path.stat().st_size for path in folder.iterdir()),
            }
            for name, folder in (("plain", plain), ("trimmed", trimmed))
        }
    return {
        "layout": str(layout),
        **sizes,
        "share_left": sizes["trimmed"]["weights"] / sizes["plain"]["weights"],
        "largest_difference": float((before - after).abs().max()),
        "notes": notes,
    }


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description="How much smaller does a cut vocabulary make it?")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    task = find_task(arguments.task, Columns())
    splits, test = read_splits(task, arguments.data_dir), read_test(task, arguments.data_dir)
    texts = (*splits.train.texts, *splits.validation.texts, *test.rows.texts)
    tokenizer = train_tokenizer(
        arguments.corpus.open(encoding="utf-8") if arguments.corpus else texts
    )
    head = {"date": time.strftime("%Y-%m-%d"), "task": task.name, "versions": installed_versions()}
    found = [measure(layout, tokenizer, splits, test) for layout in LAYOUTS]
    if arguments.json:
        print(json.dumps(head | {"results": found}))
        return
    print(head)
    for result in found:
        plain, trimmed = result["plain"]["weights"] / 1e6, result["trimmed"]["weights"] / 1e6
        print(
            f"{result['layout']}: weights {plain:.0f} MB, trimmed {trimmed:.0f} MB "
            f"({result['share_left']:.1%} left); largest difference of a logit on {ROWS} test "
            f"texts {result['largest_difference']:.1e}"
        )
        print("   " + " ".join(result["notes"]))


if __name__ == "__main__":
    main()
