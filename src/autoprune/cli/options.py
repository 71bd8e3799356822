"""The options that commands share: their names, help texts, checks and completion."""

from collections.abc import Callable, Collection, Iterable
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import CallbackParam

from autoprune.choices import (
    DEVICE_NAMES,
    FORMAT_NAMES,
    MAX_BATCH,
    MAX_TOKENS,
    METHOD_NAMES,
    PROBLEM_TYPE_NAMES,
)
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import OptionError, check_names, printable, quote
from autoprune.files import is_folder
from autoprune.layouts.layout import parse_keeps
from autoprune.tasks.registry import TASKS

# Where commands look for studies and write reports, below the working folder.
STUDIES_FOLDER = Path("studies")
REPORTS_FOLDER = Path("reports")


def say(line: str) -> None:
    """Print one line on standard error, safe for a terminal."""
    typer.echo(printable(line), err=True)


def show(line: object) -> None:
    """Print one line on standard output, safe for a terminal."""
    typer.echo(printable(str(line)))


def complete_names(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the beginning of one of `names`."""
    ordered = sorted(names)
    return lambda incomplete: [name for name in ordered if name.startswith(incomplete)]


def complete_studies(incomplete: str) -> list[str]:
    """Return the studies of the folder whose names begin so."""
    files = ("study.json", "records.jsonl", "journal.log")
    folders = (path.parent for file in files for path in STUDIES_FOLDER.glob(f"**/{file}"))
    names = {folder.relative_to(STUDIES_FOLDER).as_posix() for folder in folders}
    return sorted(name for name in names if name.startswith(incomplete))


def name_option(kind: str, names: Collection[str], help: str, *flags: str) -> Any:
    """Return an option that takes one of `names`, or several of them."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        check_names(kind, [value] if isinstance(value, str) else value or [], names)
        return value

    return typer.Option(*flags, help=help, autocompletion=complete_names(names), callback=check)


def check_rate(value: float | None) -> float | None:
    """Check that a learning rate lies between 0 and 1."""
    if value is not None and not 0 < value < 1:
        raise OptionError(f"--learning-rate must lie between 0 and 1, got {value}")
    return value


def parse_rates(text: str) -> list[float]:
    """Read two or more different learning rates, in rising order; raises `OptionError`.

    >>> parse_rates("5e-5, 2e-5,5e-5")
    [2e-05, 5e-05]
    """
    try:
        rates = sorted({float(part) for part in text.split(",")})
    except ValueError:
        rates = []
    if len(rates) < 2 or not all(0 < rate < 1 for rate in rates):
        raise OptionError(
            "--learning-rates takes two or more different numbers between 0 and 1 such as "
            f"2e-5,5e-5, got {text!r:.60}"
        )
    return rates


def parse_numbers(flag: str, text: str) -> list[float]:
    """Read one number or several; raises `OptionError`, which names the option `flag`.

    >>> parse_numbers("--temperature", "1, 2.5")
    [1.0, 2.5]
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(
            f"{flag} takes a number, or several such as 1,2, got {quote(text)}"
        ) from None


def check_rates(text: str | None) -> str | None:
    """Check that `parse_rates` can read `text`."""
    if text is not None:
        parse_rates(text)
    return text


def check_keeps(text: str | None) -> str | None:
    """Check that `parse_keeps` can read `text`."""
    if text is not None:
        parse_keeps(text)
    return text


def check_formats(text: str) -> str:
    """Check a list of formats of a model; return it without spaces."""
    names = [name.strip() for name in text.split(",")]
    check_names("format", names, FORMAT_NAMES)
    return ",".join(names)


def check_finite(parameter: CallbackParam, value: float | None) -> float | None:
    """Check that a number is finite: no bound stops NaN."""
    if value is not None and not isfinite(value):
        raise OptionError(f"{parameter.opts[0]} must be a finite number, got {value}")
    return value


def check_positive(parameter: CallbackParam, value: float | None) -> float | None:
    """Check that a limit is a finite number above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise OptionError(f"{parameter.opts[0]} must be a number above 0, got {value}")
    return value


def check_folder(parameter: CallbackParam, value: Path | None) -> Path | None:
    """Check that a folder exists."""
    if value is not None and not is_folder(value):
        raise OptionError(f"{parameter.opts[0]} must be a folder, {value} is none")
    return value


_MODEL = typer.Option(
    "--model",
    "-m",
    help="A name from `autoprune models`, a hub id `org/name[@revision]`, or a folder.",
    autocompletion=complete_names(ENCODERS),
)

_TASK = typer.Option(
    "--task",
    "-t",
    help="A name from `autoprune tasks`, a file or folder of yours, or a hub data set "
    "`org/name[:config]`.",
    autocompletion=complete_names(TASKS),
)

ModelOption = Annotated[str, _MODEL]
OptionalModelOption = Annotated[str | None, _MODEL]

TaskOption = Annotated[str, _TASK]
OptionalTaskOption = Annotated[str | None, _TASK]

StorageOption = Annotated[
    str | None,
    typer.Option(
        envvar="AUTOPRUNE_STORAGE",
        help="sqlite:///FILE or postgresql+psycopg://…; else a journal in the study's folder.",
    ),
]

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with SHC/, LPC/, LDC/ (else AUTOPRUNE_DATA_DIR, else downloaded), or where "
        "your own file is now."
    ),
]

MovedDataOption = Annotated[
    Path | None,
    typer.Option(help="Where the task's data are now, if moved.", callback=check_folder),
]

TextColumnOption = Annotated[str | None, typer.Option(help="Column of the texts.")]

PairColumnOption = Annotated[str | None, typer.Option(help="Column of second texts.")]

LabelColumnOption = Annotated[str | None, typer.Option(help="Column of the labels.")]

LabelColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--labels", help="Columns of 0 and 1, one for each label a row may have, such as a,b,c."
    ),
]

LabelSeparatorOption = Annotated[
    str | None, typer.Option(help="What is between the labels of a row in one column, such as |.")
]

ProblemTypeOption = Annotated[
    str | None,
    name_option(
        "problem type",
        PROBLEM_TYPE_NAMES,
        f"What a label is: {', '.join(PROBLEM_TYPE_NAMES)}. [default: what the rows tell]",
    ),
]


def split_columns(text: str | None) -> tuple[str, ...]:
    """Return the names of columns between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


KeepDuplicatesOption = Annotated[
    bool, typer.Option("--keep-duplicates", help="Leave duplicate and leaked rows in.")
]

MergeLabelsOption = Annotated[
    bool,
    typer.Option("--merge-labels", help="Read labels that differ in case or spaces only as one."),
]

AllowUnknownTokensOption = Annotated[
    bool,
    typer.Option(
        "--allow-unknown-tokens", help="Go on where the model does not know most of the tokens."
    ),
]

DeviceOption = Annotated[
    str, name_option("device", DEVICE_NAMES, f"Where to run: {', '.join(DEVICE_NAMES)}.")
]

MethodOption = Annotated[
    str, name_option("method", METHOD_NAMES, f"Which weights learn: {', '.join(METHOD_NAMES)}.")
]

BatchOption = Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Rows per optimizer step.")]

PartsOption = Annotated[
    int,
    typer.Option(min=1, max=MAX_BATCH, help="Parts a batch is computed in, to save memory."),
]

TokensOption = Annotated[
    int | None,
    typer.Option(min=4, max=MAX_TOKENS, help="Longest input. [default: the task's]"),
]

WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Processes that train side by side; with a --pruner in the comparison only. [default: "
        "one for each GPU; on a processor one for each core if the model is narrow, else 1]",
    ),
]

LearningRateOption = Annotated[
    float | None,
    typer.Option(help="Peak rate. [default: by the model's width]", callback=check_rate),
]

LogFileOption = Annotated[
    Path | None,
    typer.Option(help="Append what happens to this file, as JSON lines.", metavar="FILE"),
]

MlflowOption = Annotated[
    bool, typer.Option("--mlflow", help="Log each run to MLflow; needs autoprune[mlflow].")
]

TrustRemoteCodeOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that the model's author wrote.")
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
