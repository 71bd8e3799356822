"""Proxy scores: cheap scores of all layouts, computed once a study and stored in its folder."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoprune.errors import OptionError, StudyError, format_count
from autoprune.evaluation.statistics import layout_rank_correlation
from autoprune.experiment.config import NO_PROXY
from autoprune.experiment.context import Progress
from autoprune.experiment.progress import format_duration
from autoprune.experiment.setup import Experiment
from autoprune.files import check_value_type, load_json, reading, write_atomic
from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.search.result import SearchResult
from autoprune.training.proxies import PROXIES

PROXY_FILE = "proxy.json"

MAX_PROXY_LAYOUTS = 20_000
"""The most layouts that are scored: each costs its forward passes."""

TRAINED_PROXIES = ("leave-one-out",)
"""Proxies that fine-tune the full model first."""


def check_proxy(experiments: Sequence[Experiment]) -> None:
    """Raise `OptionError` where a study has too many layouts for a cheap score of each."""
    for experiment in experiments:
        layouts = count_layouts(experiment.depth, experiment.keep)
        if experiment.config.search.proxy != NO_PROXY and layouts > MAX_PROXY_LAYOUTS:
            raise OptionError(
                f"--proxy scores up to {MAX_PROXY_LAYOUTS:,} layouts, {experiment.default_name} "
                f"has {layouts:,}: leave it out"
            )


def proxy_scores(
    experiment: Experiment, folder: Path, progress: Progress
) -> dict[Layout, float] | None:
    """Return the cheap score of each layout, None without one; computed once, then read back."""
    proxy = experiment.config.search.proxy
    if proxy == NO_PROXY:
        return None
    path = folder / PROXY_FILE
    stored = _read(path)
    if stored is not None and stored[0] == proxy:
        return stored[1]
    layouts = _layouts(experiment)
    scores = _compute(experiment, layouts, f"all {format_count(len(layouts), 'layout')}", progress)
    _write(path, proxy, scores)
    return scores


def share_proxy_scores(
    experiments: Sequence[Experiment], folders: Sequence[Path], progress: Progress
) -> None:
    """Compute the cheap scores of several studies at once, where they need a fine-tuned full model.

    That model is the same for every number of layers. Each study finds its own scores stored.
    """
    proxy = experiments[0].config.search.proxy
    if proxy not in TRAINED_PROXIES:
        return
    missing = {
        folder / PROXY_FILE: _layouts(experiment)
        for experiment, folder in zip(experiments, folders, strict=True)
        if (stored := _read(folder / PROXY_FILE)) is None or stored[0] != proxy
    }
    if len(missing) < 2:
        return
    layouts = [layout for each in missing.values() for layout in each]
    what = f"all {format_count(len(layouts), 'layout')} of {format_count(len(missing), 'study')}"
    scores = _compute(experiments[0], layouts, what, progress)
    for path, own in missing.items():
        _write(path, proxy, {layout: scores[layout] for layout in own})


def _layouts(experiment: Experiment) -> list[Layout]:
    return all_layouts(experiment.depth, experiment.keep, experiment.required_layers)


def _compute(
    experiment: Experiment, layouts: Sequence[Layout], what: str, progress: Progress
) -> dict[Layout, float]:
    proxy = experiment.config.search.proxy
    progress.say(f"{proxy}: scoring {what}")
    started = time.perf_counter()
    values = PROXIES[proxy](experiment.evaluator(experiment.timed), layouts, experiment.seed)
    progress.say(f"{proxy}: {format_duration(time.perf_counter() - started)}")
    return dict(zip(layouts, values, strict=True))


def _write(path: Path, proxy: str, scores: Mapping[Layout, float]) -> None:
    values = {str(layout): value for layout, value in scores.items()}
    write_atomic(path, json.dumps({"proxy": proxy, "values": values}))


def _read(path: Path) -> tuple[str, dict[Layout, float]] | None:
    """Return the proxy's name and scores; None where there are none, or not as written."""
    try:
        with reading(path, "proxy scores", "delete it"):
            stored = load_json(path, "proxy scores", "delete it")
            values = {Layout.parse(text): float(value) for text, value in stored["values"].items()}
            check_value_type(values, dict[Layout, float], "values")
            return str(stored["proxy"]), values
    except (FileNotFoundError, StudyError):
        return None


def proxy_summary(folder: Path, result: SearchResult) -> str:
    """Say how well the study's own trials agree with its cheap score; empty where it has none."""
    stored = _read(folder / PROXY_FILE)
    if stored is None:
        return ""
    proxy, scores = stored
    trials = result.trial_results
    least = min((trial.fidelity for trial in trials), default=1.0)
    qualities = [
        (trial.layout, trial.score.quality)
        for trial in trials
        if trial.score is not None and trial.fidelity == least  # the same budget
    ]
    correlation = layout_rank_correlation(scores, qualities)
    agreement = (
        "too few layouts to compare it with"
        if correlation is None
        else f"rank correlation {correlation}"
    )
    return (
        f"{proxy}: {agreement}; {format_count(len(qualities), 'trial')}, weight "
        f"{result.trust:+.2f} in the surrogate (1: a spread of the score is a spread of quality)"
    )
