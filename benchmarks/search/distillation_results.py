r"""What distilled runs reach against the full model, and how well they rank layouts.

    python benchmarks/search/distillation_results.py FILE --against STUDY
    ... FILE FILE --against STUDY STUDY --runs 12:0-1,11/logits+unlabelled/8 ...
                        these runs alone, and by depth their mean over the files, one task each
    ... FILE --as-trials TABLE          how well runs of two seeds rank layouts, on validation, and
                        how well those of exhaustive.py do, which are not distilled

    ... --split validation              differences on that split, not on test

FILE is what distillation.py writes, STUDY the folder of a study whose full model learned from the
labels with the same seeds. Quality is in percent. Intervals are Student's, 95 %, over the seeds.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import sem, spearmanr
from scipy.stats import t as student

from autoprune.evaluation.study_files import entrant_runs, read_study
from autoprune.layouts.layout import Layout
from exhaustive import read_rows

Differences = dict[int, float]  # points of quality by seed


def show(
    runs: Sequence[dict[str, Any]], study: Path | None, only: Sequence[str], split: str
) -> Iterator[tuple[int, Differences]]:
    """Print means in percent; yield layers and points above the study's full model of each run."""
    full: Differences = {}
    if study:
        records = entrant_runs(read_study(study), "full")
        full = {seed: record.score(split).quality for seed, record in records.items()}
    by_run: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for run in runs:
        by_run[run["run"]][run["seed"]] = run
    for name, seeds in sorted(by_run.items()):
        if only and name not in only:
            continue
        means = [
            100 * statistics.fmean(run[each] for run in seeds.values())
            for each in ("validation", "test")
        ]
        line = f"{name:40} {means[0]:5.1f} {means[1]:5.1f}  seeds {len(seeds)}"
        differences = {
            seed: 100 * (seeds[seed][split] - full[seed]) for seed in full if seed in seeds
        }
        print(line + _against_full(differences))
        yield len(Layout.parse(name.split("/")[0]).keep), differences


def _against_full(differences: Differences) -> str:
    if len(differences) < 3:
        return ""
    values = list(differences.values())
    mean = statistics.fmean(values)
    low, high = student.interval(0.95, len(values) - 1, mean, sem(values))
    return f"  {mean:+.1f} ({low:+.1f} to {high:+.1f}) against full"


def main() -> None:
    """Print what the files hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--against", type=Path, nargs="+", default=[])
    parser.add_argument("--runs", nargs="+", default=[])
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--as-trials", type=Path, metavar="TABLE")
    arguments = parser.parse_args()
    by_depth: dict[int, list[Differences]] = defaultdict(list)
    for file, study in zip_longest(arguments.files, arguments.against):
        runs = [json.loads(line) for line in file.read_text().splitlines()]
        if arguments.as_trials:
            show_as_trials(runs, arguments.as_trials)
            continue
        print(file)
        for layers, differences in show(runs, study, arguments.runs, arguments.split):
            by_depth[layers].append(differences)
    for layers, several in sorted(by_depth.items()):
        if arguments.runs and len(several) == len(arguments.files) > 1:
            seeds = set.intersection(*(set(differences) for differences in several))
            means = {seed: statistics.fmean(task[seed] for task in several) for seed in seeds}
            print(f"{layers} layers, mean of {len(several)} tasks:{_against_full(means)}")


def show_as_trials(runs: list[dict[str, Any]], table: Path) -> None:
    """Print what runs on two seeds tell of the full runs in `table`, and without distillation.

    `noise` is the standard deviation of a run between seeds, `layouts` that between layouts without
    the noise, in points. Correlations are Spearman's, means over the seeds.
    """
    kinds: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        layout, kind, epochs = run["run"].split("/")
        kinds[f"{kind}/{epochs}"][run["seed"]][layout] = 100 * run["validation"]
    quick, full = (last_scores(table / f"{name}.csv") for name in ("quick", "full"))
    [target] = [scores for scores in full.values() if len(scores) == max(map(len, full.values()))]
    for kind, seeds in kinds.items():
        if len(seeds) < 2:
            continue
        layouts = sorted(set(target).intersection(*seeds.values()))
        for name, scores in (("none, of the table", quick), (kind, seeds)):
            values = np.array([[scores[seed][layout] for layout in layouts] for seed in seeds])
            noise = np.sqrt(
                (values - values.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean()
            )
            spread = np.sqrt(max(values.mean(axis=0).var(ddof=1) - noise**2 / len(seeds), 0))
            truth = [target[layout] for layout in layouts]
            between = [spearmanr(*pair).statistic for pair in combinations(values, 2)]
            ahead = [spearmanr(row, truth).statistic for row in values]
            print(
                f"{name:22} {len(layouts)} layouts, mean {values.mean():.1f}, noise {noise:.2f}, "
                f"layouts {spread:.2f}, with another seed {np.mean(between):+.2f}, with full runs "
                f"{np.mean(ahead):+.2f}"
            )


def last_scores(table: Path) -> dict[int, dict[str, float]]:
    """Return the validation accuracy at the end of each run, in percent, by seed and layout."""
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    for row in read_rows(table):  # the checks of a run in order
        scores[int(row["seed"])][row["layout"]] = 100 * float(row["validation_accuracy"])
    return scores


if __name__ == "__main__":
    main()
