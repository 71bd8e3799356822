"""Cheap scores of several numbers of layers take one full model, and are those of each alone."""

import json

import pytest

from autoprune.experiment.proxy_scores import PROXY_FILE, proxy_summary
from autoprune.layouts.layout import all_layouts
from autoprune.search.result import SearchResult, TrialResult
from autoprune.training.metrics import Score
from autoprune.training.proxies import PROXIES


@pytest.fixture
def command(model, task):
    return [
        *("search", "--model", model, "--task", task, "--trials", 1, "--epochs", 1),
        *("--full-epochs", 1, "--seeds", 1, "--workers", 1, "--strategy", "top"),
        *("--proxy", "leave-one-out", "--json"),
    ]


@pytest.fixture
def scored(monkeypatch):
    """Note which numbers of layers each call scores."""
    calls, proxy = [], PROXIES["leave-one-out"]

    def noted(bench, layouts, seed):
        calls.append(sorted({len(layout.keep) for layout in layouts}))
        return proxy(bench, layouts, seed)

    monkeypatch.setitem(PROXIES, "leave-one-out", noted)
    monkeypatch.setattr("autoprune.experiment.pareto.COST_ROUNDS", 6)
    return calls


def values(folder, keep):
    return json.loads((folder / f"studies/tiny-own-keep{keep}/proxy.json").read_text())["values"]


def test_one_full_model_serves_several_numbers_of_layers(run, command, here, scored):
    both, alone = here / "both", here / "alone"
    both.mkdir()
    alone.mkdir()
    answer = run(*command, "--keep", "2,3", folder=both)
    assert answer.code == 0, answer.err
    assert scored == [[2, 3]]
    assert run(*command, "--keep", 3, folder=alone).code == 0
    assert scored == [[2, 3], [3]]
    assert len(values(both, 2)) == len(values(both, 3)) == 10
    assert values(both, 3) == values(alone, 3)
    assert run(*command, "--keep", "2,3", folder=both).code == 0
    assert scored == [[2, 3], [3]]  # on file
    cut = both / "studies/tiny-own-keep2/proxy.json"
    cut.write_text(cut.read_text()[:-9])
    assert run(*command, "--keep", "2,3", folder=both).code == 0
    assert scored == [[2, 3], [3], [2]]  # what cannot be read is made again


def test_a_score_is_borne_out_by_runs_of_one_budget(here):
    """Ends are higher than pauses, whatever the cheap score says of their layouts."""
    layouts = all_layouts(6, 3)
    worth = {str(one): number / 20 for number, one in enumerate(layouts)}
    (here / PROXY_FILE).write_text(json.dumps({"proxy": "alignment", "values": worth}))

    def run(number, quality, fidelity):
        score = Score(quality, quality, quality, 1.0, "validation", number, 1.0)
        layout = layouts[number]
        return TrialResult(number, layout, "search", "complete", score, "", None, number, fidelity)

    pauses = tuple(run(number, number / 40, 0.3) for number in range(20))
    ends = tuple(run(number, 0.9, 1.0) for number in range(4))
    told = [
        proxy_summary(here, SearchResult(of, None, None, None, False))
        for of in (pauses, pauses + ends)
    ]
    assert told[0] == told[1] and "20 trials" in told[0]
