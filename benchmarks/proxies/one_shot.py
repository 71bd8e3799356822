"""Compare the trie with layouts scored one by one, and rank proxies by what they predict.

    python benchmarks/proxies/one_shot.py MODEL TASK DATA_DIR --keep 6 --study studies/NAME [--json]

Times are processor times of one thread. What a proxy predicts: Spearman's rank correlation of its
scores (proxies.csv, from proxy_values.py) with the scores of the trained layouts (quick.csv,
and full.csv where there is one; means over seeds at the last step), with a 95 % bootstrap interval
over layouts.
"""

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.layerwise import replace_layers
from autoprune.encoders.pruning import encoder_layers
from autoprune.evaluation.statistics import rank_correlation
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.tokenization import collate, length_sorted_batches
from autoprune.training.one_shot import build_trie, count_layer_passes, inference, walk_trie
from experiments import build_default_experiment


@contextmanager
def run_as_pruned(model: PreTrainedModel, layout: Layout) -> Iterator[None]:
    """Let `model` run inside the block as if `keep_layers` had pruned it to `layout`.

    The layers are the model's own, so gradients reach them.
    """
    layers = encoder_layers(model)
    with replace_layers(model, layers, [layers[layer] for layer in layout.keep]):
        yield


def compare_speed(experiment: Experiment, batches: int) -> dict[str, float | bool]:
    """Score all layouts on some batches in both ways, in turn; return times and equality."""
    evaluator, depth = experiment.evaluator(experiment.quick), experiment.checkpoint.depth
    layouts = all_layouts(depth, experiment.keep)
    model, root = evaluator.untrained(Layout.full(depth), 0).eval(), build_trie(layouts)
    index = length_sorted_batches(evaluator.validation.lengths, experiment.quick.batch)
    together = alone = 0.0
    equal = True
    for chosen in index[:: max(1, len(index) // batches)][:batches]:
        started = time.process_time()
        results = {
            visit.number: visit.logits()
            for visit in walk_trie(model, root, evaluator.validation, chosen, evaluator.device)
        }
        together += time.process_time() - started
        inputs = collate(evaluator.validation, chosen)
        del inputs["labels"]
        for number, layout in enumerate(layouts):
            with inference(model, evaluator.device), run_as_pruned(model, layout):
                started = time.process_time()
                logits = model(**inputs).logits
                alone += time.process_time() - started
            equal &= torch.equal(logits, results[number])
    return {
        "layouts": len(layouts),
        "layer_passes": count_layer_passes(root),
        "trie_seconds": together,
        "one_by_one_seconds": alone,
        "times_faster": alone / together,
        "bit_identical": equal,
    }


def rank_correlations(study: Path) -> list[dict[str, float | str]]:
    """Return each proxy's rank correlations with each table of trained layouts."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_rows(study / "proxies.csv"):
        values[row["proxy"]][row["layout"]] = float(row["value"])
    results: list[dict[str, float | str]] = []
    for name in ("quick", "full"):
        for column, sign in (("validation_accuracy", 1), ("validation_loss", -1)):
            reached = read_trained_scores(study / f"{name}.csv", column)
            for proxy, by_layout in values.items():
                both = [layout for layout in reached if layout in by_layout]
                if len(both) < 10:
                    continue
                pairs = np.array([(by_layout[text], sign * reached[text]) for text in both])
                correlation = rank_correlation(*pairs.T)
                assert correlation is not None, "scores differ"
                results.append(
                    {
                        "proxy": proxy,
                        "budget": name,
                        "against": column,
                        "layouts": len(both),
                        "spearman": correlation.correlation,
                        "low": correlation.low,
                        "high": correlation.high,
                    }
                )
    return results


def read_trained_scores(table: Path, column: str) -> dict[str, float]:
    """Return each layout's mean over seeds of `column` at the last step."""
    last = {(row["layout"], row["seed"]): float(row[column]) for row in read_rows(table)}
    by_layout = defaultdict(list)
    for (layout, _), value in last.items():
        by_layout[layout].append(value)
    return {layout: float(np.mean(each)) for layout, each in by_layout.items()}


def read_rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def main() -> None:
    """Print the speed of the trie, the costs of the proxies and their rank correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        parser.add_argument(name)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    costs = json.loads((arguments.study / "proxies.json").read_text())
    ranks = rank_correlations(arguments.study)
    experiment = build_default_experiment(
        arguments.model, arguments.task, Path(arguments.data_dir), arguments.keep
    )
    torch.set_num_threads(1)
    trie = compare_speed(experiment, arguments.batches)
    if arguments.json:
        print(json.dumps({"trie": trie, "costs": costs, "correlations": ranks}))
        return
    print(
        f"{trie['layouts']} layouts, {trie['layer_passes']} layer passes: "
        f"{trie['trie_seconds']:.1f} s against {trie['one_by_one_seconds']:.1f} s one by one, "
        f"{trie['times_faster']:.2f} times faster, "
        f"{'bit-identical' if trie['bit_identical'] else 'NOT equal'}"
    )
    for name, cost in costs.items():
        print(f"{name}: {cost['seconds']} s, {cost['full_fine_tunes']} full fine-tunes")
    for rank in ranks:
        print(
            f"{rank['proxy']:14} {rank['budget']:5} {rank['against']:20} {rank['layouts']:4} "
            f"layouts  {rank['spearman']:+.2f} ({rank['low']:+.2f} to {rank['high']:+.2f})"
        )


if __name__ == "__main__":
    main()
