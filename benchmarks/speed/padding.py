"""Print how many of the places that go through the encoder are padding: what packing could save.

    python benchmarks/speed/padding.py [MODEL] [TASK] [DATA_DIR] [--tokens N]

Train rows: five epochs in our batches (sorted by length within chunks of 50), in shuffled batches
padded to their longest row, as a plain data collator makes them, and padded to the limit; and
validation rows, the longest first. Nothing is trained.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.evaluation.records import installed_versions
from autoprune.tasks.tokenization import length_sorted_batches, shuffled_batches
from experiments import ground

EPOCHS = 5

Places = NDArray[np.int64]


def padding(lengths: Places, pieces: Sequence[Places]) -> float:
    """Return which share of the places of `pieces`, rows by number, holds no token."""
    places = sum(len(index) * int(lengths[index].max()) for index in pieces)
    return 1 - sum(int(lengths[index].sum()) for index in pieces) / places


def main() -> None:
    """Count the places of a few epochs."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", nargs="?", default="demo")
    arguments.add_argument("task", nargs="?", default="demo")
    arguments.add_argument("data_dir", nargs="?", type=Path)
    arguments.add_argument("--tokens", type=int)
    asked = arguments.parse_args()
    laid = ground(asked.model, asked.task, asked.data_dir, tokens=asked.tokens)
    batch, rng = laid.quick.batch, np.random.default_rng(0)
    train, validation = laid.inputs.train.lengths, laid.inputs.validation.lengths
    ours, plain = list[Places](), list[Places]()
    for _ in range(EPOCHS):
        ours += shuffled_batches(train, batch, rng)
        order = rng.permutation(len(train))
        plain += [order[first : first + batch] for first in range(0, len(order), batch)]
    print(
        f"{time.strftime('%Y-%m-%d')}, {asked.model} on {asked.task}, {len(train)} train rows of "
        f"{train.mean():.1f} tokens on average, cut to {laid.tokens}, batches of {batch}, "
        f"{installed_versions()}\npadding among the places: ours {padding(train, ours):.1%}, "
        f"validation {padding(validation, length_sorted_batches(validation, batch)):.1%}; "
        f"shuffled batches {padding(train, plain):.1%}, "
        f"padded to the limit {1 - train.mean() / laid.tokens:.1%}"
    )


if __name__ == "__main__":
    main()
