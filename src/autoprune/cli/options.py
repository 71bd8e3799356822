"""The options that commands share: their names, help texts and completion."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import CallbackParam

from autoprune.choices import (
    DEVICE_NAMES,
    METHOD_NAMES,
    METRIC_NAMES,
    PROXY_NAMES,
    PRUNER_NAMES,
    SAMPLER_NAMES,
)
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import OptionError, check_names
from autoprune.files import validate_study_name
from autoprune.layouts.layout import parse_keeps
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.registry import TASKS

# Where commands look for studies and write reports, below the working folder.
STUDIES_FOLDER = Path("studies")

REPORTS_FOLDER = Path("reports")


def say(line: str) -> None:
    """Print one line on standard error."""
    typer.echo(line, err=True)


def completes(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the beginning of one of `names`."""
    ordered = sorted(names)

    def starting(incomplete: str) -> list[str]:
        return [name for name in ordered if name.startswith(incomplete)]

    return starting


def known(
    kind: str, names: Collection[str]
) -> Callable[[str | list[str] | None], str | list[str] | None]:
    """Return a check that a value, or each of several, is one of `names`."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        check_names(kind, [value] if isinstance(value, str) else value or [], names)
        return value

    return check


def rate(value: float | None) -> float | None:
    """Check that a learning rate lies between 0 and 1."""
    if value is not None and not 0 < value < 1:
        raise OptionError(f"--learning-rate must lie between 0 and 1, got {value}")
    return value


def rates_of(text: str | None) -> list[float]:
    """Read two or more peak learning rates, rising; none without a text. Raises `OptionError`.

    >>> rates_of("5e-5, 2e-5,5e-5")
    [2e-05, 5e-05]
    """
    if text is None:
        return []
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if len(found) < 2 or not all(0 < rate < 1 for rate in found):
        raise OptionError(
            "--learning-rates takes two or more different numbers between 0 and 1 such as "
            f"2e-5,5e-5, got {text!r:.60}"
        )
    return found


def rates(text: str | None) -> str | None:
    """Check that `rates_of` can read `text`."""
    rates_of(text)
    return text


def numbers(text: str | None) -> str | None:
    """Check that `parse_keeps` can read `text`."""
    if text is not None:
        parse_keeps(text)
    return text


def above_nought(parameter: CallbackParam, value: float | None) -> float | None:
    """Check that a limit is a finite number above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise OptionError(f"{parameter.opts[0]} must be a number above 0, got {value}")
    return value


def existing_folder(parameter: CallbackParam, value: Path | None) -> Path | None:
    """Check that a folder exists."""
    if value is not None and not value.is_dir():
        raise OptionError(f"{parameter.opts[0]} must be a folder, {value} is none")
    return value


def _named(help: str, kind: str, names: Sequence[str]) -> Any:
    """Return an option that takes one of `names`."""
    return typer.Option(
        help=f"{help}: {', '.join(names)}.",
        autocompletion=completes(names),
        callback=known(kind, names),
    )


_MODEL: Any = typer.Option(
    help="A name from `autoprune models`, a hub id `org/name[@revision]`, or a folder.",
    autocompletion=completes(ENCODERS),
    show_default=False,
)

_TASK: Any = typer.Option(
    "--task",
    help="A name from `autoprune tasks`, a file or folder of yours, or a hub data set.",
    autocompletion=completes(TASKS),
    show_default=False,
)

Model = Annotated[str, _MODEL]

OptionalModel = Annotated[str | None, _MODEL]

TaskName = Annotated[str, _TASK]

OptionalTask = Annotated[str | None, _TASK]

Keeps = Annotated[
    str | None,
    typer.Option(
        "--keep",
        help="How many layers stay; `2-8` or `2,4,6`: a study for each, and what each costs.",
        callback=numbers,
        show_default=False,
    ),
]

MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="With several --keep: the smallest model at most so many points under the full one.",
        show_default=False,
    ),
]

MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ms",
        help="With several --keep: the smallest model that takes at most so long for one text.",
        callback=above_nought,
        show_default=False,
    ),
]

MaxMegabytes = Annotated[
    float | None,
    typer.Option(
        help="With several --keep: the smallest model that takes at most so much on disk.",
        callback=above_nought,
        show_default=False,
    ),
]

Trials = Annotated[
    int, typer.Option(min=1, help="Runs of the search in all; more, and the same study goes on.")
]

Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.01, help="End the search (not the comparison) after so long, however many --trials."
    ),
]

Sampler = Annotated[str, _named("What proposes layouts", "sampler", SAMPLER_NAMES)]

Pruner = Annotated[str, _named("What stops weak trials early", "pruner", PRUNER_NAMES)]

Promote = Annotated[
    bool,
    typer.Option("--promote", help="Trials pause after --epochs; those worth it go on to the end."),
]

Proxy = Annotated[
    str,
    typer.Option(
        help="A cheap score of all layouts that informs the search, weighed by how far the trials "
        f"bear it out: {', '.join(PROXY_NAMES)}, none.",
        autocompletion=completes((*PROXY_NAMES, "none")),
        callback=known("proxy", (*PROXY_NAMES, "none")),
    ),
]

Storage = Annotated[
    str | None,
    typer.Option(
        envvar="AUTOPRUNE_STORAGE",
        help="sqlite:///FILE or postgresql+psycopg://…; else a journal in the study's folder.",
        show_default=False,
    ),
]

StudyName = Annotated[
    str | None,
    typer.Option(
        "--study", help="Name of the study; else MODEL-TASK-keepK.", callback=validate_study_name
    ),
]

Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        help=f"A fixed strategy to compare with ({', '.join(STRATEGIES)}); repeat for more. "
        "[default: all]",
        autocompletion=completes(STRATEGIES),
        callback=known("strategy", STRATEGIES),
        show_default=False,
    ),
]

Rivals = Annotated[
    list[str] | None,
    typer.Option(
        "--rival",
        help="A small pre-trained model to compare with; repeat for more.",
        autocompletion=completes(ENCODERS),
        show_default=False,
    ),
]

Seeds = Annotated[int, typer.Option(min=1, max=100, help="Fresh seeds of the comparison.")]

Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the search.")]

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with SHC/, LPC/, LDC/; else AUTOPRUNE_DATA_DIR, else downloaded.",
        show_default=False,
    ),
]

MovedData = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where the task's data lie now, if moved.",
        callback=existing_folder,
        show_default=False,
    ),
]

TextColumn = Annotated[
    str | None, typer.Option("--text", help="Column of the texts.", show_default=False)
]

PairColumn = Annotated[
    str | None, typer.Option("--text-pair", help="Column of second texts.", show_default=False)
]

LabelColumn = Annotated[
    str | None, typer.Option("--label", help="Column of the labels.", show_default=False)
]

MetricOption = Annotated[
    str | None,
    typer.Option(
        help=f"What layouts are chosen and compared by: {', '.join(METRIC_NAMES)}. "
        "[default: the task's]",
        autocompletion=completes(METRIC_NAMES),
        callback=known("metric", METRIC_NAMES),
        show_default=False,
    ),
]

KeepDuplicates = Annotated[
    bool, typer.Option("--keep-duplicates", help="Leave duplicate and leaked rows in.")
]

Device = Annotated[str, _named("Where to run", "device", DEVICE_NAMES)]

Method = Annotated[str, _named("Which weights learn", "method", METHOD_NAMES)]

Epochs = Annotated[int, typer.Option(min=1, help="Quick budget: passes a trial may make.")]

FullEpochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Full budget: passes of the comparison at most; stops when validation does. "
        "[default: the task's]",
        show_default=False,
    ),
]

Batch = Annotated[int, typer.Option(min=1, help="Rows per optimizer step.")]

Parts = Annotated[int, typer.Option(min=1, help="Parts a batch is computed in, to save memory.")]

Tokens = Annotated[
    int | None,
    typer.Option(min=4, help="Longest input. [default: the task's]", show_default=False),
]

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Processes that train side by side; with a --pruner in the comparison only. [default: "
        "one for each GPU; on a processor one for each core if the model is narrow, else 1]",
        show_default=False,
    ),
]

Ray = Annotated[
    str | None,
    typer.Option(
        help="Make the runs as tasks of a Ray cluster: `auto` for the one of this machine, "
        "HOST:PORT, or `local` to start one; with --workers.",
        show_default=False,
    ),
]

GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="GPUs of each Ray task, 0.5: two share one. [default: 1 where training is on a GPU]",
        show_default=False,
    ),
]

LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Peak rate. [default: by the model's width]", callback=rate, show_default=False
    ),
]

LearningRates = Annotated[
    str | None,
    typer.Option(
        help="Peak rates such as 2e-5,5e-5,1e-4: each entrant of the comparison takes the one that "
        "is best on validation. [default: all have that of --learning-rate]",
        callback=rates,
        show_default=False,
    ),
]

LogFile = Annotated[
    Path | None,
    typer.Option(
        help="Append what happens to this file, as JSON lines.",
        show_default=False,
        metavar="FILE",
    ),
]

Mlflow = Annotated[
    bool, typer.Option("--mlflow", help="Log each run to MLflow; needs autoprune[mlflow].")
]

TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that the model's author wrote.")
]

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
