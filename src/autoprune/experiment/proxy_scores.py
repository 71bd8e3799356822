"""Hinting: cheap scores of all layouts, made once a study and kept beside its records."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from autoprune.errors import LayoutError, OptionError
from autoprune.evaluation.statistics import borne_out
from autoprune.experiment.progress import Show, minutes
from autoprune.experiment.setup import Ground
from autoprune.files import write_whole
from autoprune.layouts.layout import Layout, count, every
from autoprune.search.result import Outcome
from autoprune.training.proxies import PROXIES

NONE = "none"

HINTS = "proxy.json"

MOST = 20_000  # layouts; each costs its passes

TRAINED = ("leave-one-out",)  # they fine-tune the full model first


def check_proxy(proxy: str, sampler: str, grounds: Sequence[Ground]) -> None:
    """Raise `OptionError` where a cheap score cannot inform the search."""
    if proxy == NONE:
        return
    if sampler != "gp":
        raise OptionError(f"--proxy informs --sampler gp, got {sampler}: leave one of them out")
    for ground in grounds:
        layouts = count(ground.checkpoint.depth, ground.keep)
        if layouts > MOST:
            raise OptionError(
                f"--proxy scores up to {MOST:,} layouts, {ground.study} has {layouts:,}: "
                "leave it out"
            )


def hints_for(
    ground: Ground, folder: Path, proxy: str, seed: int, show: Show
) -> dict[Layout, float] | None:
    """Return the cheap score of each layout, None without one; made once, then read back."""
    if proxy == NONE:
        return None
    place = folder / HINTS
    known = _kept(place)
    if known is not None and known[0] == proxy:
        return known[1]
    layouts = every(ground.checkpoint.depth, ground.keep)
    show.say(f"{proxy}: scoring all {len(layouts):,} layouts")
    started = time.perf_counter()
    values = PROXIES[proxy](ground.bench(ground.quick), layouts, seed)
    hints = dict(zip(layouts, values, strict=True))
    _keep(place, proxy, hints)
    show.say(f"{proxy}: {minutes(time.perf_counter() - started)}")
    return hints


def share_hints(
    grounds: Sequence[Ground], folders: Sequence[Path], proxy: str, seed: int, show: Show
) -> None:
    """Make the cheap scores of several studies at once, where they take a fine-tuned full model.

    That model is the same for every number of layers. Each study finds its own scores on file.
    """
    if proxy not in TRAINED:
        return
    lacking = {
        folder / HINTS: every(ground.checkpoint.depth, ground.keep)
        for ground, folder in zip(grounds, folders, strict=True)
        if (known := _kept(folder / HINTS)) is None or known[0] != proxy
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
    show.say(f"{proxy}: {minutes(time.perf_counter() - started)}")


def _keep(place: Path, proxy: str, hints: dict[Layout, float]) -> None:
    texts = {str(layout): value for layout, value in hints.items()}
    write_whole(place, json.dumps({"proxy": proxy, "values": texts}))


def _kept(place: Path) -> tuple[str, dict[Layout, float]] | None:
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        values = {Layout.parse(text): float(value) for text, value in kept["values"].items()}
        return str(kept["proxy"]), values
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LayoutError):
        return None  # none, or not as it was written: scored anew


def trust(folder: Path, outcome: Outcome) -> str:
    """Say how far the study's own runs bear its cheap score out; empty where it has none."""
    known = _kept(folder / HINTS)
    if known is None:
        return ""
    proxy, hints = known
    least = min((finding.fidelity for finding in outcome.findings), default=1.0)
    results = [
        (finding.layout, finding.score.quality)
        for finding in outcome.findings
        if finding.score is not None and finding.fidelity == least  # others are no even match
    ]
    found = borne_out(hints, results)
    told = "too few layouts to compare it with" if found is None else f"rank correlation {found}"
    return (
        f"{proxy}: {told}; {len(results)} trials, weight {outcome.trust:+.2f} in the surrogate "
        "(1: a spread of the score is a spread of quality)"
    )
