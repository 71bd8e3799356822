"""Built-in encoder: copy a pre-trained one into the demo package, its weights in 16-bit floats.

    python benchmarks/maintenance/built_in.py FOLDER demo/src/autoprune_demo/models/demo

FOLDER is what `autoprune pretrain` wrote. The card and the licence in the target folder are kept.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM

READ_OPTIONS = ("is_local", "local_files_only")  # how the tokenizer was read


def pack(source: Path, target: Path) -> int:
    """Write config, weights and tokenizer to `target`; return the bytes of the weights."""
    model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float16)
    model.save_pretrained(target)
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    name = "tokenizer_config.json"
    config = json.loads((source / name).read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in READ_OPTIONS}
    (target / name).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return (target / "model.safetensors").stat().st_size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    print(f"{pack(arguments.source, arguments.target):,} bytes of weights")
