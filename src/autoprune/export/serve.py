"""HTTP server: an exported model answers requests, those that wait together in one batch.

`POST /predict` takes `{"text": ...}` and maybe `"pair"`, or `{"texts": [...]}` and maybe `"pairs"`;
`GET /health` and `GET /metrics` (Prometheus) are for what watches the server. After SIGTERM it
answers what it has accepted, asks clients to close their connections, and ends.
"""

import asyncio
import json
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from autoprune.errors import AutopruneError, DataError, OptionError, first_line
from autoprune.export.formats import open_format
from autoprune.export.predict import Predictor, RowPrediction
from autoprune.export.prediction_files import prediction_entry
from autoprune.training.devices import limited_threads

TextPair = tuple[str, str | None]

_DRAIN_SECONDS = 0.5  # without a request, after which a connection is closed once we stop

_GRACE_SECONDS = 30  # for answers under way

_BODY_SECONDS = 10  # in which a body must come

_MAX_CHARACTERS = 100_000  # of one text

_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can hold one, UTF-8 cannot

_MAX_WAITING = 64  # batches of rows that may wait

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where and how a model is served.

    `format` is a name in `MODEL_FORMATS`, None for the fastest that is there. `batch` rows run
    together. A body has at most `max_body` bytes and `max_texts` texts.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    format: str | None = None
    batch: int = 32
    threads: int = 1
    max_body: int = 1 << 20
    max_texts: int = 256


class RequestError(AutopruneError):
    """A request that is refused with the HTTP status `status`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


_Request = tuple[Sequence[TextPair], "asyncio.Future[list[RowPrediction]]"]


class BatchQueue:
    """Runs the rows of concurrent requests together, at most `batch` at a time, in one thread."""

    def __init__(self, predictor: Predictor, batch: int) -> None:
        self.predictor, self.batch = predictor, batch
        self.waiting = 0
        self.batches = 0
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()

    async def predict(self, rows: Sequence[TextPair]) -> list[RowPrediction]:
        """Return the probabilities of each row; raises `RequestError` where too many wait."""
        if self.waiting > self.batch * _MAX_WAITING:
            raise RequestError(503, "too many texts are waiting: send them later")
        future: asyncio.Future[list[RowPrediction]] = asyncio.get_running_loop().create_future()
        self.waiting += len(rows)
        self._requests.put_nowait((rows, future))
        return await future

    async def run(self) -> None:
        """Answer requests until it is cancelled."""
        with ThreadPoolExecutor(1) as thread:
            while True:
                taken = [await self._requests.get()]
                while not self._requests.empty() and sum(len(rows) for rows, _ in taken) < (
                    self.batch
                ):
                    taken.append(self._requests.get_nowait())
                try:
                    await self._answer(taken, thread)
                finally:
                    self.waiting -= sum(len(rows) for rows, _ in taken)

    async def _answer(self, taken: Sequence[_Request], thread: ThreadPoolExecutor) -> None:
        """Answer requests together; where that fails, each alone, for one may be at fault."""
        rows = [row for part, _ in taken for row in part]
        try:
            found = await asyncio.get_running_loop().run_in_executor(thread, self._predict, rows)
        except Exception as error:
            for one in taken if len(taken) > 1 else ():
                await self._answer([one], thread)
            if len(taken) == 1 and not taken[0][1].done():
                taken[0][1].set_exception(error)
            return
        start = 0
        for part, future in taken:
            if not future.done():  # it is, where the client has gone
                future.set_result(found[start : start + len(part)])
            start += len(part)

    def _predict(self, rows: Sequence[TextPair]) -> list[RowPrediction]:
        """Return the probabilities of each row; single texts and pairs run apart."""
        self.batches += 1
        found: dict[int, RowPrediction] = {}
        for paired in (False, True):
            index = [row for row, (_, pair) in enumerate(rows) if (pair is not None) is paired]
            answers = self.predictor([rows[row] for row in index], self.batch)
            found |= zip(index, answers, strict=True)
        return [found[row] for row in range(len(rows))]


class _Metrics:
    """Counts for `/metrics`."""

    def __init__(self) -> None:
        self.started, self.texts = 0, 0
        self.used_at = 0.0  # when a request came or was answered
        self.statuses: Counter[int] = Counter()
        self.seconds = 0.0
        self.below: Counter[float] = Counter()

    def answer(self, status: int, seconds: float) -> None:
        self.used_at = time.monotonic()
        self.statuses[status] += 1
        self.seconds += seconds
        self.below.update(bucket for bucket in _BUCKETS if seconds <= bucket)

    def text(self, queue: BatchQueue) -> str:
        name, count = "autoprune_request_seconds", sum(self.statuses.values())
        lines = ["# TYPE autoprune_requests_total counter"]
        lines += [
            f'autoprune_requests_total{{status="{status}"}} {number}'
            for status, number in sorted(self.statuses.items())
        ]
        for counter, value in (("texts", self.texts), ("batches", queue.batches)):
            lines += [
                f"# TYPE autoprune_{counter}_total counter",
                f"autoprune_{counter}_total {value}",
            ]
        lines += [
            "# TYPE autoprune_waiting_texts gauge",
            f"autoprune_waiting_texts {queue.waiting}",
        ]
        lines.append(f"# TYPE {name} histogram")
        lines += [f'{name}_bucket{{le="{bucket}"}} {self.below[bucket]}' for bucket in _BUCKETS]
        lines.append(f'{name}_bucket{{le="+Inf"}} {count}')
        lines += [f"{name}_sum {self.seconds:.6f}", f"{name}_count {count}"]
        return "\n".join(lines) + "\n"


class PredictionApp:
    """The routes of the server; with `stopping` every answer closes its connection."""

    def __init__(self, predictor: Predictor, settings: ServeSettings) -> None:
        self.predictor, self.settings = predictor, settings
        self.queue = BatchQueue(predictor, settings.batch)
        self.metrics = _Metrics()
        self.stopping = False
        self.asgi = Starlette(
            routes=[
                Route("/predict", self._answer, methods=["POST"]),
                Route("/health", self._health),
                Route("/metrics", self._show_metrics),
            ],
            lifespan=self._lifespan,
            exception_handlers={404: self._explain, 405: self._explain},
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue.run())
        yield
        task.cancel()

    async def _answer(self, request: Request) -> Response:
        started, status = time.perf_counter(), 500
        self.metrics.started += 1
        self.metrics.used_at = time.monotonic()
        try:
            rows, is_single = parse_rows(await self._body(request), self.settings.max_texts)
            self.predictor.check_rows(rows)
            self.metrics.texts += len(rows)
            entries = [
                prediction_entry(self.predictor, row) for row in await self.queue.predict(rows)
            ]
            body: Any = entries[0] if is_single else {"predictions": entries}
            status = 200
        except RequestError as error:
            status, body = error.status, {"error": str(error)}
        except DataError as error:
            status, body = 400, {"error": str(error)}
        except ClientDisconnect:
            status, body = 499, {"error": "the client has closed the connection"}
        except Exception as error:  # of the runtime: the server goes on
            body = {"error": f"the model failed: {first_line(error)}"}
        finally:
            self.metrics.answer(status, time.perf_counter() - started)
        return JSONResponse(body, status, headers=self._headers(status))

    async def _explain(self, _: Request, error: Exception) -> Response:
        """Say what is served, to who asks for another path or opens /predict in a browser."""
        usage = (
            'POST a JSON object such as {"text": "..."} to /predict; /health and /metrics are read'
        )
        status = error.status_code if isinstance(error, HTTPException) else 404
        return JSONResponse({"error": usage}, status, headers=self._headers())

    async def _body(self, request: Request) -> bytes:
        """Return the body; raises `RequestError` where it is too long, before it is read whole."""
        most, body = self.settings.max_body, b""
        too_long = RequestError(413, f"a body has at most {most:,} bytes: send fewer texts at once")
        if int(request.headers.get("content-length") or 0) > most:
            raise too_long
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise too_long
        except TimeoutError as error:
            raise RequestError(408, f"the body must come within {_BODY_SECONDS} seconds") from error
        return body

    async def _health(self, _: Request) -> Response:
        state = {
            "status": "stopping" if self.stopping else "ok",
            "labels": list(self.predictor.labels),
        }
        return JSONResponse(state, 503 if self.stopping else 200, headers=self._headers())

    async def _show_metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.metrics.text(self.queue), headers=self._headers())

    def _headers(self, status: int = 200) -> dict[str, str]:
        close = self.stopping or status == 408  # then more of a body may come
        return {"connection": "close"} if close else {}


def parse_rows(body: bytes, max_texts: int) -> tuple[list[TextPair], bool]:
    """Return the texts of a request, each with a second one or None, and whether it is a single.

    Raises `RequestError` that says what is wrong in which field.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body must be JSON in UTF-8: {first_line(error)}") from error
    if not isinstance(fields, dict) or ("text" in fields) is ("texts" in fields):
        raise RequestError(400, 'the body must be an object with either "text" or "texts"')
    is_single = "text" in fields
    name, second = ("text", "pair") if is_single else ("texts", "pairs")
    if unknown := sorted(fields.keys() - {name, second}):
        raise RequestError(400, f"unknown field {unknown[0][:80]!r}: give {name!r}, {second!r}")
    texts, pairs = fields[name], fields.get(second)
    if is_single:
        texts, pairs = [texts], None if pairs is None else [pairs]
    for field, values in ((name, texts), (second, pairs)):
        if values is None and field == second:
            continue
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            kind = "a text" if is_single else "a list of texts"
            raise RequestError(400, f"{field!r} must be {kind}")
        if max(map(len, values), default=0) > _MAX_CHARACTERS:
            raise RequestError(413, f"a text has at most {_MAX_CHARACTERS:,} characters")
        if any(map(_SURROGATE.search, values)):
            raise RequestError(400, f"{field!r} has half of a surrogate pair, which is no text")
    if not 0 < len(texts) <= max_texts:
        status = 413 if texts else 400
        raise RequestError(status, f"{name!r} must have 1 to {max_texts} texts, got {len(texts)}")
    if pairs is not None and len(pairs) != len(texts):
        raise RequestError(400, f"{second!r} must have as many texts as {name!r}")
    return list(zip(texts, pairs or [None] * len(texts), strict=True)), is_single


class _Server(uvicorn.Server):
    """After a signal it takes no new connections, and answers what comes over those that it has.

    Each answer asks the client to close its connection. The server ends when all are closed, when
    none was used for `_DRAIN_SECONDS`, or after `_GRACE_SECONDS`. uvicorn would close a connection
    at once that has a request which is not read yet.
    """

    def __init__(self, config: uvicorn.Config, app: PredictionApp) -> None:
        super().__init__(config)
        self._app, self._stopped_at = app, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to stop; a second signal does not wait."""
        if self._stopped_at:
            self.should_exit = True
            return
        self._stopped_at = time.monotonic()
        self._loop.call_soon_threadsafe(self._refuse_connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def _refuse_connections(self) -> None:
        """Stop listening, and only then ask clients to close: they cannot come back."""
        for server in self.servers:
            server.close()
        self._app.stopping = True

    async def on_tick(self, counter: int) -> bool:
        if self._app.stopping and not self.should_exit:
            now, state = time.monotonic(), self.server_state
            quiet = now - max(self._stopped_at, self._app.metrics.used_at) >= _DRAIN_SECONDS
            late = now - self._stopped_at >= _GRACE_SECONDS
            self.should_exit = not state.connections or (quiet and not state.tasks) or late
        return await super().on_tick(counter)


def serve_model(
    folder: Path, settings: ServeSettings, ready: Callable[[str, str], object]
) -> tuple[int, int]:
    """Serve the model in `folder` until SIGTERM or Ctrl-C.

    Calls `ready` with address and format when requests are accepted. Returns how many requests for
    predictions were accepted, and how many of them were answered. Raises `AutopruneError`.
    """
    with limited_threads(settings.threads):
        predictor, name = open_format(folder, settings.format)
        list(predictor([("a", "a" if predictor.pairs else None)], 1))  # the first run allocates
        app = PredictionApp(predictor, settings)
        try:
            listening = socket.create_server((settings.host, settings.port), backlog=1024)
        except OSError as error:
            raise OptionError(
                f"cannot listen at {settings.host}:{settings.port} ({error.strerror or error}): "
                "give another --port or --host"
            ) from error
        config = uvicorn.Config(
            app.asgi,
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        with listening:
            host, port = listening.getsockname()[:2]
            ready(f"http://{host}:{port}", name)
            _Server(config, app).run(sockets=[listening])
        return app.metrics.started, sum(app.metrics.statuses.values())
