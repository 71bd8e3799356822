"""The export command: a study's layout as a model folder to take home."""

import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli import options
from autoprune.errors import OptionError, RemoteCodeError
from autoprune.experiment.study_store import find_study, reload_experiment

_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<![.-])", re.ASCII)


def export(
    study: Annotated[str, typer.Argument(help="Name or folder of a finished study.")],
    out: Annotated[Path, typer.Option(help="The model's folder: a new one, or an empty one.")],
    layout: Annotated[
        str | None,
        typer.Option(
            help="found, recommended, a strategy, full, or one such as 12:0-3,8,11. "
            "[default: found, without a search recommended]",
            show_default=False,
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
        typer.Option(
            help="Text file, a text a line, whose tokens are kept too; repeat for more.",
            show_default=False,
        ),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Add the model in ONNX; needs autoprune[onnx].")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="With --onnx: add it in 8 bits as well.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(help="Upload to the hub as org/name, private.", show_default=False),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: for everyone to see.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the task's data lie now, if moved.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Processes that train side by side. [default: as for a search]",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Fine-tune a study's layout on fresh seeds and write the best run as a model folder.

    Plain transformers loads it. It is reloaded in a fresh process and kept only if it gives the
    logits that were measured.

    Example: `autoprune export mahabert-v2-ldc-keep6 --out my-model --trim-vocabulary`
    """
    from autoprune.cli.exporting import (
        choose,
        say_begin,
        say_end,
        say_push,
        say_run,
        seeds_for,
        source_of,
    )
    from autoprune.evaluation.study_files import read_study
    from autoprune.experiment.progress import ProgressDisplay
    from autoprune.experiment.result import command_line
    from autoprune.export.export import ExportRequest
    from autoprune.export.export import export_layout as make
    from autoprune.files import check_new_folder
    from autoprune.training.workers import WorkerPool

    _check(trim_vocabulary, corpus or [], onnx, int8, push, public, data_dir)
    check_new_folder(out)
    if push:
        from autoprune.export.push_to_hub import check_target

        check_target(push, not public)
    folder = find_study(study)
    studied = read_study(folder)
    chosen, origin = choose(studied, layout)
    wish = ExportRequest(
        layout=chosen,
        origin=origin,
        seeds=seeds_for(studied, seeds),
        name=push or str(out),
        command=command_line(sys.argv[1:]),
        trim=trim_vocabulary,
        corpus=tuple(corpus or ()),
        onnx=onnx,
        int8=int8,
    )
    try:
        ground = reload_experiment(folder, data_dir, workers, device)
    except RemoteCodeError:
        raise OptionError(
            f"{studied.setting.model} runs code of its own, and what is exported must load without "
            "any: export a study of another model"
        ) from None
    source, show = source_of(studied, ground, chosen), ProgressDisplay()
    say_begin(studied, source, wish, ground.workers, show)
    try:
        with WorkerPool(ground.workers) as crew:
            exported = make(source, wish, out, crew, partial(say_run, show))
    except KeyboardInterrupt:
        show.say(f"stopped: nothing was written to {out}; the same command begins again")
        raise
    say_end(exported, wish, source, out)
    if push:
        say_push(out, push, not public)


def _check(
    trim: bool,
    corpus: Sequence[Path],
    onnx: bool,
    int8: bool,
    push: str | None,
    public: bool,
    data_dir: Path | None,
) -> None:
    """Raise `OptionError` for options that do not go together, before anything is loaded."""
    if int8 and not onnx:
        raise OptionError("--int8 is for the model in ONNX: give --onnx as well")
    if public and push is None:
        raise OptionError("--public is for what is uploaded: give --push org/name as well")
    if corpus and not trim:
        raise OptionError("--corpus is for the vocabulary: give --trim-vocabulary as well")
    if push is not None and (not _NAME.fullmatch(push) or len(push) > 96):
        raise OptionError(f"--push takes a hub id such as my-org/my-model, got {push[:80]!r}")
    if data_dir is not None and not data_dir.is_dir():
        raise OptionError(f"--data-dir must be a folder, {data_dir} is none")
    if onnx:
        from autoprune.export.onnx import check_extra

        check_extra()
    if corpus:
        from autoprune.export.trim_vocabulary import check_corpus

        check_corpus(corpus)
