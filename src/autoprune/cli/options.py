"""The options that commands share: their names, help texts, completion, and what they may hold."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated
from unicodedata import category

import typer

from autoprune.encoders.registry import ENCODERS
from autoprune.errors import OptionError, check_names
from autoprune.layouts.strategies import STRATEGIES
from autoprune.scoring.names import DEVICE_NAMES, METHOD_NAMES, METRIC_NAMES
from autoprune.search.names import PRUNER_NAMES, SAMPLER_NAMES
from autoprune.tasks.registry import TASKS


def _completes(names: Iterable[str]) -> Callable[[str], list[str]]:
    known = sorted(names)

    def starting(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return starting


def _known(
    kind: str, names: Collection[str]
) -> Callable[[str | list[str] | None], str | list[str] | None]:
    """Return a check that a value, or each of several, is one of `names`."""

    def check(value: str | list[str] | None) -> str | list[str] | None:
        check_names(kind, [value] if isinstance(value, str) else value or [], names)
        return value

    return check


_STUDY_BYTES = 150  # a file system takes 255, the report's draft adds some


def _plain(name: str | None) -> str | None:
    """Check that a study's name is one folder's name, not a way to another place."""
    if name is None:
        return None
    # The vowel signs of Marathi are marks, neither letters nor digits.
    known = all(one.isalnum() or one in "._+@=-" or category(one)[0] == "M" for one in name)
    if (
        not known
        or not (name[:1].isalnum() or name[:1] == "_")
        or len(name.encode()) > _STUDY_BYTES
    ):
        raise OptionError(
            "a study's name is letters, digits and any of . _ + @ = - after the first, at most "
            f"{_STUDY_BYTES} bytes, got {name[:60]!r}"
        )
    return name


def _rate(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise OptionError(f"--learning-rate must lie between 0 and 1, got {value}")
    return value


Model = Annotated[
    str,
    typer.Option(
        help="A name from `autoprune models`, a hub id `org/name[@revision]`, or a folder.",
        autocompletion=_completes(ENCODERS),
    ),
]
TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        help="A name from `autoprune tasks`, a file or folder of yours, or a hub data set.",
        autocompletion=_completes(TASKS),
    ),
]
Keep = Annotated[int, typer.Option(min=1, help="How many layers stay.")]
Trials = Annotated[int, typer.Option(min=1, help="Layouts to try, in all; again: goes on.")]
Sampler = Annotated[
    str,
    typer.Option(
        help="What proposes layouts.",
        autocompletion=_completes(SAMPLER_NAMES),
        callback=_known("sampler", SAMPLER_NAMES),
    ),
]
Pruner = Annotated[
    str,
    typer.Option(
        help="What stops weak trials early.",
        autocompletion=_completes(PRUNER_NAMES),
        callback=_known("pruner", PRUNER_NAMES),
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="sqlite:///FILE or postgresql+psycopg://…; else a journal in the study's folder.",
        show_default=False,
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option(
        "--study", help="Name of the study; else <model>-<task>-keep<k>.", callback=_plain
    ),
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        help="A fixed strategy to compare with; repeat for more. [default: all]",
        autocompletion=_completes(STRATEGIES),
        callback=_known("strategy", STRATEGIES),
        show_default=False,
    ),
]
Rivals = Annotated[
    list[str] | None,
    typer.Option(
        "--rival",
        help="A small pre-trained model to compare with; repeat for more.",
        autocompletion=_completes(ENCODERS),
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
TextColumn = Annotated[
    str | None, typer.Option("--text", help="Column of the texts.", show_default=False)
]
PairColumn = Annotated[
    str | None, typer.Option("--text-pair", help="Column of second texts.", show_default=False)
]
LabelColumn = Annotated[
    str | None, typer.Option("--label", help="Column of the labels.", show_default=False)
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="What layouts are chosen by. [default: the task's]",
        autocompletion=_completes(METRIC_NAMES),
        callback=_known("metric", METRIC_NAMES),
        show_default=False,
    ),
]
KeepDuplicates = Annotated[
    bool, typer.Option("--keep-duplicates", help="Leave duplicate and leaked rows in.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or mps.",
        autocompletion=_completes(DEVICE_NAMES),
        callback=_known("device", DEVICE_NAMES),
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="full, lora or head.",
        autocompletion=_completes(METHOD_NAMES),
        callback=_known("method", METHOD_NAMES),
    ),
]
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
        help="Processes that train the comparison's runs side by side. [default: one for each "
        "core for a narrow model on a processor, else 1]",
        show_default=False,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Peak rate. [default: by the model's width]", callback=_rate, show_default=False
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that the model's author wrote.")
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
