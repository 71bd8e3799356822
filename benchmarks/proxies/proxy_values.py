"""Write what each cheap score gives every layout, and what it cost, for searches to be replayed.

    python benchmarks/proxies/proxy_values.py MODEL TASK DATA_DIR --keep 6 --out FOLDER

proxies.csv: layout, proxy, value (higher is better). proxies.json: for each proxy the processor's
seconds, and those as fine-tunes of one candidate at the full and at the quick budget, measured in
the same run. What is on file stays; delete a file to measure anew.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from autoprune.layouts.layout import all_layouts
from autoprune.training.proxies import PROXIES
from experiments import ground

SEED = 0


def main() -> None:
    """Measure the proxies that are not on file."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "task", "data_dir"):
        arguments.add_argument(name)
    arguments.add_argument("--keep", type=int, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    asked = arguments.parse_args()

    laid = ground(asked.model, asked.task, Path(asked.data_dir), asked.keep)
    torch.set_num_threads(1)
    bench, layouts = laid.bench(laid.quick), all_layouts(laid.checkpoint.depth, asked.keep)
    table, costs = asked.out / "proxies.csv", asked.out / "proxies.json"
    known = json.loads(costs.read_text()) if costs.exists() else {}
    for name, proxy in PROXIES.items():
        if name in known:
            continue
        started = time.process_time()
        values = proxy(bench, layouts, SEED)
        seconds = time.process_time() - started
        started = time.process_time()
        bench.train(laid.strategies["top"], SEED)
        quick = time.process_time() - started
        full = quick * laid.full.steps / laid.quick.steps
        asked.out.mkdir(parents=True, exist_ok=True)
        fresh = not table.exists()
        with table.open("a", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerows([("layout", "proxy", "value")] if fresh else [])
            writer.writerows(
                (str(layout), name, f"{value:.6g}")
                for layout, value in zip(layouts, values, strict=True)
            )
        known[name] = {
            "seconds": round(seconds, 1),
            "full_fine_tunes": round(seconds / full, 3),
            "quick_fine_tunes": round(seconds / quick, 3),
        }
        costs.write_text(json.dumps(known, indent=1) + "\n")
        print(name, known[name], flush=True)


if __name__ == "__main__":
    main()
