"""Proxy scores: how well they agree with the trials of a study."""

import json

from autoprune.experiment.proxy_scores import PROXY_FILE, proxy_summary
from autoprune.layouts.layout import all_layouts
from autoprune.search.result import SearchResult, TrialResult
from autoprune.training.metrics import Score


def test_proxy_is_compared_with_trials_of_one_budget_only(tmp_path):
    """Full runs have a higher quality than paused ones, whatever the proxy says."""
    layouts = all_layouts(6, 3)
    values = {str(layout): number / 20 for number, layout in enumerate(layouts)}
    (tmp_path / PROXY_FILE).write_text(json.dumps({"proxy": "alignment", "values": values}))

    def trial(number, quality, fidelity):
        score = Score(quality, quality, quality, 1.0, "validation", number, 1.0)
        layout = layouts[number]
        return TrialResult(number, layout, "search", "complete", score, "", None, number, fidelity)

    paused = tuple(trial(number, number / 40, 0.3) for number in range(20))
    full = tuple(trial(number, 0.9, 1.0) for number in range(4))
    first, second = (
        proxy_summary(tmp_path, SearchResult(trials, None, None, None, False))
        for trials in (paused, paused + full)
    )
    assert first == second and "20 trials" in first
