"""Events: what a command does, told to those that keep it."""

import json
import logging
import os
import platform
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autoprune.errors import OptionError

if TYPE_CHECKING:
    from autoprune.evaluation.entrants import EntrantProgress
    from autoprune.search.result import SearchResult, TrialResult
    from autoprune.search.trial import TrialRun
    from autoprune.training.metrics import Score

_log = logging.getLogger("autoprune.events")

_log.setLevel(logging.INFO)

_log.propagate = False  # nobody else's affair, and nobody's at all while nothing keeps it

_log.addHandler(logging.NullHandler())


def add_handler(handler: logging.Handler) -> None:
    """Hand events to `handler` from now on: their name is the message, `fields` what belongs."""
    _log.addHandler(handler)


def emit(event: str, **fields: Any) -> None:
    """Tell an event with what belongs to it, as JSON values, to those that keep events."""
    _log.info(event, extra={"fields": fields})


def close_handlers(code: int) -> None:
    """Tell with which code the command ends, and close those that keep events."""
    emit("command ended", code=code)
    for handler in list(_log.handlers):
        if not isinstance(handler, logging.NullHandler):
            _log.removeHandler(handler)
            handler.close()


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time in UTC, event, what belongs to it, who wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line without its end."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        who = {"process": record.process, "host": platform.node()}
        whole = {"time": when, "event": record.getMessage(), **fields, **who}
        return json.dumps(whole, ensure_ascii=False)


class JsonLinesHandler(logging.Handler):
    """Appends each record in one write, so that several processes can share the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        self.setFormatter(JsonFormatter())
        if _is_torn(self._file):  # by a full disk: what follows shall be whole lines
            os.write(self._file, b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; where that fails, say so once, and go on without: the study counts."""
        if self._file is None:
            return
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            done = os.write(self._file, line)
            said = "" if done == len(line) else "no room left"
        except OSError as error:
            said = error.strerror or type(error).__name__
        if said:
            self.close()
            typer.echo(
                f"the log file {self._path} cannot be written ({said}): going on without it",
                err=True,
            )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        super().close()


def _is_torn(file: int) -> bool:
    state = os.fstat(file)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return False
    return os.pread(file, 1, state.st_size - 1) != b"\n"


def open_log(path: Path | None, command: str) -> None:
    """Write what `emit` is told to `path` from now on, behind what stands there, if it is given.

    Raises `OptionError` where that file cannot be written.
    """
    if path is None:
        return
    try:
        add_handler(JsonLinesHandler(path))
    except OSError as error:
        raise OptionError(
            "--log-file must be a file that can be written, "
            f"{str(path)!r} is not ({error.strerror})"
        ) from None
    emit("command begun", command=command)


_PHASES = {"trial": "search", "tuning run": "tuning", "comparison run": "comparison"}

_METRICS = ("quality", "loss", "seconds")


class MlflowHandler(logging.Handler):
    """Writes runs into the experiment named as their study; a failure is said once, and is the end.

    The study counts: what MLflow cannot take is in the study's own records all the same.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client: Any = client
        self._experiments: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write what an event says of runs; others are left out."""
        if self._client is None:
            return
        fields: dict[str, Any] = getattr(record, "fields", {})
        what, _, end = record.getMessage().rpartition(" ")
        try:
            if what in _PHASES and end in ("ended", "failed") and not fields.get("on_file"):
                self._write(_PHASES[what], end == "failed", fields, round(record.created * 1000))
            elif record.getMessage() == "search ended":
                experiment = self._experiment(fields["study"])
                self._client.set_experiment_tag(experiment, "found", str(fields["found"]))
        except Exception as error:  # whatever a server or a database may come up with
            self._client = None
            typer.echo(
                f"MLflow takes no more runs ({type(error).__name__}): going on without it", err=True
            )

    def _write(self, phase: str, failed: bool, fields: dict[str, Any], now: int) -> None:
        metrics = {name: fields[name] for name in _METRICS if fields[name] is not None}
        params = {
            name: fields[name]
            for name in ("layout", "origin", "seed", "fidelity", "learning_rate")
            if fields.get(name) is not None
        }
        began = now - round(1000 * metrics.get("seconds", 0.0))
        named = f"{fields['origin']} {fields['layout']} seed {fields['seed']}"
        run = self._client.create_run(
            self._experiment(fields["study"]), start_time=began, run_name=named
        ).info.run_id
        for name, value in ({"phase": phase} | params).items():
            self._client.log_param(run, name, value)
        for name, value in metrics.items():
            self._client.log_metric(run, name, value, timestamp=now)
        if fields["reason"]:
            self._client.set_tag(run, "reason", fields["reason"])
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED", end_time=now)

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            known = self._client.get_experiment_by_name(study)
            self._experiments[study] = (
                self._client.create_experiment(study) if known is None else known.experiment_id
            )
        return self._experiments[study]


def open_mlflow(wanted: bool) -> None:
    """Write runs to MLflow from now on, if it is wanted.

    To the server or database in MLFLOW_TRACKING_URI, else as MLflow does, into `mlflow.db` here.
    Raises `OptionError` without the extra `mlflow`, or where nothing answers there.
    """
    if not wanted:
        return
    # Ours, unless the user has chosen: nothing is told to MLflow's makers, no waiting for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient, get_tracking_uri
    except ImportError:
        raise OptionError('--mlflow needs MLflow: pip install "autoprune[mlflow]"') from None
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
    add_handler(MlflowHandler(client))


class TrialEvents:
    """Tells of the trials of one study; those that another process made are told apart."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._mine: set[TrialRun] = set()

    def begins(self, run: "TrialRun") -> None:
        """Tell that this process begins a trial."""
        self._mine.add(run)
        emit("trial begun", study=self._study, **_run(run))

    def ends(self, finding: "TrialResult") -> None:
        """Tell what came of a trial, once it is stored."""
        from autoprune.search.trial import TrialRun

        run = TrialRun(finding.layout, finding.seed, finding.fidelity)
        event = "trial failed" if finding.state == "failed" else "trial ended"
        emit(
            event if run in self._mine else f"{event} elsewhere",
            study=self._study,
            origin=finding.origin,
            **_run(run),
            state=finding.state,
            **_score(finding.score),
            reason=finding.reason,
        )


def emit_search_finished(study: str, outcome: "SearchResult") -> None:
    """Tell what a search came to, or that it was stopped."""
    emit(
        "search stopped" if outcome.interrupted else "search ended",
        study=study,
        trials=outcome.trials,
        found=None if outcome.found is None else str(outcome.found),
        mean=outcome.mean,
    )


def emit_entrant_run(study: str, progress: "EntrantProgress") -> None:
    """Tell of a run of the comparison or of the tuning; its figures are those on validation."""
    from autoprune.search.trial import TrialRun

    record = progress.record
    emit(
        f"{record.phase} run {'failed' if record.state == 'failed' else 'ended'}",
        study=study,
        origin=progress.origin,
        **_run(TrialRun(record.layout, progress.seed)),
        **_score(record.score("validation") if record.scores else None),
        learning_rate=record.budget.learning_rate,
        reason=record.reason,
        on_file=progress.reused,
    )


def _run(run: "TrialRun") -> dict[str, str | int | float]:
    return {"layout": str(run.layout), "seed": run.seed, "fidelity": run.fidelity}


def _score(score: "Score | None") -> dict[str, float | None]:
    names = ("quality", "loss", "seconds")
    return {name: None if score is None else getattr(score, name) for name in names}
