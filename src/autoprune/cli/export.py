"""The export command: a layout of a study as a model folder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.choices import FORMAT_NAMES
from autoprune.cli import options
from autoprune.errors import format_count

if TYPE_CHECKING:
    from autoprune.experiment.study_export import StudyExport


def export(
    study: Annotated[
        str,
        typer.Argument(
            help="Name or folder of a finished study.", autocompletion=options.complete_studies
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model's folder: a new one, or an empty one.")],
    layout: Annotated[
        str | None,
        typer.Option(
            help="recommended, found, a strategy, full, or one such as 12:0-3,8,11. "
            "[default: recommended]"
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Runs, of which the best on validation is taken.")
    ] = 3,
    trim_vocabulary: Annotated[
        bool, typer.Option("--trim-vocabulary", help="Keep only the tokens that texts use.")
    ] = False,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="Text file, a text a line, whose tokens are kept too; repeat for more."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help=f"Any of {', '.join(FORMAT_NAMES)}, with commas; needs autoprune[onnx] or "
            "autoprune[openvino].",
            callback=options.check_formats,
            autocompletion=options.complete_names(FORMAT_NAMES),
        ),
    ] = FORMAT_NAMES[0],
    onnx: Annotated[bool, typer.Option("--onnx", help="Add the format onnx.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Add the format onnx-int8.")] = False,
    max_quantization_drop: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="Points that a format of fewer bits may lose on validation, else it is refused.",
        ),
    ] = 1.0,
    push: Annotated[
        str | None, typer.Option(help="Upload to the hub as org/name, private.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: for everyone to see.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            help="Language of the texts, for the model card: mr, or mr,hi. [default: known, or "
            "guessed from their script]"
        ),
    ] = None,
    data_dir: options.MovedDataOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Processes that train side by side. [default: as for a search]"
        ),
    ] = None,
    device: options.DeviceOption = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Export also a layout that has learned nothing.")
    ] = False,
) -> None:
    """Fine-tune a study's layout on fresh seeds and write the best run as a model folder.

    Plain transformers loads it. It is reloaded in a fresh process and kept only if it gives the
    logits that were measured. So is each other format: one in fp32 must have the same logits, one
    of fewer bits the same quality on validation, within --max-quantization-drop; what has not is
    left out, and the exit code is 2.

    Example: `autoprune export mahabert-v2-ldc-keep6 --out my-model --trim-vocabulary`
    """
    from autoprune.cli.results import command_line
    from autoprune.cli.tables import print_line
    from autoprune.evaluation.study_files import read_study
    from autoprune.experiment.config import RunOptions
    from autoprune.experiment.progress import ProgressDisplay
    from autoprune.experiment.study_export import ExportOptions, export_study, push_export
    from autoprune.experiment.study_store import find_study
    from autoprune.tasks.language import parse_languages

    wanted = {*format.split(","), *["onnx"] * onnx, *["onnx-int8"] * int8}
    formats = [name for name in FORMAT_NAMES if name in wanted]
    chosen = ExportOptions(
        layout=layout,
        seeds=seeds,
        trim_vocabulary=trim_vocabulary,
        corpus=tuple(corpus or ()),
        formats=tuple(formats),
        max_quantization_drop=max_quantization_drop,
        push=push,
        public=public,
        languages=parse_languages(language) if language is not None else (),
        data_dir=data_dir,
        workers=workers,
        device=device,
        command=command_line(sys.argv[1:]),
        force=force,
    )
    chosen.check()  # before the study, so that a wrong option is named first
    finished = read_study(find_study(study, RunOptions().studies))
    exported = export_study(finished, out, chosen, ProgressDisplay().say)
    _print(exported, out)
    if push and not exported.result.refused:
        address = push_export(out, chosen)
        print_line(f"Pushed to {address}, {'for everyone to see' if public else 'private'}.")
    for line in exported.result.refused:
        options.say(line)
    if exported.result.refused:
        if push:
            options.say(f"nothing is uploaded to {push}: export again without what is refused")
        raise typer.Exit(2)


def _print(exported: "StudyExport", out: Path) -> None:
    """Print what was written, its scores, and what can be done next."""
    from autoprune.cli.tables import print_line
    from autoprune.training.metrics import METRICS

    request, result = exported.request, exported.result
    scores = {name: result.best.score(name) for name in ("validation", "test", "test-raw")}
    metric = METRICS[exported.metric]
    shown = {name: metric.format(score.quality) for name, score in scores.items()}
    print_line(
        f"{request.layout.picture} {request.layout} ({request.origin}), seed "
        f"{scores['validation'].seed}: {exported.metric} {shown['validation']} on validation, "
        f"{shown['test']} on the cleaned test rows, {shown['test-raw']} on all."
    )
    for note in result.notes:
        print_line(note)
    print_line(
        f"Reloaded in a fresh process: {format_count(result.rows, 'row')}, largest "
        f"difference of a logit {result.gap:.0e}."
    )
    print_line(f"{out}: {_megabytes(result.bytes)}, weights {_megabytes(result.weights)}.")
    print_line(
        f"Next: autoprune predict {out} FILE   autoprune cost {out}   or in Python "
        f'transformers.pipeline("{exported.pipeline}", "{out}")'
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
