"""Dashboard: serves Optuna's dashboard on this machine only, and writes its notes and plots."""

import json
import re
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import optuna_dashboard
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note, save_plotly_graph_object

from autoprune.errors import OptionError
from autoprune.search.trial import FIDELITY, SEED, flag_names
from autoprune.storage.combined import CombinedStorage
from autoprune.storage.errors import storage_failures
from autoprune.storage.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Figure(Protocol):
    """What is needed of a plotly figure to store it."""

    def to_json(self) -> str:
        """Return the figure in plotly's JSON."""


def save_first_note(storage: BaseStorage, name: str, note: str) -> None:
    """Store a note, in Markdown, in study `name` if it has none; raises `StorageError`."""
    with storage_failures():
        study = optuna.load_study(study_name=name, storage=storage)
        if not get_note(study):
            save_note(study, note)


def save_note_and_plots(
    storage: BaseStorage, name: str, note: str, figures: Mapping[str, Figure]
) -> None:
    """Store a note, in Markdown, and figures by title in study `name`; replaces earlier ones.

    A title has letters, digits and hyphens only. Raises `StorageError`.
    """
    with storage_failures():
        study = optuna.load_study(study_name=name, storage=storage)
        save_note(study, note)
        for title, figure in figures.items():
            save_plotly_graph_object(study, figure, graph_object_id=title)


LOOPBACK = "127.0.0.1"
"""The dashboard has no passwords, so it must not be reachable from other machines."""

_IMPORTANCES_PATH = re.compile(r"/api/studies/\d+/param_importances/?")

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
    storage = storages[0] if len(storages) == 1 else CombinedStorage(storages, writable)
    app = _only_layer_params(optuna_dashboard.wsgi(storage))
    app = _guarded(app, writable=writable, is_combined=len(storages) > 1)
    with _listen(app, port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/dashboard/"
        ready(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()


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


def _only_layer_params(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` without the importances of seed and fidelity; the others are scaled to sum 1.

    Seed and fidelity are parameters of a trial but not properties of its layout. Each trial has its
    own seed, so PED-ANOVA calls that the most important, or even a fidelity that is constant.
    """

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        match = _IMPORTANCES_PATH.fullmatch(environ.get("PATH_INFO", ""))
        if environ["REQUEST_METHOD"] != "GET" or not match:
            return app(environ, start)
        answer: list[Any] = []
        body = b"".join(app(environ, lambda *args: answer.extend(args)))  # type: ignore[arg-type]
        status, headers = answer[:2]
        if status.startswith("200"):
            content = json.loads(body)
            content["param_importances"] = [
                _only_layers(importances) for importances in content["param_importances"]
            ]
            body = json.dumps(content).encode()
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start(status, headers)
        return [body]

    return guarded


def _only_layers(importances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    layers = [item for item in importances if item["name"] not in (SEED, FIDELITY)]
    total = sum(item["importance"] for item in layers)
    return [item | {"importance": item["importance"] / total if total else 0.0} for item in layers]


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

    Only trials with the smallest budget count. Empty if there is no such study, too few of these
    trials are complete, or all scores are equal. The same trials give the same shares. Source:
    Hutter, Hoos and Leyton-Brown, ICML 2014.
    """
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return {}
        study = optuna.load_study(study_name=name, storage=storage)
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    fidelity = min((trial.params[FIDELITY] for trial in trials), default=1.0)
    trials = [trial for trial in trials if trial.params[FIDELITY] == fidelity]
    if len(trials) < MIN_TRIALS or len({trial.value for trial in trials}) == 1:
        return {}
    flags = list(flag_names(study.user_attrs["depth"]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # hides that a study is created
    copied = optuna.create_study(direction="maximize")
    copied.add_trials(trials)
    shares = get_param_importances(
        copied, evaluator=FanovaImportanceEvaluator(seed=0), params=flags
    )
    return {f"layer {int(flag.rpartition('_')[2])}": float(shares[flag]) for flag in sorted(shares)}
