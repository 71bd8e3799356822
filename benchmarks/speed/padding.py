"""Print which share of the encoder's input positions is padding: what packing could save.

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
from experiments import build_default_experiment

EPOCHS = 5

Positions = NDArray[np.int64]


def padding(lengths: Positions, batches: Sequence[Positions]) -> float:
    """Return which share of the positions of `batches`, rows by number, is padding."""
    positions = sum(len(index) * int(lengths[index].max()) for index in batches)
    return 1 - sum(int(lengths[index].sum()) for index in batches) / positions


def main() -> None:
    """Count the padding of a few epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("task", nargs="?", default="demo")
    parser.add_argument("data_dir", nargs="?", type=Path)
    parser.add_argument("--tokens", type=int)
    arguments = parser.parse_args()
    experiment = build_default_experiment(
        arguments.model, arguments.task, arguments.data_dir, tokens=arguments.tokens
    )
    batch, rng = experiment.quick.batch, np.random.default_rng(0)
    train, validation = experiment.inputs.train.lengths, experiment.inputs.validation.lengths
    ours, plain = list[Positions](), list[Positions]()
    for _ in range(EPOCHS):
        ours += shuffled_batches(train, batch, rng)
        order = rng.permutation(len(train))
        plain += [order[first : first + batch] for first in range(0, len(order), batch)]
    print(
        f"{time.strftime('%Y-%m-%d')}, {arguments.model} on {arguments.task}, "
        f"{len(train)} train "
        f"rows of {train.mean():.1f} tokens on average, "
        f"cut to {experiment.tokens}, batches of {batch}, "
        f"{installed_versions()}\npadding: ours {padding(train, ours):.1%}, "
        f"validation {padding(validation, length_sorted_batches(validation, batch)):.1%}; "
        f"shuffled batches {padding(train, plain):.1%}, "
        f"padded to the limit {1 - train.mean() / experiment.tokens:.1%}"
    )


if __name__ == "__main__":
    main()
