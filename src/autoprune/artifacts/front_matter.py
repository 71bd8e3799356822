"""The front matter of a model card: what the hub reads, written by a YAML library.

Its fields: https://huggingface.co/docs/hub/model-cards#model-card-metadata
"""

from huggingface_hub import EvalResult, ModelCardData

from autoprune.artifacts.base import OWN
from autoprune.artifacts.making import Making
from autoprune.evidence.markdown import line
from autoprune.tasks.registry import TASKS

# All tasks known by name are Marathi.
_KNOWN = {task.source for task in TASKS.values()}


def front_matter(making: Making, title: str) -> str:
    """Return the YAML of a model's card: license, languages, base model, test metrics."""
    base = making.base
    kind, _, place = making.task.source.partition(":")
    hub_task = line(place) if kind == "hub" else ""
    languages = ("mr",) if making.task.source in _KNOWN else base.languages
    scores = {score.split: score for score in making.scores}
    figures: list[tuple[str, str, float]] = [
        ("accuracy", "Accuracy, cleaned test rows", scores["test"].accuracy),
        ("f1", "Macro-F1, cleaned test rows", scores["test"].macro_f1),
        ("accuracy", "Accuracy, all test rows", scores["test-raw"].accuracy),
        ("f1", "Macro-F1, all test rows", scores["test-raw"].macro_f1),
    ]
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Text classification",
            dataset_type=hub_task or line(making.task.name),
            dataset_name=line(making.task.name),
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, value in figures
    ]
    data = ModelCardData(
        language=[line(language) for language in languages] or None,
        license=line(base.license) or "unknown",
        license_link=line(base.license_link) or None,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["autoprune", "layer-pruning"],
        base_model=base.hub or None,
        datasets=[hub_task] if hub_task else None,
        model_name=line(title),
        eval_results=results,
    )
    data[OWN] = {"base": line(base.asked), "commit": line(base.commit)}
    return data.to_yaml().strip()
