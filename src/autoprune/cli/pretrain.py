"""Command pretrain: see its help."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprune.choices import MAX_BATCH, MAX_MINUTES
from autoprune.cli import options
from autoprune.cli.options import check_positive
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import OptionError, format_count
from autoprune.layouts.layout import Layout


def pretrain(
    corpus: Annotated[
        list[Path], typer.Option(help="Text file in UTF-8, a text a line; repeat for more.")
    ],
    out: Annotated[Path, typer.Option(help="The model's folder: a new one, or an empty one.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Train this model further, with its own tokenizer: a name, hub id or folder.",
            autocompletion=options.complete_names(ENCODERS),
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Keep only these layers of --from, such as 12:0-3,8,11."),
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, max=96, help="Layers. [default: 6]")] = None,
    hidden: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Width. [default: 128]")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Heads. [default: one for 64 units]")
    ] = None,
    inner: Annotated[
        int | None, typer.Option(min=1, max=65_536, help="Inner width. [default: 4 x hidden]")
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            min=100,
            max=1_000_000,
            help="Pieces of the tokenizer, at most, trained on the corpus. [default: 16000]",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Take the tokenizer of this model (a name, hub id or folder) instead."),
    ] = None,
    tokens: Annotated[int, typer.Option(min=8, max=4096, help="Tokens of a block.")] = 64,
    batch: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="Blocks per optimizer step.")
    ] = 32,
    minutes: Annotated[
        float | None,
        typer.Option(max=MAX_MINUTES, help="Train for so long.", callback=check_positive),
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, max=10**15, help="Or until so many tokens were seen.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak rate. [default: by the width; 1e-4 with --from]",
            callback=options.check_rate,
        ),
    ] = None,
    warm_embeddings: Annotated[
        bool | None,
        typer.Option(
            "--warm-embeddings/--random-embeddings",
            help="Begin with embeddings from counts of which tokens are near each other. "
            "[default: warm-embeddings]",
        ),
    ] = None,
    stack: Annotated[
        bool | None,
        typer.Option(
            "--stack/--no-stack",
            help="Train half the layers for half the time, then stack them on themselves. "
            "[default: stack]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of all random draws.")] = 0,
    device: options.DeviceOption = "auto",
) -> None:
    """Train a small BERT encoder by masked-language modelling, or train a given one further.

    Without --from it begins from random weights. The model serves as --model and as --rival.
    After Ctrl-C, or a crash, the same command resumes where it stopped. One line in a hundred is
    held out: the perplexity of these lines is printed at the end and written in the model's card.

    Example: `autoprune pretrain --corpus texts.txt --layers 6 --minutes 60 --out my-small-bert`
    """
    from torch import set_num_threads

    from autoprune.cli.pretrain_progress import PretrainingDisplay
    from autoprune.cli.results import command_line
    from autoprune.experiment.progress import format_duration
    from autoprune.files import check_new_folder
    from autoprune.pretraining.config import (
        FURTHER_RATE,
        EncoderShape,
        GivenEncoder,
        PretrainingConfig,
        PretrainingSchedule,
        default_pretraining_rate,
        encoder_shape,
    )
    from autoprune.pretraining.run import pretrain_model
    from autoprune.training.workers import available_cores

    if tokenizer is not None and vocabulary is not None:
        raise OptionError("--vocabulary is for a tokenizer trained here: leave out --tokenizer")
    encoder: EncoderShape | GivenEncoder
    if from_ is None:
        if layout is not None:
            raise OptionError("--layout names layers of a model: name that with --from")
        hidden = hidden or 128
        encoder = encoder_shape(layers or 6, hidden, heads, inner, tokens)
        default_rate = default_pretraining_rate(hidden)
    else:
        from_scratch = {
            "--tokenizer": tokenizer,
            "--vocabulary": vocabulary,
            "--layers": layers,
            "--hidden": hidden,
            "--heads": heads,
            "--inner": inner,
            "--warm-embeddings and --random-embeddings": warm_embeddings,
            "--stack and --no-stack": stack,
        }
        for name, value in from_scratch.items():
            if value is not None:
                raise OptionError(
                    f"--from trains a model as it is, with its own tokenizer: leave out {name}"
                )
        encoder = GivenEncoder(from_, None if layout is None else Layout.parse(layout), tokens)
        default_rate = FURTHER_RATE
    schedule = PretrainingSchedule(
        batch=batch,
        learning_rate=default_rate if learning_rate is None else learning_rate,
        seed=seed,
        seconds=None if minutes is None else minutes * 60,
        budget_tokens=budget_tokens,
    )
    config = PretrainingConfig(
        corpus=tuple(corpus),
        out=out,
        encoder=encoder,
        schedule=schedule,
        tokenizer=tokenizer,
        vocabulary=vocabulary or 16_000,
        warm_embeddings=warm_embeddings is not False,
        stack=stack is not False,
        device=device,
        command=command_line(sys.argv[1:]),
    )
    check_new_folder(out)
    set_num_threads(available_cores())  # a resumed run with as many threads gives the same bits
    display = PretrainingDisplay()
    result = pretrain_model(config, display)
    quality = (
        "the corpus is too small to measure a perplexity"
        if result.perplexity is None
        else f"perplexity {result.perplexity:.1f} of {result.held_out_tokens:,} masked tokens in "
        "held-out texts"
    )
    display.message(
        f"{out}: {format_count(result.layers, 'layer')}, {result.parameters:,} parameters, "
        f"{result.tokens_seen:,} tokens seen in {format_duration(result.seconds)}; {quality}"
    )
