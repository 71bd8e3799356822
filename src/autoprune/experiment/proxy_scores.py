"""Hinting: cheap scores of all layouts, made once a study and kept beside its records."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from autoprune.errors import LayoutError, OptionError
from autoprune.evaluation.statistics import layout_rank_correlation
from autoprune.experiment.progress import ProgressDisplay, format_duration
from autoprune.experiment.setup import Experiment
from autoprune.files import write_atomic
from autoprune.layouts.layout import Layout, all_layouts, count_layouts
from autoprune.search.result import SearchResult
from autoprune.training.proxies import PROXIES

NO_PROXY = "none"

PROXY_FILE = "proxy.json"

MAX_PROXY_LAYOUTS = 20_000  # layouts; each costs its passes

TRAINED_PROXIES = ("leave-one-out",)  # they fine-tune the full model first


def check_proxy(proxy: str, sampler: str, grounds: Sequence[Experiment]) -> None:
    """Raise `OptionError` where a cheap score cannot inform the search."""
    if proxy == NO_PROXY:
        return
    if sampler != "gp":
        raise OptionError(f"--proxy informs --sampler gp, got {sampler}: leave one of them out")
    for ground in grounds:
        layouts = count_layouts(ground.checkpoint.depth, ground.keep)
        if layouts > MAX_PROXY_LAYOUTS:
            raise OptionError(
                f"--proxy scores up to {MAX_PROXY_LAYOUTS:,} layouts, {ground.study} has {layouts:,}: "
                "leave it out"
            )


def proxy_scores(
    ground: Experiment, folder: Path, proxy: str, seed: int, show: ProgressDisplay
) -> dict[Layout, float] | None:
    """Return the cheap score of each layout, None without one; made once, then read back."""
    if proxy == NO_PROXY:
        return None
    place = folder / PROXY_FILE
    known = _kept(place)
    if known is not None and known[0] == proxy:
        return known[1]
    layouts = all_layouts(ground.checkpoint.depth, ground.keep)
    show.say(f"{proxy}: scoring all {len(layouts):,} layouts")
    started = time.perf_counter()
    values = PROXIES[proxy](ground.bench(ground.quick), layouts, seed)
    hints = dict(zip(layouts, values, strict=True))
    _keep(place, proxy, hints)
    show.say(f"{proxy}: {format_duration(time.perf_counter() - started)}")
    return hints


def share_proxy_scores(
    grounds: Sequence[Experiment],
    folders: Sequence[Path],
    proxy: str,
    seed: int,
    show: ProgressDisplay,
) -> None:
    """Make the cheap scores of several studies at once, where they take a fine-tuned full model.

    That model is the same for every number of layers. Each study finds its own scores on file.
    """
    if proxy not in TRAINED_PROXIES:
        return
    lacking = {
        folder / PROXY_FILE: all_layouts(ground.checkpoint.depth, ground.keep)
        for ground, folder in zip(grounds, folders, strict=True)
        if (known := _kept(folder / PROXY_FILE)) is None or known[0] != proxy
    }
    if len(lacking) < 2:
        return
    everyone = [layout for layouts in lacking.values() for layout in layouts]
    show.say(f"{proxy}: scoring all {len(everyone):,} layouts of {len(lacking)} studies")
    started = time.perf_counter()
    values = PROXIES[proxy](grounds[0].bench(grounds[0].quick), everyone, seed)
    hints = dict(zip(everyone, values, strict=True))
    for place, layouts in lacking.items():
        _keep(place, proxy, {layout: hints[layout] for layout in layouts})
    show.say(f"{proxy}: {format_duration(time.perf_counter() - started)}")


def _keep(place: Path, proxy: str, hints: dict[Layout, float]) -> None:
    texts = {str(layout): value for layout, value in hints.items()}
    write_atomic(place, json.dumps({"proxy": proxy, "values": texts}))


def _kept(place: Path) -> tuple[str, dict[Layout, float]] | None:
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        values = {Layout.parse(text): float(value) for text, value in kept["values"].items()}
        return str(kept["proxy"]), values
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LayoutError):
        return None  # none, or not as it was written: scored anew


def proxy_summary(folder: Path, outcome: SearchResult) -> str:
    """Say how far the study's own runs bear its cheap score out; empty where it has none."""
    known = _kept(folder / PROXY_FILE)
    if known is None:
        return ""
    proxy, hints = known
    least = min((finding.fidelity for finding in outcome.trial_results), default=1.0)
    results = [
        (finding.layout, finding.score.quality)
        for finding in outcome.trial_results
        if finding.score is not None and finding.fidelity == least  # others are no even match
    ]
    found = layout_rank_correlation(hints, results)
    told = "too few layouts to compare it with" if found is None else f"rank correlation {found}"
    return (
        f"{proxy}: {told}; {len(results)} trials, weight {outcome.trust:+.2f} in the surrogate "
        "(1: a spread of the score is a spread of quality)"
    )
