"""Hinting: cheap scores of all layouts, made once a study and kept beside its records."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from autoprune.cli.ground import Ground
from autoprune.cli.show import Show, minutes
from autoprune.errors import OptionError
from autoprune.evidence.agreement import agreement
from autoprune.evidence.writing import write_whole
from autoprune.layouts.layout import Layout, count, every
from autoprune.scoring.proxies import PROXIES
from autoprune.search.findings import Outcome

NONE = "none"
HINTS = "proxy.json"
MOST = 20_000  # layouts; each costs its passes


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
    texts = {str(layout): value for layout, value in zip(layouts, values, strict=True)}
    write_whole(place, json.dumps({"proxy": proxy, "values": texts}))
    show.say(f"{proxy}: {minutes(time.perf_counter() - started)}")
    return dict(zip(layouts, values, strict=True))


def _kept(place: Path) -> tuple[str, dict[Layout, float]] | None:
    if not place.is_file():
        return None
    kept = json.loads(place.read_text(encoding="utf-8"))
    values = {Layout.parse(text): value for text, value in kept["values"].items()}
    return str(kept["proxy"]), values


def trust(folder: Path, outcome: Outcome) -> str:
    """Say how far the study's own runs bear its cheap score out; empty where it has none."""
    known = _kept(folder / HINTS)
    if known is None:
        return ""
    proxy, hints = known
    pairs = [
        (hints[finding.layout], finding.score.quality)
        for finding in outcome.findings
        if finding.score is not None
    ]
    found = agreement([hint for hint, _ in pairs], [quality for _, quality in pairs])
    told = "too few trials to compare it with" if found is None else f"rank correlation {found}"
    return (
        f"{proxy}: {told}; {len(pairs)} trials, weight {outcome.trust:+.2f} in the surrogate "
        "(1: a spread of the score is a spread of quality)"
    )
