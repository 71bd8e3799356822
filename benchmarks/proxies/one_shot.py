"""Measure the trie against layouts scored one by one, and what each cheap score is worth.

    python benchmarks/proxies/one_shot.py MODEL TASK DATA_DIR --keep 6 --study studies/NAME [--json]

Times are the processor's, one thread. What a score is worth: Spearman's rank correlation of its
values (proxies.csv, from proxy_values.py) with what the layouts reached when trained (quick.csv,
and full.csv where there is one; means over seeds at the last step), with a 95 % bootstrap interval
over layouts.
"""

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.encoders.layerwise import run_as_pruned
from autoprune.evaluation.statistics import rank_correlation
from autoprune.experiment.setup import Experiment
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.tokenization import collate, length_sorted_batches
from autoprune.training.one_shot import build_trie, count_layer_passes, inference, walk_trie
from experiments import ground


def race(laid: Experiment, batches: int) -> dict[str, float | bool]:
    """Score all layouts on some batches both ways, by turns; return times, and if all is equal."""
    bench, depth = laid.bench(laid.quick), laid.checkpoint.depth
    layouts = all_layouts(depth, laid.keep)
    model, root = bench.untrained(Layout.full(depth), 0).eval(), build_trie(layouts)
    index = length_sorted_batches(bench.validation.lengths, laid.quick.batch)
    together = alone = 0.0
    equal = True
    for chosen in index[:: max(1, len(index) // batches)][:batches]:
        started = time.process_time()
        found = {
            visit.number: visit.logits()
            for visit in walk_trie(model, root, bench.validation, chosen, bench.device)
        }
        together += time.process_time() - started
        inputs = collate(bench.validation, chosen)
        del inputs["labels"]
        for number, layout in enumerate(layouts):
            with inference(model, bench.device), run_as_pruned(model, layout):
                started = time.process_time()
                logits = model(**inputs).logits
                alone += time.process_time() - started
            equal &= torch.equal(logits, found[number])
    return {
        "layouts": len(layouts),
        "layer_passes": count_layer_passes(root),
        "trie_seconds": together,
        "one_by_one_seconds": alone,
        "times_faster": alone / together,
        "bit_identical": equal,
    }


def worth(study: Path) -> list[dict[str, float | str]]:
    """Return each proxy's rank correlations with each table of trained layouts."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read(study / "proxies.csv"):
        values[row["proxy"]][row["layout"]] = float(row["value"])
    found: list[dict[str, float | str]] = []
    for name in ("quick", "full"):
        for column, sign in (("validation_accuracy", 1), ("validation_loss", -1)):
            reached = trained(study / f"{name}.csv", column)
            for proxy, by_layout in values.items():
                both = [layout for layout in reached if layout in by_layout]
                if len(both) < 10:
                    continue
                pairs = np.array([(by_layout[one], sign * reached[one]) for one in both])
                told = rank_correlation(*pairs.T)
                assert told is not None, "scores differ"
                found.append(
                    {
                        "proxy": proxy,
                        "budget": name,
                        "against": column,
                        "layouts": len(both),
                        "spearman": told.correlation,
                        "low": told.low,
                        "high": told.high,
                    }
                )
    return found


def trained(table: Path, column: str) -> dict[str, float]:
    """Return each layout's mean over seeds of `column` at the last step."""
    last = {(row["layout"], row["seed"]): float(row[column]) for row in read(table)}
    by_layout = defaultdict(list)
    for (layout, _), value in last.items():
        by_layout[layout].append(value)
    return {layout: float(np.mean(each)) for layout, each in by_layout.items()}


def read(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def main() -> None:
    """Print both."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        arguments.add_argument(name)
    arguments.add_argument("--keep", type=int, required=True)
    arguments.add_argument("--study", type=Path, required=True)
    arguments.add_argument("--batches", type=int, default=2)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()

    costs = json.loads((asked.study / "proxies.json").read_text())
    ranks = worth(asked.study)
    laid = ground(asked.model, asked.task, Path(asked.data_dir), asked.keep)
    torch.set_num_threads(1)
    trie = race(laid, asked.batches)
    if asked.json:
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
    for one in ranks:
        print(
            f"{one['proxy']:14} {one['budget']:5} {one['against']:20} {one['layouts']:4} layouts  "
            f"{one['spearman']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"
        )


if __name__ == "__main__":
    main()
