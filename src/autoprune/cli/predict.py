"""The predict command: labels and probabilities of the texts in a file."""

from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.cli.options import known

FORMATS = ("csv", "jsonl")


def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an exported model.")],
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet; else a text a line.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. [default: standard output]", show_default=False),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="Column of the texts. [default: by its name]", show_default=False),
    ] = None,
    text_pair: Annotated[
        str | None, typer.Option(help="Column of the second texts.", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="csv or jsonl. [default: by the end of --out, else csv]",
            callback=known("format", FORMATS),
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Texts that go together.")] = 32,
    device: options.Device = "auto",
) -> None:
    """Write the label of each text in a file, and the probabilities of all labels.

    A line for each text, in their order; files may be larger than memory.

    Example: `autoprune predict my-model headlines.csv --out labels.jsonl`
    """
    from autoprune.cli.predicting import check_out, to_file, to_screen
    from autoprune.export.predict import open_predictor
    from autoprune.tasks.streaming import stream_rows
    from autoprune.training.devices import select_device

    kind = format or ("jsonl" if out and out.suffix.lower() in (".jsonl", ".json") else "csv")
    check_out(file, out)
    rows = stream_rows(file, text, text_pair)
    predictor = open_predictor(model, select_device(device))
    if out is None:
        to_screen(predictor, rows, batch, kind)
        return
    count = to_file(predictor, rows, batch, kind, out)
    typer.echo(f"Wrote the labels of {count:,} texts to {out}")
