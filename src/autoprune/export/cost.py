"""Costing: what saved models take of disk, memory and time, all measured in one run, by turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autoprune.encoders.files import pick_weight_files
from autoprune.encoders.profiling import (
    Classifier,
    LayerTimes,
    MedianInterval,
    Parameters,
    count_flops,
    count_parameters,
    measure_in_turns,
    measure_peak_memory,
    median_interval,
    open_classifier,
    time_outside_layers,
)
from autoprune.encoders.registry import EncoderFiles
from autoprune.export.onnx import open_model
from autoprune.export.predict import TextTokenizer, TokenTensors, make_tokenizer
from autoprune.tasks.task import LabelledRows
from autoprune.training.devices import describe_device

COST_TEXTS = 64  # rows that are measured, more where two batches take more

_ALONE = 8  # of them go through the model one by one

ForwardPass = Callable[[TokenTensors], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class CostSubject:
    """A saved model to measure: in torch, or its ONNX file `onnx` in onnxruntime.

    onnxruntime runs on the processor, wherever torch runs.
    """

    name: str
    checkpoint: EncoderFiles
    onnx: Path | None = None


@dataclass(frozen=True, slots=True)
class CostMeasurement:
    """What one model costs.

    `bytes` on disk, weights and tokenizer; `measure_peak_memory` of memory to load it and run a batch, None
    where that was not asked for;
    `latency`, seconds for a batch of one text; `throughput`, texts a second in batches; `gain`,
    times the throughput of the first model measured; `count_flops` a text, padding included. `parameters`
    and `count_flops` are None for an ONNX file, `pace` as well.
    """

    name: str
    layers: int
    parameters: Parameters | None
    bytes: int
    peak_bytes: int | None
    latency: MedianInterval
    throughput: MedianInterval
    gain: MedianInterval
    flops: float | None
    pace: LayerTimes | None


@dataclass(frozen=True, slots=True)
class CostConditions:
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
        return describe_device(self.device).replace("bf16", "fp32")


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A subject, loaded, and the rows as its tokens: `batches`, and single rows `alone`."""

    subject: CostSubject
    run: ForwardPass
    batches: list[TokenTensors]
    alone: list[TokenTensors]
    tokenise: Callable[[], object]


def measure_costs(
    subjects: Sequence[CostSubject], rows: LabelledRows, under: CostConditions
) -> list[CostMeasurement]:
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
    seconds = measure_in_turns(calls, under.rounds)
    first = seconds[subjects[0].name, "batches"]
    return [_cost(one, seconds, first, len(picked), under) for one in ready]


def _pick(rows: LabelledRows, batch: int) -> LabelledRows:
    """Draw whole batches of rows, at least two; where there are too few, rows come again."""
    number = batch * max(2, -(-COST_TEXTS // batch))
    order = np.random.default_rng(0).permutation(len(rows))
    places = np.resize(order, number)
    return LabelledRows(
        tuple(rows.texts[place] for place in places),
        tuple(rows.labels[place] for place in places),
        None if rows.pairs is None else tuple(rows.pairs[place] for place in places),
    )


def _ready(subject: CostSubject, rows: LabelledRows, under: CostConditions) -> _Ready:
    checkpoint = subject.checkpoint
    tokenise = make_tokenizer(checkpoint.folder, under.tokens, checkpoint.trust_remote_code)
    batches = _batches(tokenise, rows, under.batch)
    return _Ready(
        subject=subject,
        run=_open(subject, under.device),
        batches=batches,
        alone=_batches(tokenise, rows, 1)[:_ALONE],
        tokenise=partial(_batches, tokenise, rows, under.batch),
    )


def _batches(tokenise: TextTokenizer, rows: LabelledRows, batch: int) -> list[TokenTensors]:
    cuts = [slice(start, start + batch) for start in range(0, len(rows), batch)]
    return [
        tokenise(rows.texts[cut], None if rows.pairs is None else rows.pairs[cut]) for cut in cuts
    ]


def _open(subject: CostSubject, device: torch.device) -> ForwardPass:
    if subject.onnx is not None:
        return open_model(subject.onnx)
    return open_classifier(subject.checkpoint, device)


def _each(run: ForwardPass, batches: Sequence[TokenTensors]) -> None:
    for tokens in batches:
        run(tokens)


def _job(subject: CostSubject, device: torch.device, batch: TokenTensors) -> None:
    """Load the model and run one batch, in a process of its own."""
    _open(subject, device)(batch)


def _cost(
    one: _Ready,
    seconds: Mapping[tuple[str, str], list[float]],
    first: Sequence[float],
    rows: int,
    under: CostConditions,
) -> CostMeasurement:
    subject, run = one.subject, one.run
    mine = seconds[subject.name, "batches"]
    alone = median_interval([spent / len(one.alone) for spent in seconds[subject.name, "alone"]])
    arithmetic, count, pace = None, None, None
    if isinstance(run, Classifier):
        arithmetic = count_flops(run, one.batches) / rows
        count = count_parameters(run.model)
        forward = median_interval(mine).median / rows
        pace = LayerTimes(
            layers=subject.checkpoint.depth,
            forward=forward,
            outside=forward * time_outside_layers(run, one.batches),
            tokenizing=median_interval(seconds[subject.name, "tokenise"]).median / rows,
            single_text=alone.median,
        )
    return CostMeasurement(
        name=subject.name,
        layers=subject.checkpoint.depth,
        parameters=count,
        bytes=_bytes(subject),
        peak_bytes=_peak(one, under.device) if under.memory else None,
        latency=alone,
        throughput=median_interval([rows / spent for spent in mine]),
        gain=median_interval([theirs / spent for theirs, spent in zip(first, mine, strict=True)]),
        flops=arithmetic,
        pace=pace,
    )


def _peak(one: _Ready, device: torch.device) -> int:
    device = torch.device("cpu") if one.subject.onnx else device
    return measure_peak_memory(partial(_job, one.subject, device, one.batches[0]), device, __name__)


def _bytes(subject: CostSubject) -> int:
    """Return the size of the files that are needed to run the model."""
    folder, trusted = subject.checkpoint.folder, subject.checkpoint.trust_remote_code
    names = pick_weight_files((path.name for path in folder.iterdir()), trusted)
    if subject.onnx is not None:
        weights = [name for name in names if name.endswith((".safetensors", ".index.json"))]
        names = [*(name for name in names if name not in weights), subject.onnx.name]
    return sum((folder / name).stat().st_size for name in names)
