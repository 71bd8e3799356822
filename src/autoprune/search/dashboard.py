"""Dashboard: serves Optuna's dashboard on this machine only, and writes its notes and plots."""

import json
import re
import signal
import socket
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.distributions import IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.errors import OptionError, missing_package
from autoprune.layouts.layout import Layout
from autoprune.search.trial import distributions, flag_params, run_of_trial
from autoprune.storage.combined import CombinedStorage
from autoprune.storage.errors import storage_failures, stored_values
from autoprune.storage.storage import Storage, storage_name

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Figure(Protocol):
    """What is needed of a plotly figure to store it."""

    def to_json(self) -> str:
        """Return the figure in plotly's JSON."""


def _dashboard_package() -> ModuleType | None:
    """Return Optuna's dashboard, which knows how notes and plots are stored; None without it."""
    try:
        import optuna_dashboard
    except ImportError:
        return None
    return cast(ModuleType, optuna_dashboard)


def save_first_note(storage: BaseStorage, name: str, note: str) -> None:
    """Store a note, in Markdown, in study `name` if it has none; raises `StorageError`.

    Without the extra `dashboard` nothing is stored, for nothing could show it.
    """
    if (dashboard := _dashboard_package()) is None:
        return
    with storage_failures():
        study = optuna.load_study(study_name=name, storage=storage)
        if not dashboard.get_note(study):
            dashboard.save_note(study, note)


def save_note_and_plots(
    storage: BaseStorage, name: str, note: str, figures: Mapping[str, Figure]
) -> None:
    """Store a note, in Markdown, and figures by title in study `name`; replaces earlier ones.

    A title has letters, digits and hyphens only. Without the extra `dashboard` nothing is stored.
    Raises `StorageError`.
    """
    if (dashboard := _dashboard_package()) is None:
        return
    with storage_failures():
        study = optuna.load_study(study_name=name, storage=storage)
        dashboard.save_note(study, note)
        for title, figure in figures.items():
            dashboard.save_plotly_graph_object(study, figure, graph_object_id=title)


LOOPBACK = "127.0.0.1"
"""The dashboard has no passwords, so it must not be reachable from other machines."""

_IMPORTANCES_PATH = re.compile(r"/api/studies/(\d+)/param_importances/?")

_READ_METHODS = ("GET", "HEAD", "OPTIONS")


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there, a port that is in use would be shared


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


def serve(
    storages: Sequence[Storage],
    port: int,
    *,
    writable: bool,
    ready: Callable[[str], None],
    browser: bool,
) -> None:
    """Serve the studies of `storages` until Ctrl-C, on `port` or the next free one.

    Calls `ready` with the address. Unless `writable`, all requests that write are answered with
    405. With several storages, no study can be created or renamed. Raises `OptionError`.
    """
    if (dashboard := _dashboard_package()) is None:
        raise missing_package("the dashboard", "autoprune[dashboard]")
    storage = storages[0] if len(storages) == 1 else CombinedStorage(storages, writable)
    app = _with_layer_importances(dashboard.wsgi(storage), storage)
    app = app if writable else _without_buttons(app)
    app = _guarded(app, writable=writable, is_combined=len(storages) > 1)
    with _listen(app, port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/dashboard/"
        ready(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            _wait_for_interrupt()
        finally:
            server.shutdown()


def _wait_for_interrupt() -> None:
    """Wait for Ctrl-C in the main thread; raises KeyboardInterrupt.

    Where other threads are busy, CPython may forget a signal that it would tell the main thread of
    later, and the dashboard goes on. The byte of `set_wakeup_fd` is not lost.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        receiver.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        receiver.close()
        sender.close()
    raise KeyboardInterrupt


def _guarded(app: "WSGIApplication", *, writable: bool, is_combined: bool) -> "WSGIApplication":
    """Return `app` with some requests refused.

    405: those that write, unless `writable`; with several storages, those that create or rename a
    study. 403: those for another host name. Otherwise a web page could let its own name point here
    (DNS rebinding), and read or delete the studies.
    """
    allowed = ", ".join(_READ_METHODS)
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Allow", allowed)]

    def refusal(environ: "WSGIEnvironment") -> tuple[str, str] | None:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "").rstrip("/")
        if not writable and method not in _READ_METHODS:
            reason = "the dashboard is read-only, start it with --writable to change a study"
            return "405 Method Not Allowed", reason
        is_rename = path.startswith("/api/") and path.endswith("/rename")
        if is_combined and method == "POST" and (path == "/api/studies" or is_rename):
            reason = "a study is begun by autoprune search, and keeps the name of its folder"
            return "405 Method Not Allowed", reason
        if environ.get("HTTP_HOST", LOOPBACK).partition(":")[0] not in (LOOPBACK, "localhost"):
            return "403 Forbidden", f"this server answers to {LOOPBACK} only"
        return None

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if (refused := refusal(environ)) is None:
            return app(environ, start)
        start(refused[0], headers)
        return [f"{refused[1]}\n".encode()]

    return guarded


# What would be answered with 405 in a dashboard that is read-only.
_HIDE_BUTTONS = (
    "<style>"
    '[aria-label="delete study"], [aria-label="rename study"], [aria-label="delete artifact"], '
    '[aria-label="skip trial"], button:has([data-testid="AddBoxIcon"]), '
    'button:has([data-testid="EditIcon"]), button:has([data-testid="DeleteIcon"]) '
    "{ display: none !important; }</style></head>"
)


def _without_buttons(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` with pages in which what creates, changes and deletes is hidden."""

    def answered(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith("/dashboard"):
            return app(environ, start)
        state: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
            state[:] = [status, headers]
            return state.append

        environ = {k: v for k, v in environ.items() if k != "HTTP_IF_MODIFIED_SINCE"}
        body = b"".join(app(environ, keep)).replace(b"</head>", _HIDE_BUTTONS.encode(), 1)
        status, headers = state[0], [pair for pair in state[1] if pair[0] != "Content-Length"]
        start(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answered


def _with_layer_importances(app: "WSGIApplication", storage: BaseStorage) -> "WSGIApplication":
    """Return `app` with the importances that the report shows, where a study is of autoprune."""

    def answered(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        match = _IMPORTANCES_PATH.fullmatch(environ.get("PATH_INFO", ""))
        if environ["REQUEST_METHOD"] != "GET" or not match:
            return app(environ, start)
        study_id = int(match[1])
        try:
            depth = storage.get_study_user_attrs(study_id).get("depth")
        except KeyError:
            depth = None
        if not isinstance(depth, int):
            return app(environ, start)
        shares = _importances(storage.get_all_trials(study_id, deepcopy=False), depth)
        kind = IntDistribution.__name__
        items = [
            {"name": name, "importance": share, "distribution": kind}
            for name, share in shares.items()
        ]
        body = json.dumps({"param_importances": [items]}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start("200 OK", headers)
        return [body]

    return answered


def _listen(app: Any, port: int) -> WSGIServer:
    """Return a server on `port` or the first free one of the next 19."""
    for candidate in range(port, min(port + 20, 65536)):
        try:
            return make_server(LOOPBACK, candidate, app, _Server, _SilentHandler)
        except OSError:
            continue
    raise OptionError(f"ports {port} to {port + 19} are taken, name another with --port")


MIN_TRIALS = 4  # complete trials needed to fit the forest of fANOVA


def layer_importances(storage: BaseStorage, name: str) -> dict[str, float]:
    """Return each layer's share of the scores' variance by fANOVA: `layer 3` -> [0, 1], sum 1.

    The most important layer comes first. Only trials with the smallest budget count. Empty if there
    is no such study, too few of these trials are complete, or all scores are equal. The same trials
    give the same shares. Optuna's default, PED-ANOVA, looks at the best tenth of the trials alone:
    of 16 trials at two, which contradicts the effects of the layers. Source: Hutter, Hoos and
    Leyton-Brown, ICML 2014.
    """
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return {}
        study_id = storage.get_study_id_from_name(name)
        attributes = storage.get_study_user_attrs(study_id)
        trials = storage.get_all_trials(study_id, deepcopy=False)
        with stored_values(name, storage_name(storage)):
            shares = _importances(trials, attributes["depth"])
    return {f"layer {int(flag.rpartition('_')[2])}": share for flag, share in shares.items()}


def _importances(trials: Sequence[FrozenTrial], depth: int) -> dict[str, float]:
    """Return the importance of each layer's flag; see `layer_importances`."""
    runs = [
        (run, trial.value)
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.value is not None
        and (run := run_of_trial(trial, depth)) is not None
    ]
    least = min((run.fidelity for run, _ in runs), default=1.0)
    scores = tuple((run.layout, value) for run, value in runs if run.fidelity == least)
    if len(scores) < MIN_TRIALS or len({value for _, value in scores}) == 1:
        return {}
    return _fanova(scores, depth)


@lru_cache(maxsize=32)  # the dashboard asks again and again
def _fanova(scores: tuple[tuple[Layout, float], ...], depth: int) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # hides that a study is created
    study = optuna.create_study(direction="maximize")
    space = distributions(depth)
    study.add_trials(
        create_trial(params=flag_params(layout), distributions=space, value=value)
        for layout, value in scores
    )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    ordered = sorted(shares.items(), key=lambda item: (-round(item[1], 9), item[0]))
    return {name: float(share) for name, share in ordered}
