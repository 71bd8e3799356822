"""Card metadata: YAML front matter of an export's card; what the card of its base model says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, hf_hub_download, metadata_load
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
)

from autoprune.encoders.hub import fetch
from autoprune.encoders.registry import EncoderFiles, find_encoder
from autoprune.errors import ModelError
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.export.formats import TRANSFORMERS
from autoprune.export.public_names import public_model
from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown import single_line
from autoprune.tasks.language import TaskLanguage
from autoprune.tasks.registry import OFFICIAL_PAGE
from autoprune.tasks.task import Task
from autoprune.training.budget import Budget
from autoprune.training.metrics import METRICS, Labels, Metric, Score
from autoprune.training.problem_types import find_problem_type

CARD_FILE = "README.md"

OWN_METADATA = "autoprune"
"""The field of an export's card that holds `ExportMetadata`."""

_MAX_TEXT = 200  # characters of a short field in a card


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model: `hub` is its id on the hub, empty for a folder.

    `license`, `license_link` and `languages` are from its card, empty where the card has none.
    `given_name` is how the user named it, empty for a folder; `commit` the version that was used.
    """

    name: str
    hub: str
    license: str
    license_link: str
    languages: tuple[str, ...]
    given_name: str
    commit: str


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """What the card of an export tells autoprune, each empty where it is not known.

    `base` is the base model as its user named it, `commit` its version, `study` the name of the
    study it comes from. A card of 0.1.0 has no study, and may name a folder.
    """

    base: str = ""
    commit: str = ""
    study: str = ""


def read_base_model(checkpoint: EncoderFiles, given_name: str) -> BaseModel:
    """Read the card of the base model, in its folder or on the hub at its commit, if there is one.

    `given_name` is how the user named the model.
    """
    hub = checkpoint.encoder.source if checkpoint.encoder.revision else ""
    fields = _front_matter(_card(checkpoint, hub))
    languages = fields.get("language") or ()
    listed = isinstance(languages, list | tuple)
    return BaseModel(
        name=checkpoint.encoder.name,
        hub=hub,
        license=_text(fields.get("license")),
        license_link=_text(fields.get("license_link")),
        languages=tuple(filter(None, map(_text, languages if listed else [languages]))),
        given_name=public_model(given_name),
        commit=checkpoint.commit,
    )


def read_export_metadata(folder: Path) -> ExportMetadata | None:
    """Read what the card of the exported model in `folder` tells, None where it is no export."""
    fields = _front_matter(folder / CARD_FILE)
    metadata, tags = fields.get(OWN_METADATA), fields.get("tags")
    if isinstance(metadata, Mapping):
        base, commit = _text(metadata.get("base"), 4096), _text(metadata.get("commit"))
        return ExportMetadata(base, commit, _text(metadata.get("study")))
    if isinstance(tags, list) and OWN_METADATA in tags:  # a card of an older version
        return ExportMetadata(_text(fields.get("base_model")))
    return None


def fetch_base_model(
    folder: Path, trust_remote_code: bool = False, otherwise: str = ""
) -> EncoderFiles:
    """Fetch the base model that the card of the exported model in `folder` names.

    It is the model `otherwise` where the card says only that it was a folder. Base models in the
    cards of other tools are not downloaded: no user asked for that. Raises `AutopruneError` where
    the card names none, or the model is not available or has changed.
    """
    metadata = read_export_metadata(folder)
    name = (metadata.base or otherwise) if metadata else ""
    if metadata is None or not name:
        if metadata and metadata.study:
            raise ModelError("it was a folder, and a card names no folder of its author")
        raise ModelError(f"no card in {folder} names it")
    encoder, commit = find_encoder(name), metadata.commit
    if encoder.revision and commit:
        encoder = replace(encoder, revision=commit)
    checkpoint = fetch(encoder, trust_remote_code)
    if commit and checkpoint.commit != commit:
        raise ModelError(f"{name} is now {checkpoint.commit}, it was made from {commit}")
    return checkpoint


def _card(checkpoint: EncoderFiles, hub: str) -> Path:
    if hub:
        try:
            return Path(hf_hub_download(hub, CARD_FILE, revision=checkpoint.commit))
        except (EntryNotFoundError, HfHubHTTPError, HTTPError, OSError, ValueError):
            pass  # without a card nothing is known, and the new card says so
    return checkpoint.folder / CARD_FILE


def _front_matter(path: Path) -> Mapping[str, Any]:
    try:
        return metadata_load(path) or {}
    except Exception:  # a card is free text, and no fault in it may stop an export
        return {}


def _text(value: object, longest: int = _MAX_TEXT) -> str:
    """Return `value` if it is a short text, else "": a card may hold anything in a field."""
    return value if isinstance(value, str) and len(value) <= longest else ""


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """How one model was made, in addition to what its study tells.

    The model is loaded by `name`. `scores` are on `validation`, `test` and
    `test-raw`. `seeds` are those of all runs, `seconds` their wall time, `joules` the energy that
    the processors used, None if not measured. `tokens` is the longest input, `budget` that of each
    run. `pairs` is true for two texts per row. `language` is that of the texts, `predictions` are
    those of the model for the cleaned test rows. `notes` are sentences on vocabulary and formats,
    `formats` the names of those in the folder. With `on_hub`, `name` is a hub id, else that of the
    model's folder, without the folders above it.
    """

    name: str
    base: BaseModel
    task: Task
    layout: Layout
    origin: str
    parameters: int
    scores: tuple[Score, ...]
    seeds: tuple[int, ...]
    seconds: float
    joules: float | None
    device: str
    tokens: int
    budget: Budget
    pairs: bool
    command: str
    language: TaskLanguage
    predictions: Labels
    notes: tuple[str, ...] = ()
    formats: tuple[str, ...] = (TRANSFORMERS,)
    on_hub: bool = False


def score_values(setting: StudyMetadata, score: Score) -> list[tuple[str, Metric, float]]:
    """Return the metrics of a score by their names, that of the study last if it is another."""
    kind = find_problem_type(setting.problem_type)
    found = [(kind.accuracy or "", score.accuracy), ("macro-F1", score.macro_f1)]
    if setting.metric not in (kind.accuracy, kind.macro_f1):
        found.append((setting.metric, score.quality))
    return [
        (name, METRICS[name.lower()], value) for name, value in found if name and value is not None
    ]


_PIPELINES = (
    ("text-classification", "Text classification"),
    ("token-classification", "Token classification"),
)

_METRIC_TYPES = {
    "macro-F1": "f1",
    "micro-f1": "f1",
    "weighted-f1": "f1",
    "entity-f1": "f1",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
    "token-accuracy": "accuracy",
    "subset-accuracy": "accuracy",
    "mcc": "matthews_correlation",
}  # of the hub


def describe_data(task: Task) -> str:
    """Name the data of a task in a sentence, with their address where they have one."""
    kind, _, name = task.source.partition(":")
    if kind == "hub":
        dataset, _, configuration = name.partition(":")
        of = f", configuration {configuration}" if configuration else ""
        return f"Data set {dataset}{of} of the hub: https://huggingface.co/datasets/{dataset}."
    if not task.title:
        return f"Data of the author, which autoprune read as the task {task.name}."
    place = f", from {OFFICIAL_PAGE}" if kind == "official" else ""
    return f"{task.title[:1].upper()}{task.title[1:]}{place}: task {task.name} of autoprune."


def front_matter(study: FinishedStudy, provenance: Provenance, title: str) -> str:
    """Return the YAML for the hub: license, languages, base model, test metrics."""
    base, task = provenance.base, provenance.task
    kind, _, name = task.source.partition(":")
    hub_task, _, configuration = single_line(name).partition(":") if kind == "hub" else ("", "", "")
    scores = {score.split: score for score in provenance.scores}
    by_word = study.setting.problem_type == "token_classification"
    pipeline, named = _PIPELINES[by_word]
    metrics = [
        (
            _METRIC_TYPES.get(name, name),
            f"{name[:1].upper()}{name[1:]}, {rows} test rows",
            metric.sign * value,
        )
        for split, rows in (("test", "cleaned"), ("test-raw", "all"))
        for name, metric, value in score_values(study.setting, scores[split])
    ]
    results = [
        EvalResult(
            task_type=pipeline,
            task_name=named,
            dataset_type=hub_task or single_line(task.name),
            dataset_config=configuration or None,
            dataset_name=single_line(task.title or task.name),
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for metric, name, value in metrics
    ]
    data = ModelCardData(
        language=list(provenance.language.codes) or None,
        license=single_line(base.license) or "unknown",
        license_link=single_line(base.license_link) or None,
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["autoprune", "layer-pruning"],
        base_model=base.hub or None,
        datasets=[hub_task] if hub_task else None,
        model_name=single_line(title),
        eval_results=results,
    )
    own = {"base": base.given_name, "commit": base.commit, "study": study.name}
    data[OWN_METADATA] = {name: single_line(text) for name, text in own.items() if text}
    return data.to_yaml().strip()
