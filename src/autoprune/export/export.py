"""Export: a layout fine-tuned to the full budget, as a folder that plain transformers loads."""

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.config import silence_libraries
from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.profiling import count_parameters
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import LayoutError, ModelError, OptionError
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.export.card_metadata import CARD_FILE, BaseModel, Provenance
from autoprune.export.cost import EnergyMeter
from autoprune.export.final_training import (
    FinalRun,
    FinalTraining,
    RunCallback,
    VerificationSample,
    draw_sample,
    merged_model,
    train_best,
)
from autoprune.export.formats import MODEL_FORMATS, TRANSFORMERS, predict_rows
from autoprune.export.gate import GateResult, GateRows, add_formats
from autoprune.export.model_card import model_card
from autoprune.export.predict import PAIRS_KEY
from autoprune.export.trim_vocabulary import check_trimmable, cut_vocabulary
from autoprune.export.verify import expect_export, unexpected_file, verify_export
from autoprune.files import atomic_folder
from autoprune.layouts.layout import Layout
from autoprune.tasks.language import TaskLanguage
from autoprune.tasks.task import LabelledRows, Splits, Task, TestSplit
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.devices import describe_device
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.metrics import METRICS
from autoprune.training.workers import WorkerPool

_MAX_ONNX_PARAMETERS = 2**31 // 4  # of 4 bytes: a protobuf file holds 2 GB


@dataclass(frozen=True, slots=True, eq=False)
class ExportSource:
    """What an export starts from: a study, with its model and rows.

    `evaluator` has the full budget, with the learning rate for the layout; `encoded` are the raw
    test rows, with the token numbers of the evaluator's rows.
    """

    study: FinishedStudy
    checkpoint: EncoderFiles
    task: Task
    splits: Splits
    test: TestSplit
    encoded: EncodedSplit
    evaluator: LayoutEvaluator


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is to be exported.

    `origin` tells where the layout is from: `found`, a strategy, `full` or `given`. `seeds` are
    seeds that the study did not use. The model will be loaded by `name`; `command` is what the
    user typed. `base` is what is known of the base model, `language` that of the texts. `trim` cuts
    the vocabulary to the tokens of the task and of the files `corpus`. `formats` are names in
    `MODEL_FORMATS`; a quantized one may lose `max_drop` points on validation. With `on_hub`, `name`
    is a hub id. `force` writes a model that learned nothing too.
    """

    layout: Layout
    origin: str
    seeds: tuple[int, ...]
    name: str
    command: str
    base: BaseModel
    language: TaskLanguage
    trim: bool = False
    corpus: tuple[Path, ...] = ()
    formats: tuple[str, ...] = (TRANSFORMERS,)
    max_drop: float = 1.0
    on_hub: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExportResult:
    """An exported model.

    `gap` is the largest difference of a logit on `rows` rows after reloading. `bytes` is the size
    of the folder, `weights` that of its safetensors files. `notes` are sentences on the vocabulary
    and the formats, `refused` those on formats that were not good enough.
    """

    best: FinalRun
    gap: float
    rows: int
    bytes: int
    weights: int
    notes: tuple[str, ...]
    refused: tuple[str, ...]


def export_layout(
    source: ExportSource,
    request: ExportRequest,
    out: Path,
    pool: WorkerPool,
    report: RunCallback = lambda *_: None,
) -> ExportResult:
    """Fine-tune the layout on all seeds and write the best run to `out`, whole or not at all.

    Raises `OptionError` for requests that cannot be met, mostly before anything is trained,
    `TrialError` if all runs fail, `ModelError` if the reloaded model differs from the trained one.
    """
    evaluator, splits, test = source.evaluator, source.splits, source.test
    tokenizer = load_tokenizer(source.checkpoint)
    _check_request(source, request, tokenizer)
    tokens = min(evaluator.budget.tokens, tokenizer.model_max_length)
    sample = draw_sample(splits, test, tokenizer, tokens, evaluator.rows.kept)
    best, seconds, joules = _fine_tune(source, request, sample, pool, report)
    if not request.force:
        _check_learned(source, best)
    with atomic_folder(out) as folder:
        model = merged_model(evaluator, request.layout, best)
        numbers: dict[int, int] | None = None
        notes: tuple[str, ...] = ()
        if request.trim:
            cut, notes = cut_vocabulary(model, tokenizer, splits, test, request.corpus)
            tokenizer, numbers = cut.tokenizer, cut.numbers
        # As in training: longer inputs are cut, padding is on the right.
        tokenizer.model_max_length, tokenizer.padding_side = tokens, "right"
        setattr(model.config, PAIRS_KEY, splits.train.pairs is not None)
        save_model(model, tokenizer, folder)
        added = _add_formats(source, request, folder, sample.rows)
        formats = tuple(name for name in request.formats if name in {TRANSFORMERS, *added.notes})
        notes += tuple(added.notes.values())
        if not formats:  # hours of training are not thrown away
            formats = (TRANSFORMERS,)
            notes += ("The weights of transformers are kept: no format asked for was accepted.",)
        provenance = Provenance(
            name=request.name,
            base=request.base,
            task=source.task,
            layout=request.layout,
            origin=request.origin,
            parameters=count_parameters(model).total,
            scores=best.scores,
            seeds=request.seeds,
            seconds=seconds,
            joules=joules,
            device=describe_device(evaluator.device, evaluator.problem_type.name),
            tokens=tokens,
            budget=evaluator.budget,
            pairs=splits.train.pairs is not None,
            command=request.command,
            language=request.language,
            predictions=best.predictions,
            notes=notes,
            formats=formats,
            on_hub=request.on_hub,
        )
        (folder / CARD_FILE).write_text(model_card(source.study, provenance), encoding="utf-8")
        expected = replace(
            expect_export(sample, best.logits, splits.names, model, tokenizer, numbers),
            problem_type=evaluator.problem_type,
        )
        gap = verify_export(folder, expected)
        if TRANSFORMERS not in formats:
            for path in folder.glob("model*.safetensors*"):
                path.unlink()
        sizes = {path: path.stat().st_size for path in folder.rglob("*")}
    return ExportResult(
        best=best,
        gap=gap,
        rows=len(sample.rows),
        bytes=sum(sizes.values()),
        weights=sum(size for path, size in sizes.items() if path.suffix == ".safetensors"),
        notes=notes,
        refused=added.refused,
    )


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write config, weights (safetensors) and tokenizer to `folder`."""
    with silence_libraries():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # The name by which earlier versions of transformers, and what is built on them, know the class.
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        for name in ("backend", "is_local", "local_files_only"):  # of this machine
            config.pop(name, None)
        path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _check_request(
    source: ExportSource, request: ExportRequest, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise `OptionError` or `ModelError` for a request that this model or task cannot meet."""
    with tempfile.TemporaryDirectory(prefix="autoprune-export-") as scratch, silence_libraries():
        tokenizer.save_pretrained(scratch)
        if name := unexpected_file(Path(scratch)):
            raise ModelError(
                f"the tokenizer of {source.checkpoint.encoder} needs {name}, a file that an export "
                "may not hold: export a study of another model"
            )
    if request.trim:
        check_trimmable(tokenizer)
    elif (
        request.formats != (TRANSFORMERS,)
        and source.evaluator.parameters(request.layout).total > _MAX_ONNX_PARAMETERS
    ):
        raise OptionError(
            "an ONNX file has at most 2 GB, this model is larger: add --trim-vocabulary, or give "
            "--format transformers"
        )


def _check_learned(source: ExportSource, best: FinalRun) -> None:
    """Raise `LayoutError` where the trained model is not better than the majority label."""
    majority = source.study.comparison.simple_row("majority")
    metric, quality = METRICS[source.evaluator.metric], best.score("validation").quality
    if majority is not None and quality <= majority.validation_mean:
        raise LayoutError(
            f"the trained model has learned nothing: it has {metric.format(quality)} on "
            f"validation, where a model that {majority.description} has "
            f"{metric.format(majority.validation_mean)}; give --force to export it"
        )


def _fine_tune(
    source: ExportSource,
    request: ExportRequest,
    sample: VerificationSample,
    pool: WorkerPool,
    report: RunCallback,
) -> tuple[FinalRun, float, float | None]:
    """Return the best run, the wall time of all runs, and their joules (None: not measured)."""
    started = time.perf_counter()
    training = FinalTraining(
        evaluator=source.evaluator,
        layout=request.layout,
        test=source.encoded,
        cleaned=np.array(source.test.kept),
        sample=sample.encoded,
    )
    with EnergyMeter() as meter:
        best = train_best(training, request.seeds, pool, report)
    return best, time.perf_counter() - started, meter.joules


def _add_formats(
    source: ExportSource, request: ExportRequest, folder: Path, sample: LabelledRows
) -> GateResult:
    """Add the formats to the model in `folder`; the notes tell their quality on the test split."""
    if request.formats == (TRANSFORMERS,):
        return GateResult({}, ())
    evaluator, splits, test = source.evaluator, source.splits, source.test
    problem_type, metric = evaluator.problem_type, evaluator.metric
    rows = GateRows(
        sample=replace(sample, by_word=problem_type.by_word),
        train=splits.train,
        validation=splits.validation,
        labels=evaluator.validation.labels,
        problem_type=problem_type,
        metric=metric,
        max_drop=request.max_drop,
    )
    result = add_formats(folder, request.formats, rows)
    cleaned, notes = np.array(test.kept), {}
    for name, note in result.notes.items():
        forward = MODEL_FORMATS[name].opener(folder / MODEL_FORMATS[name].file)
        predictions = problem_type.predict(predict_rows(forward, folder, test.rows))
        quality = METRICS[metric].quality(source.encoded.labels[cleaned], predictions[cleaned])
        shown = METRICS[metric].format(quality)
        notes[name] = f"{note}; {metric} on the cleaned test rows {shown}."
    return GateResult(notes, result.refused)
