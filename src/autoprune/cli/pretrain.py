"""Command pretrain: see its help."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprune.choices import MAX_BATCH, MAX_MINUTES
from autoprune.cli import options
from autoprune.cli.options import check_positive
from autoprune.errors import OptionError


def pretrain(
    corpus: Annotated[
        list[Path], typer.Option(help="Text file in UTF-8, a text a line; repeat for more.")
    ],
    out: Annotated[Path, typer.Option(help="The model's folder: a new one, or an empty one.")],
    layers: Annotated[int, typer.Option(min=1, max=96, help="Layers.")] = 6,
    hidden: Annotated[int, typer.Option(min=8, max=4096, help="Width.")] = 128,
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
    learning_rate: options.LearningRateOption = None,
    warm_embeddings: Annotated[
        bool,
        typer.Option(
            "--warm-embeddings/--random-embeddings",
            help="Begin with embeddings from counts of which tokens are near each other.",
        ),
    ] = True,
    stack: Annotated[
        bool,
        typer.Option(
            "--stack/--no-stack",
            help="Train half the layers for half the time, then stack them on themselves.",
        ),
    ] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of all random draws.")] = 0,
    device: options.DeviceOption = "auto",
) -> None:
    """Train a small BERT encoder from scratch by masked-language modelling.

    It serves as --model and as --rival. After Ctrl-C, or a crash, the same command resumes where
    it stopped. One line in a hundred is held out: the perplexity of these lines is printed at the
    end and written in the model's card.

    Example: `autoprune pretrain --corpus texts.txt --layers 6 --minutes 60 --out my-small-bert`
    """
    from torch import set_num_threads

    from autoprune.cli.pretrain_progress import PretrainingDisplay
    from autoprune.cli.results import command_line
    from autoprune.experiment.progress import format_duration
    from autoprune.files import check_new_folder
    from autoprune.pretraining.config import (
        PretrainingConfig,
        PretrainingSchedule,
        default_pretraining_rate,
        encoder_shape,
    )
    from autoprune.pretraining.run import pretrain_model
    from autoprune.training.workers import available_cores

    if tokenizer is not None and vocabulary is not None:
        raise OptionError("--vocabulary is for a tokenizer trained here: leave out --tokenizer")
    schedule = PretrainingSchedule(
        batch=batch,
        learning_rate=default_pretraining_rate(hidden) if learning_rate is None else learning_rate,
        seed=seed,
        seconds=None if minutes is None else minutes * 60,
        budget_tokens=budget_tokens,
    )
    config = PretrainingConfig(
        corpus=tuple(corpus),
        out=out,
        shape=encoder_shape(layers, hidden, heads, inner, tokens),
        schedule=schedule,
        tokenizer=tokenizer,
        vocabulary=vocabulary or 16_000,
        warm_embeddings=warm_embeddings,
        stack=stack,
        device=device,
        command=command_line(sys.argv[1:]),
    )
    check_new_folder(out)
    set_num_threads(available_cores())  # a resumed run with as many threads gives the same bits
    display = PretrainingDisplay()
    result = pretrain_model(config, display)
    display.message(
        f"{out}: {layers} layers, {result.parameters:,} parameters, {result.tokens_seen:,} tokens "
        f"seen in {format_duration(result.seconds)}; perplexity {result.perplexity:.1f} of "
        f"{result.held_out_tokens:,} masked tokens in held-out texts"
    )
