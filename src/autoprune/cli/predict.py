"""The predict and serve commands: an exported model labels the texts of a file, or of requests."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprune.choices import FORMAT_NAMES
from autoprune.cli import options
from autoprune.errors import OptionError, check_names, format_count, missing_package
from autoprune.files import is_folder
from autoprune.terminal import SafeOutput


def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an exported model.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSON lines or Parquet; else a text a line. - is standard input, "
            "a text a line.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: standard output]")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Column of the texts. [default: by its name]")
    ] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second texts.")] = None,
    format: Annotated[
        str | None,
        options.name_option(
            "format", ("csv", "jsonl"), "csv or jsonl. [default: by the end of --out, else csv]"
        ),
    ] = None,
    csv_safe: Annotated[
        bool,
        typer.Option(
            "--csv-safe",
            help="In CSV, put ' before labels that a spreadsheet would take for a formula: those "
            "that begin with = + - @.",
        ),
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Texts in a batch.")] = 32,
    device: options.DeviceOption = "auto",
) -> None:
    """Write the label of each text in a file, and the probabilities of all labels.

    A line for each text, in their order; files may be larger than memory.

    Example: `autoprune predict my-model headlines.csv --out labels.jsonl`
    """
    from autoprune.export.formats import TRANSFORMERS, find_formats, open_format
    from autoprune.export.predict import open_predictor
    from autoprune.export.prediction_files import (
        check_prediction_paths,
        write_prediction_file,
        write_predictions,
    )
    from autoprune.tasks.formats import stream_file, stream_lines
    from autoprune.training.devices import select_device

    is_json = out is not None and out.suffix.lower() in (".jsonl", ".json")
    chosen = format or ("jsonl" if is_json else "csv")
    if csv_safe:
        if chosen != "csv":
            raise OptionError(f"--csv-safe is for CSV, got the format {chosen}: leave it out")
        chosen = "csv-safe"
    notes: tuple[str, ...] = ()
    path = None if file == Path("-") else file
    check_prediction_paths(path, out)
    if path is None:
        if (text, text_pair) != (None, None):
            raise OptionError("--text and --text-pair are for files with columns, - has none")
        rows = stream_lines(sys.stdin.buffer, "standard input")
    else:
        rows, notes = stream_file(path, text, text_pair)
    formats = find_formats(model) if is_folder(model) else {}
    if formats and TRANSFORMERS not in formats:
        predictor, _ = open_format(model)
    else:
        predictor = open_predictor(model, select_device(device))
    if out is not None:
        count = write_prediction_file(predictor, rows, batch, chosen, out)
        options.show(f"Wrote the labels of {format_count(count, 'text')} to {out}")
    else:
        try:
            write_predictions(predictor, rows, batch, chosen, SafeOutput())
            sys.stdout.flush()
        except BrokenPipeError:  # the reader (`head`) has seen enough: end without a message
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    for note in notes:  # not before: a refusal is one line
        options.say(note)


def serve(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an exported model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format to run. [default: the fastest that is there and installed]",
            autocompletion=options.complete_names(FORMAT_NAMES),
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=4096, help="Waiting texts that run together.")
    ] = 32,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processor threads. [default: the cores]")
    ] = None,
    max_body: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="Largest body of a request, in KiB.")
    ] = 1024,
    max_texts: Annotated[
        int, typer.Option(min=1, max=65536, help="Most texts in one request.")
    ] = 256,
) -> None:
    """Answer HTTP requests with labels and probabilities, until Ctrl-C or SIGTERM.

    POST /predict takes {"text": "..."} or {"texts": ["...", "..."]}, with "pair" or "pairs" for
    second texts. GET /health and GET /metrics tell its state. Needs autoprune[serve]. It has no
    passwords: before it is open to others, put a proxy in front.

    Example: `autoprune serve my-model --port 8080`
    """
    from importlib.util import find_spec

    from autoprune.training.workers import available_cores

    check_names("format", [format] if format else [], FORMAT_NAMES)
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise missing_package("serve", "autoprune[serve]")
    from autoprune.export.serve import ServeSettings, serve_model

    settings = ServeSettings(
        host=host,
        port=port,
        format=format,
        batch=batch,
        threads=threads or available_cores(),
        max_body=max_body << 10,
        max_texts=max_texts,
    )

    def ready(address: str, name: str) -> None:
        options.say(f"{model} ({name}) at {address}/predict until Ctrl-C")

    accepted, answered = serve_model(model, settings, ready)
    options.say(
        f"stopped: {format_count(accepted, 'request')} accepted, {accepted - answered:,} lost"
    )
