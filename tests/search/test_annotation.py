"""Notes, plots and words for people in a study's storage, and what a search makes of them."""

import json

import optuna
import pytest
from optuna_dashboard import get_note

from autoprune.errors import TrialError
from autoprune.layouts.layout import Layout
from autoprune.search.dashboard import save_first_note, save_note_and_plots
from autoprune.storage.storage import open_storage

FAILING = Layout.parse("8:4-7")
STOPPING = Layout.parse("8:0-3")


class Drawn:
    """Stands for a figure."""

    def __init__(self, content):
        self.content = content

    def to_json(self):
        return json.dumps(self.content)


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    location = None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"
    return open_storage(location, tmp_path / "study")


def load(storage):
    return optuna.load_study(study_name="shc", storage=storage)


def plot(storage, title):
    attrs = load(storage)._storage.get_study_system_attrs(load(storage)._study_id)
    key = f"dashboard:plot_data:{title}:"
    return json.loads("".join(attrs.get(f"{key}{part}", "") for part in range(len(attrs))))


def test_first_note_is_replaced_by_the_result_only(storage, go):
    go(storage=storage, trials=2)
    save_first_note(storage, "shc", "first")
    save_first_note(storage, "shc", "second")
    assert get_note(load(storage)) == "first"
    save_note_and_plots(storage, "shc", "result " * 900, {})
    save_first_note(storage, "shc", "third")
    assert get_note(load(storage)) == "result " * 900
    save_note_and_plots(storage, "shc", "short", {})
    assert get_note(load(storage)) == "short"


def test_plots_replace_those_of_the_same_title(storage, go):
    go(storage=storage, trials=2)
    save_note_and_plots(storage, "shc", "n", {"map": Drawn({"z": [1] * 3000}), "other": Drawn({})})
    assert plot(storage, "map") == {"z": [1] * 3000}
    save_note_and_plots(storage, "shc", "n", {"map": Drawn({"z": [2]})})
    assert plot(storage, "map") == {"z": [2]}
    assert plot(storage, "other") == {}


def test_notes_and_plots_do_not_change_the_search(storage, go, told):
    whole = go(trials=9)
    go(storage=storage, trials=5)
    save_note_and_plots(storage, "shc", "n", {"map": Drawn({})})
    assert told(go(storage=storage, trials=9)) == told(whole)


def test_trial_attributes_say_why_a_trial_ended(storage, go, planted):
    plain = planted(0, 8, 4)

    def measure(run, check):
        if run.layout == FAILING:
            raise TrialError("loss is not a number")
        if run.layout == STOPPING:
            raise optuna.TrialPruned
        return plain(run, check)

    go(measure, storage=storage, trials=4)
    by_layout = {trial.user_attrs["layout"]: trial for trial in load(storage).trials}
    failed, pruned = (by_layout.pop(str(layout)) for layout in (FAILING, STOPPING))
    assert failed.user_attrs["stopped"] == "could not be scored"
    assert failed.user_attrs["failed"] == "loss is not a number"
    assert pruned.user_attrs["stopped"] == "weak beside other trials at the same step"
    assert len(by_layout) == 2
    for trial in by_layout.values():
        words = trial.user_attrs
        assert words["stopped"] == "at the end of its budget"
        assert words["validation"] == f"{100 * trial.value:.1f} %"
        assert words["picture"].count("●") == 4
        assert (words["seconds"], words["loss"]) == (0.5, round(1 - trial.value, 6))
    assert load(storage).metric_names == ["validation quality"]


def test_interrupted_trial_says_so(storage, go, planted):
    def stop():
        raise KeyboardInterrupt

    go(planted(0, 8, 4, {(FAILING, 10): stop}), storage=storage, trials=4)
    ends = {trial.user_attrs["stopped"] for trial in load(storage).trials}
    assert ends == {"at the end of its budget", "interrupted"}
