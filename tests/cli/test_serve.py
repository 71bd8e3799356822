"""The serve command: requests are answered as predict does, wrong ones refused, none lost."""

import asyncio
import http.client
import json
import re
import shutil
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from autoprune.export import serve
from autoprune.export.predict import open_predictor
from autoprune.export.serve import PredictionApp, RequestError, ServeSettings, parse_rows

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "export"))

TEXTS = ["एक दोन एक", "तीन", "सात नऊ दहा", "एक"]


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Return the folder of a saved classifier."""
    folder = tmp_path_factory.mktemp("serve") / "mine"
    loaded = AutoModelForSequenceClassification.from_pretrained(model, num_labels=3)
    loaded.config.problem_type = "single_label_classification"
    loaded.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


@pytest.fixture
def server(exported, start):
    """Return the process of a server and its port."""
    options = ("--port", 0, "--max-body", 2, "--max-texts", 5)
    with start("serve", exported, *options, folder=".") as process:
        ready = process.stderr.readline()
        port = int(re.search(r"mine \(transformers\) at http://127.0.0.1:(\d+)/predict", ready)[1])
        yield process, port
        process.terminate()


def ask(port, path, body=None):
    """Return status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, data)
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, json.loads(text) if path != "/metrics" else text


def test_serve_answers_as_predict_does_and_stops_without_loss(server, exported, run, tmp_path):
    process, port = server
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    lines = run("predict", exported, texts, "--format", "jsonl").out.splitlines()
    wanted = [json.loads(line) for line in lines]

    def equal(found, expected):
        assert found["label"] == expected["label"]
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)

    status, found = ask(port, "/predict", {"texts": TEXTS})
    assert status == 200
    for each, expected in zip(found["predictions"], wanted, strict=True):
        equal(each, expected)
    equal(ask(port, "/predict", {"text": TEXTS[2]})[1], wanted[2])
    paired = ask(port, "/predict", {"text": TEXTS[0], "pair": TEXTS[1]})[1]
    both = ask(port, "/predict", {"texts": TEXTS[:2], "pairs": TEXTS[1:3]})[1]
    equal(both["predictions"][0], paired)
    assert paired["probabilities"] != pytest.approx(wanted[0]["probabilities"], abs=1e-5)

    assert ask(port, "/predict", {"texts": TEXTS * 2})[0] == 413
    assert ask(port, "/predict", {"text": "एक " * 2000})[0] == 413
    assert ask(port, "/predict", b"{")[0] == 400
    for path, status in (("/predict", 405), ("/other", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == status
        assert "POST a JSON object such as" in json.load(answer)["error"]

    status, health = ask(port, "/health")
    assert (status, health["status"], len(health["labels"])) == (200, "ok", 3)
    metrics = ask(port, "/metrics")[1]
    assert 'autoprune_requests_total{status="200"} 4' in metrics
    assert 'autoprune_requests_total{status="413"} 2' in metrics
    assert "autoprune_texts_total 8" in metrics
    assert "autoprune_request_seconds_count 7" in metrics

    # Under load: all are answered, also those under way when the signal comes.
    from serve_load import load

    held = load(port, TEXTS, 8, 200)
    assert (len(held.statuses), {*held.statuses}, held.broken) == (200, {200}, 0)
    stopped = load(port, TEXTS, 8, sys.maxsize, process)
    assert ({*stopped.statuses}, stopped.broken) == ({200}, 0)
    assert process.wait(30) == 0
    accepted = 4 + 3 + 200 + len(stopped.statuses)
    assert process.stderr.read() == f"stopped: {accepted:,} requests accepted, 0 lost\n"


@pytest.mark.slow
def test_serve_that_stops_answers_over_open_connections_and_takes_no_new_ones(server):
    process, port = server
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(2):
        kept.request("POST", "/predict", json.dumps({"text": TEXTS[0]}))
        assert json.loads(kept.getresponse().read())["label"]
    process.terminate()
    time.sleep(0.3)
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/health")
    kept.request("POST", "/predict", json.dumps({"text": TEXTS[0]}))
    answer = kept.getresponse()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    answer.read()
    assert process.wait(30) == 0
    assert process.stderr.read() == "stopped: 3 requests accepted, 0 lost\n"


BAD = {
    "not JSON": (b"no", 400, "must be JSON"),
    "not UTF-8": (b'{"text": "\xff"}', 400, "must be JSON"),
    "a list": (b"[]", 400, "either"),
    "neither": (b"{}", 400, "either"),
    "both": (b'{"text": "a", "texts": ["a"]}', 400, "either"),
    "unknown": (b'{"text": "a", "paar": "b"}', 400, "unknown field 'paar'"),
    "a number": (b'{"text": 1}', 400, "'text' must be a text"),
    "null": (b'{"texts": null}', 400, "'texts' must be a list"),
    "a text": (b'{"texts": "a"}', 400, "'texts' must be a list"),
    "none": (b'{"texts": []}', 400, "1 to 2 texts, got 0"),
    "many": (b'{"texts": ["a", "b", "c"]}', 413, "1 to 2 texts, got 3"),
    "long": (json.dumps({"text": "a" * 100_001}).encode(), 413, "100,000 characters"),
    "pairs": (b'{"texts": ["a", "b"], "pairs": ["a"]}', 400, "as many"),
    "deep": (b'{"text": ' + b"[" * 100_000, 400, "must be JSON"),
    "half a character": (b'{"text": "a\\ud83d"}', 400, "surrogate"),
    "half in a pair": (b'{"text": "a", "pair": "\\udc00"}', 400, "'pair' has half"),
}


@pytest.mark.parametrize(("body", "status", "reason"), BAD.values(), ids=BAD)
def test_serve_refuses_wrong_bodies(body, status, reason):
    with pytest.raises(RequestError, match=reason) as refusal:
        parse_rows(body, 2)
    assert refusal.value.status == status


def test_serve_reads_texts_and_pairs():
    assert parse_rows(b'{"text": "a"}', 2) == ([("a", None)], True)
    assert parse_rows(b'{"texts": ["a", "b"], "pairs": ["c", "d"]}', 2) == (
        [("a", "c"), ("b", "d")],
        False,
    )


def test_serve_reads_a_character_of_two_surrogates():
    assert parse_rows(b'{"text": "\\ud83d\\ude00"}', 2) == ([("\U0001f600", None)], True)


@pytest.fixture
def post(exported):
    """Return a function that answers requests at once, in this process, and the app."""
    app = PredictionApp(open_predictor(exported, torch.device("cpu")), ServeSettings())

    async def one(parts, pause, headers):
        """Send a body in `parts`, with a pause before all but the first; None never comes."""
        waiting, sent = list(parts), []

        async def receive():
            if waiting[0] is None or len(waiting) < len(parts):
                await asyncio.sleep(pause)
            part = waiting.pop(0)
            return {"type": "http.request", "body": part or b"", "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b""}
        await app.asgi({**scope, "headers": headers}, receive, send)
        start, body = sent
        return start["status"], json.loads(body["body"]), dict(start["headers"])

    def post(*requests, pause=0.0, headers=()):
        async def all_at_once():
            app.queue._requests = asyncio.Queue()  # of this event loop
            task = asyncio.create_task(app.queue.run())
            found = await asyncio.gather(*(one(parts, pause, headers) for parts in requests))
            task.cancel()
            return found

        return asyncio.run(all_at_once())

    return post, app


def body_of(**fields):
    return json.dumps(fields).encode()


def test_serve_answers_a_text_of_100_000_characters_and_1_000_texts_where_allowed(post):
    post, app = post
    longest = ("एक " * 33_334)[:100_000]
    texts = [TEXTS[number % 4] for number in range(1000)]
    [(status, found, _), (refused, why, _), (again, _, _)] = post(
        [body_of(text=longest)], [body_of(texts=texts)], [body_of(text=longest + "a")]
    )
    assert (status, refused, again) == (200, 413, 413)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert why["error"] == "'texts' must have 1 to 256 texts, got 1000"
    app.settings = replace(app.settings, max_texts=1000)
    [(status, found, _)] = post([body_of(texts=texts)])
    assert (status, len(found["predictions"])) == (200, 1000)
    wanted = [each[1]["label"] for each in post(*([body_of(text=text)] for text in TEXTS))]
    assert [each["label"] for each in found["predictions"]] == wanted * 250


def test_serve_answers_others_where_one_text_fails(post):
    post, app = post
    predict = app.queue._predict

    def fail(rows):
        if any(text == "odd" for text, _ in rows):
            raise ValueError("cannot read it")
        return predict(rows)

    app.queue._predict = fail
    found = post(*([body_of(text=text)] for text in (TEXTS[0], "odd", TEXTS[1])))
    assert [status for status, *_ in found] == [200, 500, 200]
    assert app.queue.waiting == 0


def test_serve_refuses_a_body_without_a_length_when_it_gets_too_long(post):
    post, app = post
    app.settings = replace(app.settings, max_body=1000)
    [(status, found, _)] = post([b"{", b" " * 900, b" " * 900, None])
    assert (status, found["error"]) == (
        413,
        "a body has at most 1,000 bytes: send fewer texts at once",
    )


def test_serve_waits_for_a_slow_body_but_not_for_ever(post, monkeypatch):
    post, app = post
    body = body_of(text=TEXTS[0])
    [(status, _, headers)] = post([body[:9], body[9:]], pause=0.2)
    assert (status, b"connection" in headers) == (200, False)
    monkeypatch.setattr(serve, "_BODY_SECONDS", 0.1)
    [(status, found, headers), (other, _, _)] = post([body[:9], body[9:]], [body], pause=5)
    assert (status, headers[b"connection"], other) == (408, b"close", 200)
    assert found["error"] == "the body must come within 0.1 seconds"
    assert sum(app.metrics.statuses.values()) == app.metrics.started == 3


def test_serve_refuses_single_texts_where_the_model_was_trained_on_pairs(post):
    post, app = post
    app.predictor = replace(app.predictor, pairs=True)
    [(status, found, _), (paired, _, _)] = post(
        [body_of(text=TEXTS[0])], [body_of(text=TEXTS[0], pair=TEXTS[1])]
    )
    assert (status, paired) == (400, 200)
    assert 'with --text-pair or in "pair"' in found["error"]


@pytest.mark.slow
def test_serve_starts_with_a_model_trained_on_pairs(exported, start, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "pairs")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"text_pairs": True}))
    with start("serve", folder, "--port", 0, folder=".") as process:
        ready = process.stderr.readline()
        port = int(re.search(r"http://127.0.0.1:(\d+)/predict", ready)[1])
        asked = {"texts": TEXTS[:1], "pairs": TEXTS[1:2]}
        assert ask(port, "/predict", asked)[0] == 200
        process.terminate()


def test_serve_refuses_texts_while_too_many_wait(post):
    post, app = post
    app.queue.waiting = 32 * 64 + 1
    assert post([body_of(text="a")])[0][:2] == (
        503,
        {"error": "too many texts are waiting: send them later"},
    )


# A model that takes a second for a batch.
SLOW = """
import time
from autoprune.cli import main
from autoprune.export import serve
predict = serve.BatchQueue._predict
serve.BatchQueue._predict = lambda self, rows: (time.sleep(1), predict(self, rows))[1]
main()
"""


@pytest.mark.slow
def test_serve_that_stops_answers_what_is_under_way_and_a_client_that_is_slow(exported, start):
    body = body_of(text=TEXTS[0])
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with start("serve", exported, "--port", 0, folder=".", code=SLOW) as process:
        port = int(re.search(r":(\d+)/predict", process.stderr.readline())[1])
        whole, slow, silent = (socket.create_connection(("127.0.0.1", port)) for _ in range(3))
        with whole, slow, silent:
            whole.sendall(head + body)
            slow.sendall(head + body[:9])
            silent.sendall(b"POST /pre")
            time.sleep(0.3)
            process.terminate()
            time.sleep(0.3)
            slow.sendall(body[9:])
            for connection in (whole, slow):
                connection.settimeout(30)
                answer = connection.makefile("rb").read()
                assert answer.startswith(b"HTTP/1.1 200 OK") and b'"label"' in answer
            assert process.wait(20) == 0
        assert process.stderr.read() == "stopped: 2 requests accepted, 0 lost\n"


def test_serve_names_what_is_wrong(exported, run, tmp_path):
    def refusal(*arguments):
        return run("serve", *arguments).refusal()

    assert "found none at" in refusal(tmp_path / "nowhere")
    assert "holds no model" in refusal(tmp_path)
    assert "which has transformers" in refusal(exported, "--format", "onnx")
    assert "unknown format 'int8'" in refusal(exported, "--format", "int8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "another --port" in refusal(exported, "--port", taken.getsockname()[1])
