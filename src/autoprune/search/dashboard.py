"""Dashboard: Optuna's, over one or many storages, read-only and on this machine only."""

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
from optuna.study import Study
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
    """A plotly figure, as far as it is needed to keep it."""

    def to_json(self) -> str:
        """Return the figure as plotly's JSON."""


def save_first_note(storage: BaseStorage, name: str, note: str) -> None:
    """Give study `name` a first note, in Markdown; one that it has already stays.

    Raises `StorageError`.
    """
    with storage_failures():
        study = _load(storage, name)
        if not get_note(study):
            save_note(study, note)


def save_note_and_plots(
    storage: BaseStorage, name: str, note: str, figures: Mapping[str, Figure]
) -> None:
    """Give study `name` a `note`, in Markdown, and `figures`, by title, in place of earlier ones.

    A title has letters, digits and hyphens only. Raises `StorageError`.
    """
    with storage_failures():
        study = _load(storage, name)
        save_note(study, note)
        for title, figure in figures.items():
            save_plotly_graph_object(study, figure, graph_object_id=title)


def _load(storage: BaseStorage, name: str) -> Study:
    return optuna.load_study(study_name=name, storage=optuna.storages.get_storage(storage))


LOOPBACK = "127.0.0.1"
"""The dashboard asks nobody for a password, so nobody else may reach it."""

_IMPORTANCES = re.compile(r"/api/studies/\d+/param_importances/?")

_READING = ("GET", "HEAD", "OPTIONS")


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would share a port that is taken


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing for a request."""


def serve(
    storages: Sequence[Storage],
    port: int,
    *,
    writable: bool,
    ready: Callable[[str], None],
    browser: bool,
) -> None:
    """Serve the studies of `storages` until Ctrl-C, on `port` or the next free one.

    `ready` is told the address. Unless `writable`, every request but to read is answered with 405.
    Where there are several storages, no study can be created or renamed. Raises `OptionError`.
    """
    storage = storages[0] if len(storages) == 1 else CombinedStorage(storages, writable)
    app = local_only(only_layer_params(optuna_dashboard.wsgi(storage)))
    if len(storages) > 1:
        app = no_new_study(app)
    with _listen(app if writable else read_only(app), port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/dashboard/"
        ready(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()


def read_only(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` with every request but to read answered by 405."""

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _READING:
            return app(environ, start)
        return _refuse(
            start,
            "405 Method Not Allowed",
            "the dashboard is read-only, start it with --writable to change a study",
        )

    return guarded


def no_new_study(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` with every request for a new study, or a new name of one, answered by 405."""

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").rstrip("/")
        new = path == "/api/studies" or (path.startswith("/api/") and path.endswith("/rename"))
        if environ["REQUEST_METHOD"] != "POST" or not new:
            return app(environ, start)
        return _refuse(
            start,
            "405 Method Not Allowed",
            "a study is begun by autoprune search, and keeps the name of its folder",
        )

    return guarded


def only_layer_params(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` with the importances of seed and fidelity left out, the others summing to one.

    They are parameters of each trial, so that Optuna knows the whole of it, and no traits of a
    layout. Each trial has a seed of its own: PED-ANOVA takes that, and even a fidelity that is the
    same for all, for what decides most.
    """

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        asked = _IMPORTANCES.fullmatch(environ.get("PATH_INFO", ""))
        if environ["REQUEST_METHOD"] != "GET" or not asked:
            return app(environ, start)
        begun: list[Any] = []
        body = b"".join(app(environ, lambda *told: begun.extend(told)))  # type: ignore[arg-type]
        status, headers = begun[:2]
        if status.startswith("200"):
            found = json.loads(body)
            found["param_importances"] = [_of_layers(one) for one in found["param_importances"]]
            body = json.dumps(found).encode()
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start(status, headers)
        return [body]

    return guarded


def _of_layers(importances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [one for one in importances if one["name"] not in (SEED, FIDELITY)]
    whole = sum(one["importance"] for one in kept)
    return [one | {"importance": one["importance"] / whole if whole else 0.0} for one in kept]


def local_only(app: "WSGIApplication") -> "WSGIApplication":
    """Return `app` with every request for another host's name answered by 403.

    A web page could else have its own name point here and read or delete the studies.
    """

    def guarded(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environ.get("HTTP_HOST", LOOPBACK).partition(":")[0] in (LOOPBACK, "localhost"):
            return app(environ, start)
        return _refuse(start, "403 Forbidden", f"this server answers to {LOOPBACK} only")

    return guarded


def _refuse(start: "StartResponse", status: str, why: str) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Allow", ", ".join(_READING))]
    start(status, headers)
    return [f"{why}\n".encode()]


def _listen(app: Any, port: int) -> WSGIServer:
    """Bind `port`, or the first free one of the next 20."""
    for candidate in range(port, min(port + 20, 65536)):
        try:
            return make_server(LOOPBACK, candidate, app, _Server, _Quiet)
        except OSError:
            continue
    raise OptionError(f"ports {port} to {port + 19} are taken, name another with --port")


MIN_TRIALS = 4  # complete trials; forests grown on fewer say nothing


def layer_importances(storage: BaseStorage, name: str) -> dict[str, float]:
    """Return each layer's share in the scores' variance by fANOVA: `layer 3` -> [0, 1], sum 1.

    Of trials with the smallest of several budgets alone. Empty where the study is not there, too
    few such trials are complete, or all scores are equal. The same trials give the same shares.
    Source: Hutter, Hoos and Leyton-Brown, ICML 2014.
    """
    with storage_failures():
        storage = optuna.storages.get_storage(storage)
        if name not in optuna.get_all_study_names(storage):
            return {}
        study = optuna.load_study(study_name=name, storage=storage)
        whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    least = min((trial.params[FIDELITY] for trial in whole), default=1.0)
    whole = [trial for trial in whole if trial.params[FIDELITY] == least]
    if len(whole) < MIN_TRIALS or len({trial.value for trial in whole}) == 1:
        return {}
    flags = list(flag_names(study.user_attrs["depth"]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of each study that is made
    alone = optuna.create_study(direction="maximize")
    alone.add_trials(whole)
    shares = get_param_importances(alone, evaluator=FanovaImportanceEvaluator(seed=0), params=flags)
    return {f"layer {int(flag.rpartition('_')[2])}": float(shares[flag]) for flag in sorted(shares)}
