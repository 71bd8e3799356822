"""Export: a layout fine-tuned to the full budget, as a folder that plain transformers loads."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoprune.artifacts.attempts import Attempt, best_attempt, whole_model
from autoprune.artifacts.base import base_of
from autoprune.artifacts.card import card
from autoprune.artifacts.drafting import draft
from autoprune.artifacts.energy import Meter
from autoprune.artifacts.gate import check, expect
from autoprune.artifacts.making import Making
from autoprune.artifacts.packing import Words, add_onnx, cut, save
from autoprune.artifacts.samples import Sample, sample
from autoprune.artifacts.trimming import check_trimmable
from autoprune.encoders.cost import count_parameters
from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.loading import load_tokenizer
from autoprune.errors import OptionError, TrialError
from autoprune.evidence.studied import Studied
from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.crew import Crew
from autoprune.scoring.devices import describe
from autoprune.tasks.task import Splits, Task, TestSplit
from autoprune.tasks.tokenising import Encoded

_MOST_IN_ONNX = 2**31 // 4  # parameters of 4 bytes: protobuf holds 2 GB

Watch = Callable[[int, Attempt | TrialError], None]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What an export starts from: a study, and its model and rows loaded again.

    `bench` has the full budget, with the learning rate for the layout; `encoded` are the raw test
    rows, numbered as the bench's.
    """

    studied: Studied
    checkpoint: Checkpoint
    task: Task
    splits: Splits
    test: TestSplit
    encoded: Encoded
    bench: Bench


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants to take home.

    `origin` is who named the layout: `found`, a strategy, `full`, or `given`; `seeds` are none
    that the study used; `name` is what the model will be loaded by, `command` what was typed.
    `trim` cuts the vocabulary, `corpus` are files whose tokens then stay too.
    """

    layout: Layout
    origin: str
    seeds: tuple[int, ...]
    name: str
    command: str
    trim: bool = False
    corpus: tuple[Path, ...] = ()
    onnx: bool = False
    int8: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """An exported model: `gap` is the largest difference of a logit over `rows` rows, reloaded.

    `bytes` is the size of the whole folder, `weights` that of its safetensors; `notes` are
    sentences on vocabulary and ONNX.
    """

    best: Attempt
    gap: float
    rows: int
    bytes: int
    weights: int
    notes: tuple[str, ...]


def export(
    source: Source, wish: Wish, out: Path, crew: Crew, watch: Watch = lambda *_: None
) -> Exported:
    """Fine-tune the layout on all seeds and write the best run to `out`, whole or not at all.

    Raises `OptionError` for wishes that cannot be had, mostly before any run is made, `TrialError`
    where no run ends well, `ModelError` where the folder does not answer as the trained model did.
    """
    bench, names = source.bench, source.splits.names
    if wish.onnx and source.splits.train.pairs is not None:
        raise OptionError("--onnx is for tasks of one text a row, this one has two")
    if wish.onnx and not wish.trim and bench.parameters(wish.layout).total > _MOST_IN_ONNX:
        raise OptionError(
            "--onnx writes one file of at most 2 GB, this model is larger: add --trim-vocabulary"
        )
    tokenizer = load_tokenizer(source.checkpoint)
    if wish.trim:
        check_trimmable(tokenizer)
    tokens = min(bench.budget.tokens, tokenizer.model_max_length)
    chosen = sample(source.splits, source.test, tokenizer, tokens, bench.rows.kept)
    tuned = _fine_tune(source, wish, chosen, crew, watch)
    with draft(out) as folder:
        model = whole_model(bench, wish.layout, tuned.best)
        words = Words(tokenizer)
        if wish.trim:
            words = cut(model, tokenizer, source.splits, source.test, wish.corpus)
        # As it was trained: what is longer is cut off, padding stands behind.
        words.tokenizer.model_max_length, words.tokenizer.padding_side = tokens, "right"
        save(model, words.tokenizer, folder)
        notes = words.notes
        if wish.onnx:
            notes += add_onnx(folder, chosen.rows, source.test, wish.int8)
        making = _making(source, wish, tuned, count_parameters(model).total, tokens, notes)
        folder.joinpath("README.md").write_text(card(source.studied, making), encoding="utf-8")
        wanted = expect(chosen, tuned.best.answers, names, model, words.tokenizer, words.numbers)
        gap = check(folder, wanted)
        sizes = {path: path.stat().st_size for path in folder.rglob("*")}
    return Exported(
        best=tuned.best,
        gap=gap,
        rows=len(chosen.rows),
        bytes=sum(sizes.values()),
        weights=sum(size for path, size in sizes.items() if path.suffix == ".safetensors"),
        notes=notes,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tuned:
    """The best run, the wall time of all of them, and the joules (None: no counter)."""

    best: Attempt
    seconds: float
    joules: float | None


def _fine_tune(source: Source, wish: Wish, chosen: Sample, crew: Crew, watch: Watch) -> _Tuned:
    started = time.perf_counter()
    with Meter() as meter:
        best = best_attempt(
            source.bench,
            wish.layout,
            wish.seeds,
            source.encoded,
            np.array(source.test.kept),
            chosen.encoded,
            crew,
            watch,
        )
    return _Tuned(best, time.perf_counter() - started, meter.joules)


def _making(
    source: Source,
    wish: Wish,
    tuned: _Tuned,
    parameters: int,
    tokens: int,
    notes: tuple[str, ...],
) -> Making:
    return Making(
        name=wish.name,
        base=base_of(source.checkpoint, source.studied.asked["model"]),
        task=source.task,
        layout=wish.layout,
        origin=wish.origin,
        parameters=parameters,
        scores=tuned.best.scores,
        seeds=wish.seeds,
        seconds=tuned.seconds,
        joules=tuned.joules,
        device=describe(source.bench.device),
        tokens=tokens,
        learning_rate=source.bench.budget.learning_rate,
        pairs=source.splits.train.pairs is not None,
        command=wish.command,
        notes=notes,
    )
