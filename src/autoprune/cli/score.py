"""The score command."""

import time
from typing import Annotated

import typer

from autoprune.choices import PROXY_NAMES
from autoprune.cli import options
from autoprune.cli.options import completes, known, numbers
from autoprune.layouts.layout import parse_keeps
from autoprune.tasks.task import Columns


def score(
    model: options.Model,
    task: options.TaskName,
    keep: Annotated[
        str,
        typer.Option(
            help="How many layers stay; `2-8` or `2,4,6`: all of them in one table.",
            callback=numbers,
        ),
    ],
    proxy: Annotated[
        str | None,
        typer.Option(
            help="Order the layouts by this cheap score, not by their loss.",
            autocompletion=completes(PROXY_NAMES),
            callback=known("proxy", PROXY_NAMES),
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Validation rows that layouts are scored on, at most.")
    ] = 256,
    rungs: Annotated[
        int,
        typer.Option(
            min=1,
            max=20,
            help="Successive halving: the rows in so many shares, each next one for the better "
            "half of the layouts.",
        ),
    ] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Seed of the fine-tuning and of the rows.")
    ] = 0,
    data_dir: options.DataDir = None,
    text: options.TextColumn = None,
    text_pair: options.PairColumn = None,
    label: options.LabelColumn = None,
    keep_duplicates: options.KeepDuplicates = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of the full model's fine-tuning.")] = 3,
    batch: options.Batch = 32,
    parts: options.Parts = 1,
    tokens: options.Tokens = None,
    learning_rate: options.LearningRate = None,
    method: options.Method = "full",
    device: options.Device = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    json: options.Json = False,
) -> None:
    """Score all layouts at once: fine-tune the full model, then run each layout on its weights.

    Layouts that begin alike share that beginning. Prints CSV, the best layout first; what each
    layer adds goes to standard error. Where there are too many layouts, evolution looks for the
    best. A layout's loss here is a hint and no measurement: `search` trains each candidate.

    Example: `autoprune score --model mahabert-v2 --task ldc --keep 6`
    """
    started = time.perf_counter()
    from autoprune.cli.scoring_table import as_json, print_table, table_of
    from autoprune.experiment.setup import build_experiments

    keeps = parse_keeps(keep)
    ground = build_experiments(
        model=model,
        task=task,
        keeps=keeps,
        strategies=["top"],
        rivals=[],
        columns=Columns(text, text_pair, label),
        metric=None,
        data_dir=data_dir,
        keep_duplicates=keep_duplicates,
        seed=seed,
        device=device,
        method=method,
        epochs=epochs,
        full_epochs=None,
        batch=batch,
        parts=parts,
        tokens=tokens,
        learning_rate=learning_rate,
        workers=1,
        trust_remote_code=trust_remote_code,
    )[0]
    bench, depth = ground.bench(ground.quick), ground.checkpoint.depth
    table = table_of(bench, depth, keeps, seed, rows, rungs, proxy)
    if json:
        typer.echo(as_json(table, proxy, time.perf_counter() - started))
        return
    print_table(table)
