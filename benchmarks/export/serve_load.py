"""Load a server of an exported model, and stop it under load: latencies, errors, lost requests.

    python benchmarks/export/serve_load.py DIR FILE [--requests N] [--clients N] [--format NAME]

FILE has a text a line. The server runs as `autoprune serve DIR` on a free port. Clients send one
text at a time, each over a connection that is kept. After all requests, the same load goes on and
the server gets SIGTERM: an accepted request that is not answered is lost.
"""

import argparse
import http.client
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Answers:
    """What clients saw: seconds of each answer by its status, and connections that broke."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    refused: int = 0
    broken: int = 0


def send(port: int, texts: "itertools.count[int]", lines: list[str], most: int) -> Answers:
    """Send texts until `most` are sent by all clients, or the server is gone."""
    found, connection = Answers(), http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while (number := next(texts)) < most:
        body = json.dumps({"text": lines[number % len(lines)]}).encode()
        started = time.perf_counter()
        try:
            connection.request("POST", "/predict", body)
        except OSError:  # nothing was sent: the server no longer listens
            found.refused += 1
            break
        try:
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            found.broken += 1
            connection.close()
            continue
        found.seconds.append(time.perf_counter() - started)
        found.statuses.append(answer.status)
    connection.close()
    return found


def load(port: int, lines: list[str], clients: int, most: int, process: Any = None) -> Answers:
    """Run all clients at once; with a `process`, end it by SIGTERM after a second."""
    texts, results = itertools.count(), [Answers() for _ in range(clients)]

    def run(number: int) -> None:
        results[number] = send(port, texts, lines, most)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    if process is not None:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    return Answers(
        [second for each in results for second in each.seconds],
        [status for each in results for status in each.statuses],
        sum(each.refused for each in results),
        sum(each.broken for each in results),
    )


def main() -> None:
    """Read the arguments and print the result as JSON."""
    parser = argparse.ArgumentParser(description="How does a server hold under load?")
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--format", default="onnx-int8")
    arguments = parser.parse_args()
    lines = [line for line in arguments.file.read_text(encoding="utf-8").splitlines() if line]
    command = [sys.executable, "-m", "autoprune", "serve", str(arguments.model), "--port", "0"]
    with subprocess.Popen(
        [*command, "--format", arguments.format], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        ready = process.stderr.readline()
        match = re.search(r":(\d+)/predict", ready)
        if match is None:
            sys.exit(ready + process.stderr.read())
        port, started = int(match[1]), time.perf_counter()
        held = load(port, lines, arguments.clients, arguments.requests)
        seconds = time.perf_counter() - started
        stopped = load(port, lines, arguments.clients, sys.maxsize, process)
        last = process.stderr.read().strip().splitlines()[-1]
        code = process.wait()
    cuts = statistics.quantiles(held.seconds, n=100)
    print(
        json.dumps(
            {
                "date": time.strftime("%Y-%m-%d"),
                "format": arguments.format,
                "requests": len(held.statuses),
                "clients": arguments.clients,
                "texts_per_second": round(len(held.statuses) / seconds, 1),
                "p50_ms": round(1000 * cuts[49], 2),
                "p99_ms": round(1000 * cuts[98], 2),
                "errors": sum(status != 200 for status in held.statuses) + held.broken,
                "after_sigterm": {
                    "answered": len(stopped.statuses),
                    "errors": sum(status != 200 for status in stopped.statuses),
                    "broken": stopped.broken,
                    "exit_code": code,
                    "server": last,
                },
            }
        )
    )


if __name__ == "__main__":
    main()
