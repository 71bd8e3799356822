"""Costing: what saved models take of disk, memory and time, all measured in one run, by turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.encoders.files import chosen
from autoprune.encoders.profiling import (
    Classifier,
    Median,
    Pace,
    Parameters,
    count_parameters,
    flops,
    median_of,
    open_classifier,
    peak_bytes,
    share_outside,
    take_turns,
)
from autoprune.encoders.registry import Checkpoint
from autoprune.export.onnx import open_model
from autoprune.export.predict import Tokenising, Tokens, tokenising
from autoprune.tasks.task import Rows
from autoprune.training.devices import describe

TEXTS = 64  # rows that are measured, more where two batches take more

_ALONE = 8  # of them go through the model one by one

Run = Callable[[Tokens], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A saved model to measure: in torch, or its ONNX file `onnx` in onnxruntime.

    onnxruntime runs on the processor, wherever torch runs.
    """

    name: str
    checkpoint: Checkpoint
    onnx: Path | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model costs.

    `bytes` on disk, weights and tokenizer; `peak_bytes` of memory to load it and run a batch, None
    where that was not asked for;
    `latency`, seconds for a batch of one text; `throughput`, texts a second in batches; `gain`,
    times the throughput of the first model measured; `flops` a text, padding included. `parameters`
    and `flops` are None for an ONNX file, `pace` as well.
    """

    name: str
    layers: int
    parameters: Parameters | None
    bytes: int
    peak_bytes: int | None
    latency: Median
    throughput: Median
    gain: Median
    flops: float | None
    pace: Pace | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all models are measured with; `tokens` is the longest input.

    `memory`: whether peak memory is measured too, for each model in a process of its own.
    """

    batch: int
    rounds: int
    device: torch.device
    tokens: int
    memory: bool = True

    @property
    def machine(self) -> str:
        """The device in words; models are run in fp32 here, whatever is fast in training."""
        return describe(self.device).replace("bf16", "fp32")


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A subject, loaded, and the rows as its tokens: `batches`, and single rows `alone`."""

    subject: Subject
    run: Run
    batches: list[Tokens]
    alone: list[Tokens]
    tokenise: Callable[[], object]


def costs(subjects: Sequence[Subject], rows: Rows, under: Conditions) -> list[Cost]:
    """Measure each subject on rows drawn from `rows`, all the same ones.

    Raises `ModelError` for a model that cannot be loaded, `OptionError` for one that does not fit
    into memory or, for ONNX, without the extra.
    """
    picked = _pick(rows, under.batch)
    ready = [_ready(subject, picked, under) for subject in subjects]
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for one in ready:
        name = one.subject.name
        calls[name, "batches"] = partial(_each, one.run, one.batches)
        calls[name, "alone"] = partial(_each, one.run, one.alone)
        calls[name, "tokenise"] = one.tokenise
    seconds = take_turns(calls, under.rounds)
    first = seconds[subjects[0].name, "batches"]
    return [_cost(one, seconds, first, len(picked), under) for one in ready]


def _pick(rows: Rows, batch: int) -> Rows:
    """Draw whole batches of rows, at least two; where there are too few, rows come again."""
    number = batch * max(2, -(-TEXTS // batch))
    order = np.random.default_rng(0).permutation(len(rows))
    places = np.resize(order, number)
    return Rows(
        tuple(rows.texts[place] for place in places),
        tuple(rows.labels[place] for place in places),
        None if rows.pairs is None else tuple(rows.pairs[place] for place in places),
    )


def _ready(subject: Subject, rows: Rows, under: Conditions) -> _Ready:
    checkpoint = subject.checkpoint
    tokenise = tokenising(checkpoint.folder, under.tokens, checkpoint.trust_remote_code)
    batches = _batches(tokenise, rows, under.batch)
    return _Ready(
        subject=subject,
        run=_open(subject, under.device),
        batches=batches,
        alone=_batches(tokenise, rows, 1)[:_ALONE],
        tokenise=partial(_batches, tokenise, rows, under.batch),
    )


def _batches(tokenise: Tokenising, rows: Rows, batch: int) -> list[Tokens]:
    cuts = [slice(start, start + batch) for start in range(0, len(rows), batch)]
    return [
        tokenise(rows.texts[cut], None if rows.pairs is None else rows.pairs[cut]) for cut in cuts
    ]


def _open(subject: Subject, device: torch.device) -> Run:
    if subject.onnx is not None:
        return open_model(subject.onnx)
    return open_classifier(subject.checkpoint, device)


def _each(run: Run, batches: Sequence[Tokens]) -> None:
    for tokens in batches:
        run(tokens)


def _job(subject: Subject, device: torch.device, batch: Tokens) -> None:
    """Load the model and run one batch, in a process of its own."""
    _open(subject, device)(batch)


def _cost(
    one: _Ready,
    seconds: Mapping[tuple[str, str], list[float]],
    first: Sequence[float],
    rows: int,
    under: Conditions,
) -> Cost:
    subject, run = one.subject, one.run
    mine = seconds[subject.name, "batches"]
    alone = median_of([spent / len(one.alone) for spent in seconds[subject.name, "alone"]])
    arithmetic, count, pace = None, None, None
    if isinstance(run, Classifier):
        arithmetic = flops(run, one.batches) / rows
        count = count_parameters(run.model)
        forward = median_of(mine).median / rows
        pace = Pace(
            layers=subject.checkpoint.depth,
            forward=forward,
            outside=forward * share_outside(run, one.batches),
            tokenising=median_of(seconds[subject.name, "tokenise"]).median / rows,
            alone=alone.median,
        )
    return Cost(
        name=subject.name,
        layers=subject.checkpoint.depth,
        parameters=count,
        bytes=_bytes(subject),
        peak_bytes=_peak(one, under.device) if under.memory else None,
        latency=alone,
        throughput=median_of([rows / spent for spent in mine]),
        gain=median_of([theirs / spent for theirs, spent in zip(first, mine, strict=True)]),
        flops=arithmetic,
        pace=pace,
    )


def _peak(one: _Ready, device: torch.device) -> int:
    device = torch.device("cpu") if one.subject.onnx else device
    return peak_bytes(partial(_job, one.subject, device, one.batches[0]), device, __name__)


def _bytes(subject: Subject) -> int:
    """Return the size of the files that are needed to run the model."""
    folder, trusted = subject.checkpoint.folder, subject.checkpoint.trust_remote_code
    names = chosen((path.name for path in folder.iterdir()), trusted)
    if subject.onnx is not None:
        weights = [name for name in names if name.endswith((".safetensors", ".index.json"))]
        names = [*(name for name in names if name not in weights), subject.onnx.name]
    return sum((folder / name).stat().st_size for name in names)
