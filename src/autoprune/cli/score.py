"""The score command: all layouts scored with the weights of one fine-tuned full model."""

import csv
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.choices import MAX_EPOCHS, PROXY_NAMES
from autoprune.cli import options
from autoprune.errors import format_count
from autoprune.layouts.layout import parse_keeps

if TYPE_CHECKING:
    from autoprune.experiment.layout_scores import LayoutScores


def score(
    model: options.ModelOption,
    task: options.TaskOption,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            "-k",
            help="How many layers stay; `2-8` or `2,4,6`: all of them in one table.",
            callback=options.check_keeps,
        ),
    ],
    proxy: Annotated[
        str | None,
        options.name_option(
            "proxy", PROXY_NAMES, "Order the layouts by this cheap score, not by their loss."
        ),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(min=1, max=10_000_000, help="Validation rows to score layouts on, at most."),
    ] = 256,
    rungs: Annotated[
        int,
        typer.Option(
            min=1,
            max=20,
            help="Successive halving: the rows are split in so many parts, each part for the "
            "better half of the layouts.",
        ),
    ] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Seed of the fine-tuning and of the rows.")
    ] = 0,
    data_dir: options.DataDirOption = None,
    text: options.TextColumnOption = None,
    text_pair: options.PairColumnOption = None,
    label: options.LabelColumnOption = None,
    labels: options.LabelColumnsOption = None,
    label_separator: options.LabelSeparatorOption = None,
    problem_type: options.ProblemTypeOption = None,
    keep_duplicates: options.KeepDuplicatesOption = False,
    merge_labels: options.MergeLabelsOption = False,
    epochs: Annotated[
        int,
        typer.Option(min=1, max=MAX_EPOCHS, help="Passes of the full model's fine-tuning."),
    ] = 3,
    batch: options.BatchOption = 32,
    parts: options.PartsOption = 1,
    tokens: options.TokensOption = None,
    learning_rate: options.LearningRateOption = None,
    method: options.MethodOption = "full",
    device: options.DeviceOption = "auto",
    trust_remote_code: options.TrustRemoteCodeOption = False,
    json: options.JsonOption = False,
) -> None:
    """Score all layouts at once: fine-tune the full model, then run each layout on its weights.

    Layouts that begin with the same layers share their computation. Prints CSV, the best layout
    first; the effect of each layer goes to standard error. Where there are too many layouts,
    evolution looks for the best. A loss here is a hint only: `search` trains each candidate.

    Example: `autoprune score --model mahabert-v2 --task ldc --keep 6`
    """
    started = time.perf_counter()
    from json import dumps

    from autoprune.experiment.config import RunOptions, StudyConfig
    from autoprune.experiment.layout_scores import ScoreRequest, score_layouts
    from autoprune.experiment.setup import build_experiments

    keeps = parse_keeps(keep)
    config = StudyConfig.from_options(
        model=model,
        task=task,
        keep=keeps[0],
        seed=seed,
        strategies=("top",),
        data_dir=data_dir,
        text=text,
        text_pair=text_pair,
        label=label,
        labels=options.split_columns(labels),
        label_separator=label_separator,
        problem_type=problem_type,
        keep_duplicates=keep_duplicates,
        merge_labels=merge_labels,
        epochs=epochs,
        batch=batch,
        parts=parts,
        tokens=tokens,
        learning_rate=learning_rate,
        method=method,
    )
    run_options = RunOptions(device=device, workers=1, trust_remote_code=trust_remote_code)
    configs = [config.with_keep(number) for number in keeps]
    experiment = build_experiments(configs, run_options)[0]
    scores = score_layouts(experiment, ScoreRequest(keeps, seed, rows, rungs, proxy))
    if json:
        options.show(dumps({**scores.to_dict(), "seconds": time.perf_counter() - started}))
    else:
        _print(scores)


def _print(scores: "LayoutScores") -> None:
    """Print the layouts as CSV on standard output, and the layers' effects on standard error."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    has_accuracy = scores.scores[0].accuracy is not None
    writer.writerow(("layout", "loss", "accuracy")[: 2 + has_accuracy])
    for score in scores.scores:
        accuracy = [] if score.accuracy is None else [f"{score.accuracy:.5f}"]
        writer.writerow((score.layout, f"{score.loss:.5f}", *accuracy))
    sys.stdout.flush()
    options.say(
        f"{format_count(len(scores.scores), 'layout')} by {scores.layer_passes:,.0f} layer passes, "
        f"as much as {scores.full_depth_passes:,.1f} passes of the full model"
    )
    for effect in scores.layer_effects():
        right = f"  accuracy {100 * effect['accuracy']:+.1f} points" if has_accuracy else ""
        options.say(
            f"layer {effect['layer']:>2}  loss {effect['loss']:+.3f}{right} where it is kept"
        )
