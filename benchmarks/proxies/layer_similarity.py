"""Layer similarity: how layouts rank by how much each kept layer changes the states.

    python benchmarks/proxies/layer_similarity.py MODEL TASK DATA_DIR --study FOLDER

Two cheap scores of a layer, from one pass of `--rows` train rows through the model before any
fine-tuning:

- block influence: 1 minus the mean cosine between a token's states before and after the layer
  (ShortGPT, Men et al. 2024, https://arxiv.org/abs/2403.03853);
- CKA distance: 1 minus the linear centred kernel alignment of these states (Kornblith et al. 2019,
  https://arxiv.org/abs/1905.00414).

A layout's score is the sum over its layers, so that layers which change little are removed first.
Printed for each: the layers' scores, and how the layouts with a quick run of seed 0 in FOLDER
(exhaustive.py) rank by it, as `proxy_values.py` says it.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import collate, length_sorted_batches
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.one_shot import sample_rows
from autoprune.training.proxies import alignment
from experiments import build_default_experiment
from proxy_values import describe_ranking

SEED = 0


def states_of(evaluator: LayoutEvaluator, depth: int, rows: int) -> NDArray[np.float32]:
    """Return each token's state before the first and after each layer, (layers + 1, tokens, h)."""
    model = evaluator.untrained(Layout.full(depth), SEED).eval()
    split = sample_rows(evaluator.rows, rows, SEED)
    parts = []
    for index in length_sorted_batches(split.lengths, evaluator.budget.batch):
        inputs = collate(split, index)
        inputs.pop("labels")
        with torch.inference_mode():
            states = torch.stack(model(**inputs, output_hidden_states=True).hidden_states)
        parts.append(states[:, inputs["attention_mask"].bool()].float().numpy())
    return np.concatenate(parts, axis=1)


def block_influence(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return 1 minus the mean cosine of two states of the same tokens, (tokens, h) each."""
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return 1 - float(np.mean((before * after).sum(axis=1) / norms))


def cka_distance(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return 1 minus the linear centred kernel alignment of two states, (tokens, h) each."""
    first, second = (each.astype(np.float64) - each.mean(axis=0) for each in (before, after))
    return 1 - alignment(first, second)


SCORES = {"block influence": block_influence, "CKA distance": cka_distance}


def main() -> None:
    """Score the layers, and rank the layouts of a table by them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=512)
    arguments = parser.parse_args()

    with (arguments.study / "quick.csv").open() as file:
        last = {run["layout"]: run for run in csv.DictReader(file) if run["seed"] == "0"}
    layouts = [Layout.parse(text) for text in last]
    experiment = build_default_experiment(
        arguments.model, arguments.task, Path(arguments.data_dir), len(layouts[0].keep)
    )
    torch.set_num_threads(1)
    states = states_of(experiment.evaluator(experiment.quick), experiment.depth, arguments.rows)
    for name, score in SCORES.items():
        of_layer = np.array([score(states[at], states[at + 1]) for at in range(experiment.depth)])
        print(f"{name} of each layer: {', '.join(f'{value:.3f}' for value in of_layer)}")
        values = np.array([of_layer[list(layout.keep)].sum() for layout in layouts])
        print(describe_ranking(name, values, list(last.values())))


if __name__ == "__main__":
    main()
