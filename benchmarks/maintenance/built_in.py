"""Put a pre-trained encoder into the package: its weights in 16-bit floats, and its tokenizer.

    python benchmarks/maintenance/built_in.py FOLDER src/autoprune/encoders/demo

FOLDER is what `autoprune pretrain` wrote. The card and the licence that lie at the place stay.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM

HERE = ("is_local", "local_files_only")  # how the tokenizer was read, which is no trait of it


def pack(source: Path, place: Path) -> int:
    """Write config, weights and tokenizer to `place`; return the bytes of the weights."""
    model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float16)
    model.save_pretrained(place)
    shutil.copyfile(source / "tokenizer.json", place / "tokenizer.json")
    name = "tokenizer_config.json"
    config = json.loads((source / name).read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in HERE}
    (place / name).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return (place / "model.safetensors").stat().st_size


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("source", type=Path)
    arguments.add_argument("place", type=Path)
    asked = arguments.parse_args()
    print(f"{pack(asked.source, asked.place):,} bytes of weights")
