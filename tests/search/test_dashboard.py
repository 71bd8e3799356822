"""The dashboard shows all studies as they are, on this machine only, and writes nothing."""

import http.client
import inspect
import json
import random
import socket
import subprocess
import sys
import threading

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna_dashboard import get_note

from autoprune.layouts.layout import Layout
from autoprune.search import dashboard
from autoprune.search.dashboard import LOOPBACK, layer_importances, serve
from autoprune.search.trial import distributions, flag_names, flag_params
from autoprune.storage.combined import CombinedStorage
from autoprune.storage.storage import JOURNAL, open_storage


def fill(storage, name, trials):
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for number in range(trials):
        study.add_trial(
            optuna.trial.create_trial(
                params={"layer_00": number % 2},
                distributions={"layer_00": optuna.distributions.IntDistribution(0, 1)},
                value=number / 10,
                user_attrs={"layout": f"12:{number}"},
            )
        )


@pytest.fixture
def storages(tmp_path):
    storages = [open_storage(None, tmp_path / name) for name in ("first", "second")]
    fill(storages[0], "first", 3)
    fill(storages[1], "second", 4)
    return storages


@pytest.fixture
def start(monkeypatch):
    """Serve `storages` in a thread; return (port, ask)."""

    def start(storages, port=0, writable=False):
        address, up = [], threading.Event()

        def ready(text):
            address.append(text)
            up.set()

        if port == 0:
            with socket.socket() as free:
                free.bind((LOOPBACK, 0))
                port = free.getsockname()[1]
        arguments = {"writable": writable, "ready": ready, "browser": False}
        # Only the main thread hears of Ctrl-C.
        monkeypatch.setattr(dashboard, "_wait_for_interrupt", threading.Event().wait)
        threading.Thread(target=serve, args=(storages, port), kwargs=arguments, daemon=True).start()
        assert up.wait(30)
        port = int(address[0].rpartition(":")[2].partition("/")[0])

        def ask(method, path, headers=None, body=None):
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        return port, ask

    return start


def names(ask):
    return [
        one["study_name"] for one in json.loads(ask("GET", "/api/studies")[1])["study_summaries"]
    ]


def test_combined_storage_holds_all_studies(storages):
    gathered = CombinedStorage(storages)
    for own, shown in zip(
        [study for storage in storages for study in storage.get_all_studies()],
        gathered.get_all_studies(),
        strict=True,
    ):
        storage = storages[["first", "second"].index(own.study_name)]
        number = shown._study_id
        assert gathered.get_study_id_from_name(own.study_name) == number
        assert gathered.get_study_name_from_id(number) == own.study_name
        assert gathered.get_study_directions(number) == own.directions
        assert gathered.get_study_user_attrs(number) == own.user_attrs
        assert gathered.get_study_system_attrs(number) == own.system_attrs
        trials = gathered.get_all_trials(number)
        assert [trial.params for trial in trials] == [
            trial.params for trial in storage.get_all_trials(own._study_id)
        ]
        assert [gathered.get_trial(trial._trial_id) for trial in trials] == trials
        assert gathered.get_n_trials(number) == len(trials)
    assert len({study._study_id for study in gathered.get_all_studies()}) == 2


def test_combined_storage_study_has_its_best_trial(storages):
    assert (
        optuna.load_study(study_name="second", storage=CombinedStorage(storages)).best_value == 0.3
    )


def test_combined_storage_shows_later_writes(storages):
    gathered = CombinedStorage(storages)
    second = gathered.get_study_id_from_name("second")
    assert gathered.get_n_trials(second) == 4
    optuna.load_study(study_name="second", storage=storages[1]).add_trial(
        optuna.trial.create_trial(value=0.9)
    )
    assert gathered.get_n_trials(second) == 5


def test_combined_storage_raises_key_errors(storages):
    gathered = CombinedStorage(storages)
    for ask, key in ((gathered.get_study_id_from_name, "third"), (gathered.get_trial, 1 << 40)):
        with pytest.raises(KeyError):
            ask(key)


@pytest.mark.parametrize(
    "method",
    [name for name in sorted(BaseStorage.__abstractmethods__) if not name.startswith("get_")],
)
def test_combined_storage_is_read_only(storages, method):
    takes = inspect.signature(getattr(InMemoryStorage, method)).parameters
    with pytest.raises(PermissionError):
        getattr(CombinedStorage(storages), method)(*[0] * (len(takes) - 1))


def test_dashboard_serves_all_studies_read_only(storages, start, tmp_path):
    before = [(tmp_path / name / JOURNAL).read_bytes() for name in ("first", "second")]
    _, ask = start(storages)
    assert names(ask) == ["first", "second"]
    second = CombinedStorage(storages).get_study_id_from_name("second")
    assert len(json.loads(ask("GET", f"/api/studies/{second}?after=0")[1])["trials"]) == 4
    status, page = ask("GET", "/dashboard/")
    assert status == 200
    assert "<html" in page
    for method in ("DELETE", "POST", "PUT", "PATCH"):
        status, text = ask(method, f"/api/studies/{second}")
        assert status == 405
        assert "--writable" in text
    assert [(tmp_path / name / JOURNAL).read_bytes() for name in ("first", "second")] == before


@pytest.mark.parametrize("writable", [False, True])
def test_dashboard_refuses_other_host_names(storages, start, writable):
    port, ask = start(storages[:1], writable=writable)
    assert ask("GET", "/api/studies", {"Host": f"evil.example:{port}"})[0] == 403
    assert ask("DELETE", "/api/studies/0", {"Host": "evil.example"})[0] in (403, 405)
    assert ask("GET", "/api/studies", {"Host": f"localhost:{port}"})[0] == 200
    assert names(ask) == ["first"]


def test_writable_dashboard_deletes_a_study(storages, start):
    _, ask = start(storages[:1], writable=True)
    body = json.dumps({"remove_associated_artifacts": False})
    status, text = ask("DELETE", "/api/studies/0", {"Content-Type": "application/json"}, body)
    assert status == 204, text
    assert names(ask) == []


def test_combined_storage_writes_to_the_right_study(storages):
    gathered = CombinedStorage(storages, writable=True)
    second = gathered.get_study_id_from_name("second")
    shown = optuna.load_study(study_name="second", storage=gathered)
    shown.set_user_attr("mine", "yes")
    shown.set_metric_names(["accuracy"])
    trial = shown.ask({"layer_00": optuna.distributions.IntDistribution(0, 1)})
    trial.report(0.4, step=1)
    trial.set_user_attr("layout", "12:9")
    gathered.set_trial_system_attr(trial._trial_id, "why", "a test")
    shown.tell(trial, 0.95)
    assert gathered.get_trial(trial._trial_id).value == 0.95
    first, own = (
        optuna.load_study(study_name=name, storage=storage)
        for name, storage in zip(("first", "second"), storages, strict=True)
    )
    assert (own.user_attrs, own.metric_names) == ({"mine": "yes"}, ["accuracy"])
    written = own.trials[-1]
    assert (written.number, written.value, written.intermediate_values) == (4, 0.95, {1: 0.4})
    assert (written.user_attrs, written.params.keys()) == ({"layout": "12:9"}, {"layer_00"})
    assert written.system_attrs["why"] == "a test"
    assert (first.user_attrs, len(first.trials)) == ({}, 3)
    gathered.delete_study(second)
    assert [len(storage.get_all_studies()) for storage in storages] == [1, 0]


def test_writable_dashboard_of_several_studies_changes_the_right_one(storages, start):
    _, ask = start(storages, writable=True)
    gathered = CombinedStorage(storages)
    first, second = map(gathered.get_study_id_from_name, ("first", "second"))
    kind = {"Content-Type": "application/json"}
    note = json.dumps({"body": "seen", "version": 1})
    status, text = ask("PUT", f"/api/studies/{second}/note", kind, note)
    assert status == 204, text
    assert get_note(optuna.load_study(study_name="second", storage=storages[1])) == "seen"
    body = json.dumps({"remove_associated_artifacts": False})
    status, text = ask("DELETE", f"/api/studies/{first}", kind, body)
    assert status == 204, text
    assert names(ask) == ["second"]
    for path in ("/api/studies", f"/api/studies/{second}/rename"):
        status, text = ask("POST", path, kind, json.dumps({"study_name": "third"}))
        assert status == 405
        assert "begun by autoprune search" in text
    assert names(ask) == ["second"]


def test_dashboard_takes_the_next_free_port(storages, start):
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        found, ask = start(storages, port=port)
        assert port < found < port + 20
        assert names(ask) == ["first", "second"]


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("form", ["attributes", "parameters"])  # the latter in older studies
def test_dashboard_importances_are_those_of_the_report(combined, form, tmp_path, start):
    storage = open_storage(None, tmp_path / "one")
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    study.set_user_attr("depth", 6)
    space = {
        "seed": optuna.distributions.IntDistribution(0, 2**32),
        "fidelity": optuna.distributions.FloatDistribution(0.0, 1.0),
    }
    draw = random.Random(0)
    for number in range(16):
        flags = flag_params(Layout(6, tuple(sorted(draw.sample(range(6), 3)))))
        values = {"seed": 1000 + number, "fidelity": 1.0 if number > 12 else 0.3}
        is_old = form == "parameters"
        study.add_trial(
            optuna.trial.create_trial(
                params=flags | (values if is_old else {}),
                distributions=distributions(6) | (space if is_old else {}),
                user_attrs={} if is_old else values,
                value=flags["layer_02"] + number / 100,
            )
        )
    other = open_storage(None, tmp_path / "two")
    fill(other, "other", 4)
    _, ask = start([other, storage] if combined else [storage])
    number = CombinedStorage([other, storage]).get_study_id_from_name("one") if combined else 0
    code, body = ask("GET", f"/api/studies/{number}/param_importances")
    [found] = json.loads(body)["param_importances"]
    shares = {one["name"]: one["importance"] for one in found}
    assert code == 200
    assert set(shares) == set(flag_names(6))
    assert sum(shares.values()) == pytest.approx(1)
    report = layer_importances(storage, "one")
    assert [f"layer {int(name[6:])}" for name in shares] == list(report)
    assert list(shares.values()) == list(report.values())
    assert next(iter(report)) == "layer 2"
    assert ask("GET", "/api/studies/7/param_importances")[0] == 404
    assert ask("HEAD", f"/api/studies/{number}/param_importances") == (200, "")


def test_dashboard_shows_the_importances_of_other_studies(storages, start):
    _, ask = start(storages[:1])
    code, body = ask("GET", "/api/studies/0/param_importances")
    [[only]] = json.loads(body)["param_importances"]
    assert (code, only["name"], only["importance"]) == (200, "layer_00", 1.0)


def test_interrupt_that_python_forgets_ends_the_dashboard():
    code = """
import os, signal, threading
from autoprune.search.dashboard import _wait_for_interrupt
signal.signal(signal.SIGINT, lambda *_: None)  # Python raises nothing
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    _wait_for_interrupt()
except KeyboardInterrupt:
    print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "ended\n", done.stderr
