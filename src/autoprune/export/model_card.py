"""The model card: what a person must know of an exported model; text from outside is escaped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from autoprune.evaluation.study_files import FinishedStudy
from autoprune.evaluation.verdict import against_others, comparison_verdict, recommendation
from autoprune.export.base_model import OWN_METADATA, BaseModel
from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    markdown_table,
    single_line,
    table_to_markdown,
)
from autoprune.reporting.markdown_report import section_to_markdown
from autoprune.reporting.sections import (
    DOTS_EXPLANATION,
    data_section,
    how_to_read,
    limits_text,
)
from autoprune.reporting.tables import entrants_table, repeat_table
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import Task
from autoprune.training.metrics import Score


@dataclass(frozen=True, slots=True)
class Provenance:
    """How one model was made, beside what its study tells.

    `name` is what it is loaded by, a folder's name or a hub id; `scores` are on `validation`,
    `test` and `test-raw`; `seeds` all that were tried; `seconds` is the wall time of all their
    runs; `joules` what the processors' counter says of it, None where none could be read;
    `tokens` the longest input, `learning_rate` the peak; `notes` are sentences on vocabulary and
    ONNX.
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
    learning_rate: float
    pairs: bool
    command: str
    notes: tuple[str, ...] = ()


# All tasks known by name are Marathi.
_KNOWN = {task.source for task in TASKS.values()}


def front_matter(making: Provenance, title: str) -> str:
    """Return the YAML of a model's card: license, languages, base model, test metrics."""
    base = making.base
    kind, _, place = making.task.source.partition(":")
    hub_task = single_line(place) if kind == "hub" else ""
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
            dataset_type=hub_task or single_line(making.task.name),
            dataset_name=single_line(making.task.name),
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, value in figures
    ]
    data = ModelCardData(
        language=[single_line(language) for language in languages] or None,
        license=single_line(base.license) or "unknown",
        license_link=single_line(base.license_link) or None,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["autoprune", "layer-pruning"],
        base_model=base.hub or None,
        datasets=[hub_task] if hub_task else None,
        model_name=single_line(title),
        eval_results=results,
    )
    data[OWN_METADATA] = {"base": single_line(base.asked), "commit": single_line(base.commit)}
    return data.to_yaml().strip()


_SPLITS = {
    "validation": "validation, by which this run was chosen",
    "test": "test, cleaned",
    "test-raw": "test, raw",
}


def model_card(studied: FinishedStudy, making: Provenance) -> str:
    """Return the card of a model exported from a study, Markdown below its YAML front matter."""
    layout = making.layout
    counted = f"{len(layout.keep)} of {layout.depth} layers"
    title = f"{making.base.name} with {counted} for {making.task.name}"
    parts = [
        f"---\n{front_matter(making, title)}\n---",
        f"# {escape_markdown(title)}",
        escape_markdown(_summary(studied, making)),
        _use(making),
        _layers(studied, making),
        _quality(studied, making),
        _comparison(studied),
        section_to_markdown(data_section(studied.setting)),
        _training(studied, making),
        *(["## Files", *map(escape_markdown, making.notes)] if making.notes else []),
        _repeat(studied, making),
        "## Limits",
        escape_markdown(limits_text(studied.comparison)),
        escape_markdown(_bounds(making)),
        "## License",
        escape_markdown(_license(making.base)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(studied: FinishedStudy, making: Provenance) -> str:
    labels = studied.setting.labels
    return (
        f"A text classifier: the encoder {making.base.name}, {_counted(making.layout)}, fine-tuned "
        f"for the task {making.task.name}. It has {making.parameters:,} parameters and "
        f"{len(labels)} labels: {', '.join(labels)}."
    )


def _counted(layout: Layout) -> str:
    if len(layout.keep) == layout.depth:
        return f"all of whose {layout.depth} layers were kept"
    return f"of whose {layout.depth} layers only {len(layout.keep)} were kept"


def _use(making: Provenance) -> str:
    text = '{"text": "…", "text_pair": "…"}' if making.pairs else '"…"'
    name = json.dumps(making.name, ensure_ascii=False)
    call = f'transformers.pipeline("text-classification", {name})({text}, truncation=True)'
    said = (
        f"It needs transformers and nothing else. Inputs were cut to {making.tokens} tokens when "
        "it was measured, and are with truncation=True."
    )
    return "\n\n".join(["## Use", code_block(call), escape_markdown(said)])


def _layers(studied: FinishedStudy, making: Provenance) -> str:
    layout = making.layout
    said = {
        "found": f"The layout was found by a search of {len(studied.trials)} trials.",
        "full": "No layer was taken out.",
        "given": "The layout was named by hand.",
    }
    rule = f"The layout is that of the fixed strategy {making.origin}."
    rows = [[escape_markdown(str(layout)), layout.picture]]
    return "\n\n".join(
        [
            "## Layers",
            markdown_table(["layout", "layers"], rows),
            escape_markdown(f"{DOTS_EXPLANATION} {said.get(making.origin, rule)}"),
        ]
    )


def _quality(studied: FinishedStudy, making: Provenance) -> str:
    comparison = studied.comparison
    counts = {"test": f"{comparison.test_rows:,}", "test-raw": f"{comparison.raw_rows:,}"}
    counts["validation"] = next(
        f"{one.left:,}" for one in studied.setting.cleaned if one.split == "validation"
    )
    rows = [
        [
            escape_markdown(_SPLITS[score.split]),
            counts[score.split],
            f"{score.accuracy * 100:.1f}",
            f"{score.macro_f1 * 100:.1f}",
        ]
        for score in making.scores
    ]
    header = ["split", "rows", "accuracy in %", "macro-F1 in %"]
    return "\n\n".join(["## Quality of this model", markdown_table(header, rows)])


def _comparison(studied: FinishedStudy) -> str:
    comparison = studied.comparison
    said = [comparison_verdict(comparison), recommendation(comparison)]
    others = [*comparison.left_out, *against_others(comparison)]
    return "\n\n".join(
        [
            "## The study it comes from",
            *map(escape_markdown, said),
            table_to_markdown(entrants_table(comparison)),
            "\n".join(f"- {escape_markdown(sentence)}" for sentence in others),
            escape_markdown(f"{how_to_read(comparison)} {DOTS_EXPLANATION}"),
        ]
    )


def _training(studied: FinishedStudy, making: Provenance) -> str:
    budget, seed = studied.setting.full, making.scores[0].seed
    until = (
        "to the end"
        if budget.patience is None
        else f"until {budget.patience} checks in a row were no better on validation"
    )
    said = (
        f"Fine-tuned (method {budget.method}) for at most {budget.steps:,} steps of {budget.batch} "
        f"rows, peak learning rate {making.learning_rate:g}, {until}. "
        f"{_tried(making.seeds, seed)} "
        f"{making.seconds:.0f} s of training on {making.device}. {_energy(making)}"
    )
    return "\n\n".join(["## Training, time and energy", escape_markdown(said)])


def _tried(seeds: Sequence[int], chosen: int) -> str:
    if len(seeds) == 1:
        return f"One run, seed {chosen}, which the study had not used."
    tried = ", ".join(map(str, seeds))
    return (
        f"{len(seeds)} runs, with seeds that the study had not used ({tried}); this is that of "
        f"seed {chosen}, the best on validation."
    )


def _energy(making: Provenance) -> str:
    if making.joules is None:
        return "Energy was not measured: this machine shows no counter of it."
    apart = "" if making.device.startswith("cpu") else ", without the accelerator"
    return (
        f"{making.joules / 3600:.2f} Wh by the counter of the processors (RAPL), other work on "
        f"them included{apart}."
    )


def _repeat(studied: FinishedStudy, making: Provenance) -> str:
    return "\n\n".join(
        [
            "## To repeat it",
            code_block(studied.setting.command),
            code_block(making.command),
            table_to_markdown(repeat_table(studied.setting, studied.comparison)),
        ]
    )


def _bounds(making: Provenance) -> str:
    return (
        "It knows only the labels above and gives one of them to any text. It was measured on the "
        "test split of its task and on nothing else: try it on texts of your own before you rely "
        f"on it. What lies behind the first {making.tokens} tokens of a text it was never shown."
    )


def _license(base: BaseModel) -> str:
    if not base.license:
        return (
            f"The license of the base model {base.name} could not be read here: find out before "
            "you pass this model on, for it holds that model's weights."
        )
    link = f" ({base.license_link})" if base.license_link else ""
    return (
        f"The license of the base model {base.name}: {base.license}{link}. The weights are "
        "derived from it, and from the texts of the task, whose terms may add to it."
    )
