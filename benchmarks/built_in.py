"""Put a pre-trained encoder into the package: its weights in 16-bit floats, and its tokenizer.

    python benchmarks/built_in.py FOLDER src/autoprune/encoders/demo

FOLDER is what `autoprune pretrain` wrote. The card and the licence that lie at the place stay.
"""

import argparse
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def pack(source: Path, place: Path) -> int:
    """Write config, weights and tokenizer to `place`; return the bytes of the weights."""
    model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float16)
    model.save_pretrained(place)
    for name in TOKENIZER:
        shutil.copyfile(source / name, place / name)
    return (place / "model.safetensors").stat().st_size


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("source", type=Path)
    arguments.add_argument("place", type=Path)
    asked = arguments.parse_args()
    print(f"{pack(asked.source, asked.place):,} bytes of weights")
