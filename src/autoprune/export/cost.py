"""Cost: disk, memory, latency, throughput and energy of models, measured in one process."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from autoprune.encoders.files import list_names, pick_weight_files
from autoprune.encoders.profiling import (
    Classifier,
    LayerTimes,
    Parameters,
    count_flops,
    count_parameters,
    measure_in_turns,
    measure_peak_memory,
    open_classifier,
    time_outside_layers,
)
from autoprune.encoders.registry import EncoderFiles
from autoprune.evaluation.statistics import MedianInterval, median_interval
from autoprune.export.formats import (
    MODEL_FORMATS,
    TRANSFORMERS,
    ForwardPass,
    files_of_format,
)
from autoprune.export.predict import TextTokenizer, TokenTensors, make_tokenizer
from autoprune.tasks.task import LabelledRows
from autoprune.training.devices import describe_device

COST_TEXTS = 64  # rows that are measured; more if two batches take more

_SINGLE_TEXTS = 8  # rows that go through the model one by one


@dataclass(frozen=True, slots=True)
class CostSubject:
    """A saved model to measure: in torch, or another of its formats, always on the CPU.

    `format` is a name in `MODEL_FORMATS`, and `file` the file of another format than torch's.
    """

    name: str
    checkpoint: EncoderFiles
    format: str = TRANSFORMERS
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class CostMeasurement:
    """What one model costs.

    `bytes` on disk, weights and tokenizer; `peak_bytes` of memory to load it and run a batch, None
    if not measured; `latency`, seconds for a batch of one text; `throughput`, texts per second in
    batches; `gain`, the ratio of throughput to that of the first model; `flops` per text, padding
    included. `parameters`, `flops` and `pace` (times per text) are None for other formats than
    torch's.
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

    With `memory`, peak memory is measured too, each model in a separate process.
    """

    batch: int
    rounds: int
    device: torch.device
    tokens: int
    memory: bool = True

    @property
    def machine(self) -> str:
        """The device in words. Models run in fp32 here, also where training is in bf16."""
        return describe_device(self.device).replace("bf16", "fp32")


@dataclass(frozen=True, slots=True, eq=False)
class _LoadedModel:
    """A loaded model and the rows in its tokens: in batches, and single."""

    subject: CostSubject
    forward: ForwardPass
    tokenize: Callable[[], list[TokenTensors]]
    batches: list[TokenTensors]
    single: list[TokenTensors]


def measure_costs(
    subjects: Sequence[CostSubject], rows: LabelledRows, conditions: CostConditions
) -> list[CostMeasurement]:
    """Measure each model on the same rows, drawn from `rows`.

    Raises `ModelError` for a model that cannot be loaded, `OptionError` for one that does not fit
    into memory or whose packages are missing.
    """
    drawn = _draw_rows(rows, conditions.batch)
    models = [_load(subject, drawn, conditions) for subject in subjects]
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for model in models:
        name = model.subject.name
        calls[name, "batches"] = partial(_run_all, model.forward, model.batches)
        calls[name, "single"] = partial(_run_all, model.forward, model.single)
        calls[name, "tokenize"] = model.tokenize
    seconds = measure_in_turns(calls, conditions.rounds)
    baseline = seconds[subjects[0].name, "batches"]
    return [_summarize(model, seconds, baseline, len(drawn), conditions) for model in models]


def _draw_rows(rows: LabelledRows, batch: int) -> LabelledRows:
    """Draw whole batches of rows, at least two; if there are too few, rows are repeated."""
    order = np.random.default_rng(0).permutation(len(rows))
    index = np.resize(order, batch * max(2, -(-COST_TEXTS // batch)))
    return LabelledRows(
        tuple(rows.texts[row] for row in index),
        tuple(rows.labels[row] for row in index),
        None if rows.pairs is None else tuple(rows.pairs[row] for row in index),
    )


def _load(subject: CostSubject, rows: LabelledRows, conditions: CostConditions) -> _LoadedModel:
    checkpoint = subject.checkpoint
    tokenizer = make_tokenizer(checkpoint.folder, conditions.tokens, checkpoint.trust_remote_code)
    tokenize = partial(_tokenize, tokenizer, rows, conditions.batch)
    return _LoadedModel(
        subject=subject,
        forward=_open(subject, conditions.device),
        tokenize=tokenize,
        batches=tokenize(),
        single=_tokenize(tokenizer, rows, 1)[:_SINGLE_TEXTS],
    )


def _tokenize(tokenizer: TextTokenizer, rows: LabelledRows, batch: int) -> list[TokenTensors]:
    parts = [slice(start, start + batch) for start in range(0, len(rows), batch)]
    return [tokenizer(rows.texts[part], rows.pairs and rows.pairs[part]) for part in parts]


def _open(subject: CostSubject, device: torch.device) -> ForwardPass:
    if subject.file is not None:
        return MODEL_FORMATS[subject.format].opener(subject.file)
    return open_classifier(subject.checkpoint, device)


def _run_all(forward: ForwardPass, batches: Sequence[TokenTensors]) -> None:
    for tokens in batches:
        forward(tokens)


def _load_and_run(subject: CostSubject, device: torch.device, batch: TokenTensors) -> None:
    """Load the model and run one batch; memory is measured around this, in a new process."""
    _open(subject, device)(batch)


def _summarize(
    model: _LoadedModel,
    seconds: Mapping[tuple[str, str], list[float]],
    baseline: Sequence[float],
    rows: int,
    conditions: CostConditions,
) -> CostMeasurement:
    subject, forward = model.subject, model.forward
    spent, single = (seconds[subject.name, part] for part in ("batches", "single"))
    latency = median_interval([total / len(model.single) for total in single])
    flops, parameters, pace = None, None, None
    if isinstance(forward, Classifier):
        flops = count_flops(forward, model.batches) / rows
        parameters = count_parameters(forward.model)
        per_text = median_interval(spent).median / rows
        pace = LayerTimes(
            layers=subject.checkpoint.depth,
            forward=per_text,
            outside=per_text * time_outside_layers(forward, model.batches),
            tokenising=median_interval(seconds[subject.name, "tokenize"]).median / rows,
            alone=latency.median,
        )
    return CostMeasurement(
        name=subject.name,
        layers=subject.checkpoint.depth,
        parameters=parameters,
        bytes=_size_on_disk(subject),
        peak_bytes=_peak_memory(model, conditions.device) if conditions.memory else None,
        latency=latency,
        throughput=median_interval([rows / total for total in spent]),
        gain=median_interval([first / own for first, own in zip(baseline, spent, strict=True)]),
        flops=flops,
        pace=pace,
    )


def _peak_memory(model: _LoadedModel, device: torch.device) -> int:
    device = torch.device("cpu") if model.subject.file else device
    load = partial(_load_and_run, model.subject, device, model.batches[0])
    return measure_peak_memory(load, device, __name__)


def _size_on_disk(subject: CostSubject) -> int:
    """Return the size of the files that are needed to run the model, in bytes."""
    folder, trusted = subject.checkpoint.folder, subject.checkpoint.trust_remote_code
    names = pick_weight_files(list_names(folder), trusted)
    files = [folder / name for name in names]
    if subject.file is not None:
        weights = (".safetensors", ".safetensors.index.json")
        files = [path for path in files if not path.name.endswith(weights)]
        files += files_of_format(subject.file)
    return sum(path.stat().st_size for path in files)


# Linux shows the counters of Intel's and AMD's processors (RAPL) here, mostly only to root:
# https://docs.kernel.org/power/powercap/powercap.html
POWERCAP_FOLDER = Path("/sys/class/powercap")

POWER_INTERVAL = 10.0  # seconds; a counter wraps around after some minutes at the earliest


class EnergyMeter:
    """Context manager that adds up the joules of all processors, used by any program.

    `joules` is None where a counter cannot be read.
    """

    def __init__(self, folder: Path = POWERCAP_FOLDER) -> None:
        # intel-rapl:0 is a whole processor; intel-rapl:0:1 is a part of it and is not counted.
        counters = sorted(folder.glob("intel-rapl:[0-9]*/energy_uj"))
        self._counters = [path for path in counters if path.parent.name.count(":") == 1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._add_regularly, daemon=True)
        self._last = self._read()
        self.joules: float | None = None if self._last is None else 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.add()

    def add(self) -> None:
        """Add what was used since the last call. A counter that fell has wrapped around once."""
        now = self._read()
        if now is None or self._last is None or self.joules is None:
            self.joules = self._last = None
            return
        for (last, _), (new, span) in zip(self._last, now, strict=True):
            self.joules += (new - last if new >= last else new - last + span) / 1e6
        self._last = now

    def _add_regularly(self) -> None:
        while not self._ended.wait(POWER_INTERVAL):
            self.add()

    def _read(self) -> list[tuple[int, int]] | None:
        """Return value and range of each counter in microjoules, None where one is unreadable."""
        try:
            return [
                (int(path.read_text()), int(path.with_name("max_energy_range_uj").read_text()))
                for path in self._counters
            ] or None
        except (OSError, ValueError):
            return None
