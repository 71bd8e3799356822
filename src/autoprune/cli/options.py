"""The options that commands share: their names, help texts and completion."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from autoprune.encoders.registry import ENCODERS
from autoprune.layouts.strategies import STRATEGIES
from autoprune.scoring.names import DEVICE_NAMES, METHOD_NAMES, METRIC_NAMES
from autoprune.search.names import PRUNER_NAMES, SAMPLER_NAMES
from autoprune.tasks.registry import TASKS


def _completes(names: Iterable[str]) -> Callable[[str], list[str]]:
    known = sorted(names)

    def starting(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return starting


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
Keep = Annotated[int, typer.Option(help="How many layers stay.")]
Trials = Annotated[int, typer.Option(min=1, help="Layouts to try, in all; again: goes on.")]
Sampler = Annotated[
    str, typer.Option(help="What proposes layouts.", autocompletion=_completes(SAMPLER_NAMES))
]
Pruner = Annotated[
    str, typer.Option(help="What stops weak trials early.", autocompletion=_completes(PRUNER_NAMES))
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
    typer.Option("--study", help="Name of the study; else <model>-<task>-keep<k>."),
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        help="A fixed strategy to compare with; repeat for more. [default: all]",
        autocompletion=_completes(STRATEGIES),
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
        show_default=False,
    ),
]
KeepDuplicates = Annotated[
    bool, typer.Option("--keep-duplicates", help="Leave duplicate and leaked rows in.")
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or mps.", autocompletion=_completes(DEVICE_NAMES))
]
Method = Annotated[
    str, typer.Option(help="full, lora or head.", autocompletion=_completes(METHOD_NAMES))
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
    typer.Option(help="Peak rate. [default: by the model's width]", show_default=False),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that the model's author wrote.")
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
