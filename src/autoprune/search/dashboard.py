"""Optuna's dashboard over one or many storages, on this machine only."""

import json
import re
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard

from autoprune.errors import OptionError
from autoprune.search.gathered import Gathered
from autoprune.search.marks import FIDELITY, SEED
from autoprune.search.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
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
    storage = storages[0] if len(storages) == 1 else Gathered(storages, writable)
    app = local_only(layers_alone(optuna_dashboard.wsgi(storage)))
    if len(storages) > 1:
        app = no_new_study(app)
    with _listen(app if writable else read_only(app), port) as server:
        address = f"http://{HOST}:{server.server_port}/dashboard/"
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


def layers_alone(app: "WSGIApplication") -> "WSGIApplication":
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
        if environ.get("HTTP_HOST", HOST).partition(":")[0] in (HOST, "localhost"):
            return app(environ, start)
        return _refuse(start, "403 Forbidden", f"this server answers to {HOST} only")

    return guarded


def _refuse(start: "StartResponse", status: str, why: str) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Allow", ", ".join(_READING))]
    start(status, headers)
    return [f"{why}\n".encode()]


def _listen(app: Any, port: int) -> WSGIServer:
    """Bind `port`, or the first free one of the next 20."""
    for candidate in range(port, min(port + 20, 65536)):
        try:
            return make_server(HOST, candidate, app, _Server, _Quiet)
        except OSError:
            continue
    raise OptionError(f"ports {port} to {port + 19} are taken, name another with --port")
