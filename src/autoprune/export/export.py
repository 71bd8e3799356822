"""Export: a layout fine-tuned to the full budget, as a folder that plain transformers loads."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.files import silence_libraries
from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.profiling import count_parameters
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import OptionError, TrialError
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.export.base_model import local_base_model
from autoprune.export.final_training import (
    FinalRun,
    VerificationSample,
    draw_sample,
    merged_model,
    train_best,
)
from autoprune.export.model_card import Provenance, model_card
from autoprune.export.trim_vocabulary import check_trimmable
from autoprune.export.verify import expected_export, verify_export
from autoprune.files import atomic_folder
from autoprune.layouts.layout import Layout
from autoprune.tasks.task import LabelledRows, Splits, Task, TestSplit
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.devices import describe_device
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.metrics import METRICS
from autoprune.training.workers import WorkerPool

# Linux shows the counters of Intel's and AMD's processors (RAPL) here, mostly to root alone:
# https://docs.kernel.org/power/powercap/powercap.html
POWERCAP_FOLDER = Path("/sys/class/powercap")

POWER_INTERVAL = 10.0  # seconds; a counter starts again from 0 after some minutes at the earliest


class EnergyMeter:
    """Adds up the joules of all processors while a block runs, other work on them included.

    `joules` is None where no counter can be read.
    """

    def __init__(self, place: Path = POWERCAP_FOLDER) -> None:
        # intel-rapl:0 is a whole processor; intel-rapl:0:1, a part of it, is not counted again.
        self._counters = sorted(place.glob("intel-rapl:[0-9]*/energy_uj"))
        self._counters = [one for one in self._counters if one.parent.name.count(":") == 1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
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
        """Add what was used since the last call; a counter that went back started from 0 again."""
        now = self._read()
        if now is None or self._last is None or self.joules is None:
            self.joules = self._last = None
            return
        for (last, _), (new, span) in zip(self._last, now, strict=True):
            self.joules += (new - last if new >= last else new - last + span) / 1e6
        self._last = now

    def _watch(self) -> None:
        while not self._ended.wait(POWER_INTERVAL):
            self.add()

    def _read(self) -> list[tuple[int, int]] | None:
        """Return what each counter shows and how far it goes, in microjoules.

        None where one cannot be read, or none is there.
        """
        try:
            return [
                (int(one.read_text()), int(one.with_name("max_energy_range_uj").read_text()))
                for one in self._counters
            ] or None
        except (OSError, ValueError):
            return None


@dataclass(frozen=True, slots=True, eq=False)
class ReducedTokenizer:
    """The tokenizer to pack; `numbers`: the base model's tokens in it, None where none went.

    `notes` are sentences on what was cut.
    """

    tokenizer: PreTrainedTokenizerBase
    numbers: dict[int, int] | None = None
    notes: tuple[str, ...] = ()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write config, weights (safetensors) and tokenizer to `folder`."""
    with silence_libraries():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def reduce_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    corpus: Sequence[Path],
) -> ReducedTokenizer:
    """Cut the vocabulary of `model` in place; see `cut_vocabulary`."""
    from autoprune.export.trim_vocabulary import cut_vocabulary

    before = count_parameters(model).total
    vocabulary = cut_vocabulary(model, tokenizer, splits, test, corpus)
    after = count_parameters(model).total
    sizes = f"Weights cut from {before * 4 / 1e6:.1f} to {after * 4 / 1e6:.1f} MB."
    numbers = {int(old): new for new, old in enumerate(vocabulary.kept)}
    return ReducedTokenizer(vocabulary.tokenizer, numbers, (vocabulary.note, sizes))


def add_onnx(folder: Path, rows: LabelledRows, test: TestSplit, int8: bool) -> tuple[str, ...]:
    """Add the model in `folder` as ONNX, with `int8` also in 8 bits; return what to say of each.

    `rows` are those on which it must agree with torch. Raises `ModelError` where it does not.
    """
    from autoprune.export.onnx import export_onnx, onnx_logits

    done = export_onnx(folder, rows.texts, int8)
    kept, labels = np.array(test.kept), np.array(test.rows.labels)
    said = []
    for file in filter(None, (done.file, done.int8)):
        logits = onnx_logits(file, folder, test.rows.texts)
        share = METRICS["accuracy"].quality(labels[kept], logits[kept].argmax(-1))
        size = file.stat().st_size / 1e6
        said.append(
            f"{file.name}: {size:.1f} MB, accuracy on the cleaned test rows {share * 100:.1f} %."
        )
    return tuple(said)


_MOST_IN_ONNX = 2**31 // 4  # parameters of 4 bytes: protobuf holds 2 GB

RunCallback = Callable[[int, FinalRun | TrialError], None]


@dataclass(frozen=True, slots=True, eq=False)
class ExportSource:
    """What an export starts from: a study, and its model and rows loaded again.

    `bench` has the full budget, with the learning rate for the layout; `encoded` are the raw test
    rows, numbered as the bench's.
    """

    studied: FinishedStudy
    checkpoint: EncoderFiles
    task: Task
    splits: Splits
    test: TestSplit
    encoded: EncodedSplit
    bench: LayoutEvaluator


@dataclass(frozen=True, slots=True)
class ExportRequest:
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
class ExportResult:
    """An exported model: `gap` is the largest difference of a logit over `rows` rows, reloaded.

    `bytes` is the size of the whole folder, `weights` that of its safetensors; `notes` are
    sentences on vocabulary and ONNX.
    """

    best: FinalRun
    gap: float
    rows: int
    bytes: int
    weights: int
    notes: tuple[str, ...]


def export_layout(
    source: ExportSource,
    wish: ExportRequest,
    out: Path,
    crew: WorkerPool,
    watch: RunCallback = lambda *_: None,
) -> ExportResult:
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
    chosen = draw_sample(source.splits, source.test, tokenizer, tokens, bench.rows.kept)
    tuned = _fine_tune(source, wish, chosen, crew, watch)
    with atomic_folder(out) as folder:
        model = merged_model(bench, wish.layout, tuned.best)
        words = ReducedTokenizer(tokenizer)
        if wish.trim:
            words = reduce_vocabulary(model, tokenizer, source.splits, source.test, wish.corpus)
        # As it was trained: what is longer is cut off, padding stands behind.
        words.tokenizer.model_max_length, words.tokenizer.padding_side = tokens, "right"
        save_model(model, words.tokenizer, folder)
        notes = words.notes
        if wish.onnx:
            notes += add_onnx(folder, chosen.rows, source.test, wish.int8)
        making = _making(source, wish, tuned, count_parameters(model).total, tokens, notes)
        folder.joinpath("README.md").write_text(
            model_card(source.studied, making), encoding="utf-8"
        )
        wanted = expected_export(
            chosen, tuned.best.answers, names, model, words.tokenizer, words.numbers
        )
        gap = verify_export(folder, wanted)
        sizes = {path: path.stat().st_size for path in folder.rglob("*")}
    return ExportResult(
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

    best: FinalRun
    seconds: float
    joules: float | None


def _fine_tune(
    source: ExportSource,
    wish: ExportRequest,
    chosen: VerificationSample,
    crew: WorkerPool,
    watch: RunCallback,
) -> _Tuned:
    started = time.perf_counter()
    with EnergyMeter() as meter:
        best = train_best(
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
    source: ExportSource,
    wish: ExportRequest,
    tuned: _Tuned,
    parameters: int,
    tokens: int,
    notes: tuple[str, ...],
) -> Provenance:
    return Provenance(
        name=wish.name,
        base=local_base_model(source.checkpoint, source.studied.asked["model"]),
        task=source.task,
        layout=wish.layout,
        origin=wish.origin,
        parameters=parameters,
        scores=tuned.best.scores,
        seeds=wish.seeds,
        seconds=tuned.seconds,
        joules=tuned.joules,
        device=describe_device(source.bench.device),
        tokens=tokens,
        learning_rate=source.bench.budget.learning_rate,
        pairs=source.splits.train.pairs is not None,
        command=wish.command,
        notes=notes,
    )
