"""MLflow: each trial, and each run of the comparison, as one of its runs, by its own library."""

import logging
import os
from typing import Any

import typer

from autoprune.cli.events import keep_by
from autoprune.errors import OptionError

_PHASES = {"trial": "search", "tuning run": "tuning", "comparison run": "comparison"}
_METRICS = ("quality", "loss", "seconds")


class Runs(logging.Handler):
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
    keep_by(Runs(client))
