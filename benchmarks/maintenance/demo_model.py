"""Demo encoder: cut a pre-trained one to what the demo's headlines need, in 16-bit floats.

    python benchmarks/maintenance/demo_model.py FOLDER demo/src/autoprune_demo/models/demo

FOLDER has the encoder and its tokenizer. All layers stay; of the vocabulary the pieces of the
headlines, single characters of Devanagari and ASCII; of the positions the first 128. The card and
the licence in the target folder are kept.
"""

import argparse
import json
import string
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from autoprune.export.trim_vocabulary import trim_tokenizer
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import TASKS

POSITIONS = 128
READ_OPTIONS = ("is_local", "local_files_only")  # how the tokenizer was read


def cut_positions(model: PreTrainedModel) -> None:
    """Leave the first `POSITIONS` position embeddings of a BERT."""
    embeddings = model.embeddings
    rows = embeddings.position_embeddings.weight.detach()[:POSITIONS].clone()
    embeddings.position_embeddings = nn.Embedding.from_pretrained(rows, freeze=False)
    embeddings.position_ids = embeddings.position_ids[:, :POSITIONS]
    embeddings.token_type_ids = embeddings.token_type_ids[:, :POSITIONS]
    model.config.max_position_embeddings = POSITIONS


def write_demo(source: Path, target: Path) -> int:
    """Write config, weights and tokenizer to `target`; return the bytes of the folder."""
    splits, test = read_splits(TASKS["demo"]), read_test(TASKS["demo"])
    texts = [*splits.train.texts, *splits.validation.texts, *test.rows.texts]
    model = AutoModel.from_pretrained(source, dtype=torch.float32, add_pooling_layer=False)
    tokenizer = AutoTokenizer.from_pretrained(source)
    alphabet = " ".join(string.ascii_letters)  # Latin is a script in use, by its ASCII letters
    cut = trim_tokenizer(
        model,
        tokenizer,
        [*texts, alphabet],
        texts,
        keeps=lambda text: text.isascii() or "\u0900" <= text[0] <= "\u097f",
    )
    cut_positions(model)
    model.to(torch.float16).save_pretrained(target)
    cut.tokenizer.model_max_length = POSITIONS
    cut.tokenizer.save_pretrained(target)
    file = target / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in READ_OPTIONS}
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(f"{cut.after:,} of {cut.before:,} tokens")
    return sum(path.stat().st_size for path in target.iterdir())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    print(f"{write_demo(arguments.source, arguments.target):,} bytes")
