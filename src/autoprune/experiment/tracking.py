"""Tracking: trackers that write events to a log file of JSON lines, and to MLflow."""

import json
import logging
import os
import platform
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoprune.errors import OptionError, missing_package
from autoprune.experiment.events import (
    EntrantRunFinished,
    Event,
    SearchFinished,
    TrialFinished,
)

STUDY_FILES = {
    "journal.log",
    "records.jsonl",
    "study.json",
    "baseline.json",
    "cost.json",
    "proxy.json",
}
"""Names of the files that a study owns, here without the imports that they would take."""

_BEGIN = b'{"time": '

Warn = Callable[[str], None]


class JsonLinesTracker:
    """Appends each event to a file as one JSON object a line: time in UTC, event, fields, process.

    Each is one write, so that several processes can share the file. Where a write fails, `warn` is
    called once, and nothing more is written: the study counts more.

    Raises:
        OptionError: the file cannot be written, or is not a log: it stays as it is.
    """

    def __init__(self, path: Path, warn: Warn) -> None:
        self._path, self._warn = path, warn
        if path.resolve().name in STUDY_FILES:
            raise OptionError(
                f"--log-file must not have the name of a study's own file, got {path}"
            )
        try:
            # A pipe that nobody reads is not waited for.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            self._file: int | None = os.open(path, flags, 0o666)
            if not _is_log(self._file):
                os.close(self._file)
                raise OptionError(
                    f"--log-file appends to a log of autoprune, {path} holds something else: "
                    "name a new file"
                )
            if _ends_within_a_line(self._file):  # after a full disk: start on a new line
                os.write(self._file, b"\n")
        except OSError as error:
            raise OptionError(
                "--log-file must be a file that can be written, "
                f"{str(path)!r} is not ({error.strerror})"
            ) from None

    def track(self, event: Event) -> None:
        """Write one line."""
        if self._file is None:
            return
        line = f"{_as_json(event)}\n".encode()
        try:
            written = os.write(self._file, line)
            problem = "" if written == len(line) else "no room left"
        except OSError as error:
            problem = error.strerror or type(error).__name__
        if problem:
            self.close()
            self._warn(
                f"the log file {self._path} cannot be written ({problem}): going on without it"
            )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _as_json(event: Event) -> str:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    process = {"process": os.getpid(), "host": platform.node()}
    line = {"time": time, "event": event.name, **event.fields(), **process}
    text = json.dumps(line, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _is_log(file: int) -> bool:
    """Return whether a file is new, not regular, or begins as a log does, be it cut off."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return True
    begin = os.pread(file, len(_BEGIN), 0)
    return _BEGIN.startswith(begin)


def _ends_within_a_line(file: int) -> bool:
    state = os.fstat(file)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return False
    return os.pread(file, 1, state.st_size - 1) != b"\n"


class MlflowTracker:
    """Writes each trial and each run of the comparison as a run of MLflow.

    The MLflow experiment has the study's name. It is written to the server or database in
    MLFLOW_TRACKING_URI, else to `mlflow.db` in the working folder. After the first failure `warn`
    is called, and nothing more is written: the study's own records hold everything.

    Raises:
        OptionError: the extra `mlflow` is not installed, or no server answers.
    """

    def __init__(self, warn: Warn) -> None:
        self._client: Any = _mlflow_client()
        self._warn = warn
        self._experiments: dict[str, str] = {}

    def track(self, event: Event) -> None:
        """Write what an event says of a run; others are left out."""
        if self._client is None:
            return
        try:
            match event:
                case TrialFinished():
                    self._write_run("search", event, event.state == "failed")
                case EntrantRunFinished(on_file=False):
                    self._write_run(event.phase, event, event.failed)
                case SearchFinished(interrupted=False):
                    experiment = self._experiment(event.study)
                    self._client.set_experiment_tag(experiment, "found", str(event.found))
        except Exception as error:  # whatever a server or a database may raise
            self._client = None
            self._warn(f"MLflow takes no more runs ({type(error).__name__}): going on without it")

    def close(self) -> None:
        """Leave MLflow; there is nothing to close."""

    def _write_run(
        self, phase: str, event: TrialFinished | EntrantRunFinished, failed: bool
    ) -> None:
        if isinstance(event, TrialFinished) and event.elsewhere:
            return
        now = round(datetime.now(UTC).timestamp() * 1000)
        fields = event.fields()
        metrics = {
            name: fields[name]
            for name in ("quality", "loss", "seconds")
            if fields[name] is not None
        }
        params = {
            name: fields[name]
            for name in ("layout", "origin", "seed", "fidelity", "learning_rate")
            if fields.get(name) is not None
        }
        run = self._client.create_run(
            self._experiment(event.study),
            start_time=now - round(1000 * metrics.get("seconds", 0.0)),
            run_name=f"{event.origin} {event.layout} seed {event.seed}",
        ).info.run_id
        for name, value in ({"phase": phase} | params).items():
            self._client.log_param(run, name, value)
        for name, value in metrics.items():
            self._client.log_metric(run, name, value, timestamp=now)
        if event.reason:
            self._client.set_tag(run, "reason", event.reason)
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED", end_time=now)

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            known = self._client.get_experiment_by_name(study)
            self._experiments[study] = (
                self._client.create_experiment(study) if known is None else known.experiment_id
            )
        return self._experiments[study]


def _mlflow_client() -> Any:
    # Unless the user has chosen: no telemetry to MLflow's makers, no retries for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient, get_tracking_uri
    except ImportError:
        raise missing_package("--mlflow", "autoprune[mlflow]") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        client = MlflowClient()
        if get_tracking_uri().startswith("http"):  # a database is made when it is first needed
            client.search_experiments(max_results=1)
    except Exception as error:
        raise OptionError(
            "--mlflow found nothing to write to at the address in MLFLOW_TRACKING_URI "
            f"({type(error).__name__}): start that server, or unset it to write to mlflow.db here"
        ) from None
    return client
