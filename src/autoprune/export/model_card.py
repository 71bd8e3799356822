"""Model card of an exported model: Markdown below YAML front matter. Outside text is escaped."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.evaluation.verdict import (
    against_others,
    comparison_verdict,
    describe_seeds,
    recommendation,
)
from autoprune.export.base_model import OWN_METADATA, BaseModel
from autoprune.export.formats import MODEL_FORMATS, TRANSFORMERS
from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    markdown_list,
    markdown_table,
    section_to_markdown,
    single_line,
    table_to_markdown,
    warning_paragraphs,
)
from autoprune.reporting.sections import DOTS_EXPLANATION, data_section, how_to_read, limits_text
from autoprune.reporting.tables import entrants_table, repeat_table
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import Task
from autoprune.training.budget import Budget, Distillation
from autoprune.training.metrics import Score
from autoprune.training.problem_types import find_problem_type


@dataclass(frozen=True, slots=True)
class Provenance:
    """How one model was made, in addition to what its study tells.

    The model is loaded by `name`, a folder or a hub id. `scores` are on `validation`, `test` and
    `test-raw`. `seeds` are those of all runs, `seconds` their wall time, `joules` the energy that
    the processors used, None if not measured. `tokens` is the longest input, `budget` that of each
    run. `pairs` is true for two texts per row. `notes` are sentences on vocabulary and formats,
    `formats` the names of those in the folder. With `on_hub`, `name` is a hub id.
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
    notes: tuple[str, ...] = ()
    formats: tuple[str, ...] = (TRANSFORMERS,)
    on_hub: bool = False


_SPLITS = {
    "validation": "validation, by which this run was chosen",
    "test": "test, cleaned",
    "test-raw": "test, raw",
}


def model_card(study: FinishedStudy, provenance: Provenance) -> str:
    """Return the card of a model that was exported from `study`."""
    layout = provenance.layout
    kept = f"{len(layout.keep)} of {layout.depth} layers"
    title = f"{provenance.base.name} with {kept} for {provenance.task.name}"
    parts = [
        f"---\n{_front_matter(study.setting, provenance, title)}\n---",
        f"# {escape_markdown(title)}",
        escape_markdown(_summary(study, provenance)),
        *warning_paragraphs(result_warnings(study.setting, study.comparison, study.trials)),
        *_use_section(provenance),
        *_layers_section(study, provenance),
        *_quality_section(study, provenance),
        *_study_section(study),
        section_to_markdown(data_section(study.setting)),
        *_training_section(provenance),
        *(["## Files", *map(escape_markdown, provenance.notes)] if provenance.notes else []),
        "## To repeat it",
        code_block(study.setting.command),
        code_block(provenance.command),
        table_to_markdown(repeat_table(study.setting, study.comparison)),
        "## Limits",
        escape_markdown(limits_text(study.comparison)),
        escape_markdown(
            "It knows only the labels above and gives one of them to any text. It was measured on "
            "the test split of its task and on nothing else: try it on texts of your own before "
            "you rely on it. In training it never saw what follows the first "
            f"{provenance.tokens} tokens of a text."
        ),
        "## License",
        escape_markdown(_license_text(provenance.base)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(study: FinishedStudy, provenance: Provenance) -> str:
    labels, layout = study.setting.labels, provenance.layout
    kept = (
        f"all of whose {layout.depth} layers were kept"
        if len(layout.keep) == layout.depth
        else f"of whose {layout.depth} layers only {len(layout.keep)} were kept"
    )
    what = {
        "regression": "A model that gives a number to a text",
        "token_classification": "A tagger of words",
    }.get(study.setting.problem_type, "A text classifier")
    return (
        f"{what}: the encoder {provenance.base.name}, {kept}, fine-tuned for the task "
        f"{provenance.task.name}. It has {provenance.parameters:,} parameters and {len(labels)} "
        f"labels: {', '.join(labels)}."
    )


def _use_section(provenance: Provenance) -> list[str]:
    text = '{"text": "…", "text_pair": "…"}' if provenance.pairs else '"…"'
    name = json.dumps(single_line(provenance.name), ensure_ascii=False)
    values = {
        "NAME": name,
        # Where a folder is looked for: its name must not begin with a slash.
        "LOCAL": f'env.localModelPath = "{"/" if provenance.name.startswith("/") else "."}";',
        "FOLDER": f"huggingface_hub.snapshot_download({name})" if provenance.on_hub else name,
        "TEXTS": '["…"], ["…"]' if provenance.pairs else '["…"]',
        "TEXT": text,
    }
    parts = ["## Use"]
    for format in provenance.formats:
        for title, language, code in _snippets(format, provenance):
            if provenance.on_hub:
                code = code.replace("LOCAL\n", "").replace("{ env, ", "{ ")
            else:
                code = code.replace("import huggingface_hub, ", "import ")
            code = re.sub("|".join(values), lambda word: values[word[0]], code)
            parts += [f"{title}:", code_block(code, language)]
    note = (
        f"Its quality was measured on inputs cut to {provenance.tokens} tokens; truncation=True "
        "cuts them in the same way."
    )
    return [*parts, escape_markdown(note)]


_TRANSFORMERS = """\
import transformers

transformers.pipeline("text-classification", NAME)(TEXT, truncation=True)"""

_ONNXRUNTIME = """\
import huggingface_hub, onnxruntime, transformers

folder = FOLDER
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(f"{folder}/FILE")
tokens = tokenizer(TEXTS, truncation=True, padding=True, return_tensors="np")
inputs = {part.name: tokens[part.name] for part in session.get_inputs()}
logits = session.run(["logits"], inputs)[0]"""

_OPENVINO = """\
import huggingface_hub, openvino, transformers

folder = FOLDER
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = openvino.Core().compile_model(f"{folder}/FILE", "CPU")
tokens = tokenizer(TEXTS, truncation=True, padding=True, return_tensors="np")
logits = model({part.any_name: tokens[part.any_name] for part in model.inputs})[0]"""

_TRANSFORMERS_JS = """\
import { env, pipeline } from "@huggingface/transformers";

LOCAL
const classify = await pipeline("text-classification", NAME, { dtype: "DTYPE" });
console.log(await classify(TEXT));"""

_DTYPES = {"onnx": "fp32", "onnx-fp16": "fp16", "onnx-int8": "q8"}  # their names in transformers.js


def _snippets(format: str, provenance: Provenance) -> list[tuple[str, str, str]]:
    """Return title, language and code of each way to run a format; capitals are to be replaced.

    The classifier of transformers.js takes no second text, and tags no words here.
    """
    by_word = provenance.task.problem_type == "token_classification"
    if format == TRANSFORMERS:
        code = _TRANSFORMERS
        if by_word:
            code = code.replace(", truncation=True", "").replace('"text-', '"token-')
            code = code.replace("NAME)", 'NAME, aggregation_strategy="simple")')
        if provenance.task.problem_type == "multi_label_classification":
            code = code.replace("NAME)", "NAME, top_k=None)")
        return [("With transformers", "python", code)]
    title, file = MODEL_FORMATS[format].title, MODEL_FORMATS[format].file
    if format not in _DTYPES:
        return [(title, "python", _OPENVINO.replace("FILE", file))]
    snippets = [(f"{title}, with onnxruntime", "python", _ONNXRUNTIME.replace("FILE", file))]
    if not provenance.pairs and not by_word:
        code = _TRANSFORMERS_JS.replace("DTYPE", _DTYPES[format])
        snippets.append((f"{title}, with transformers.js", "js", code))
    return snippets


def _layers_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    layout = provenance.layout
    reasons = {
        "found": f"The layout was found by a search of {len(study.trials)} trials.",
        "full": "No layer was removed.",
        "given": "The layout was named by hand.",
    }
    strategy = f"The layout is that of the fixed strategy {provenance.origin}."
    rows = [[escape_markdown(str(layout)), layout.picture]]
    explanation = f"{DOTS_EXPLANATION} {reasons.get(provenance.origin, strategy)}"
    return ["## Layers", markdown_table(["layout", "layers"], rows), escape_markdown(explanation)]


def _qualities(setting: StudyMetadata, score: Score) -> list[tuple[str, float]]:
    """Return the metrics of a score by their names, that of the study last if it is another."""
    kind = find_problem_type(setting.problem_type)
    found = [(kind.accuracy or "", score.accuracy), ("macro-F1", score.macro_f1)]
    if setting.metric not in (kind.accuracy, kind.macro_f1):
        found.append((setting.metric, score.quality))
    return [(name, value) for name, value in found if value is not None]


def _quality_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    comparison = study.comparison
    counts = {"test": f"{comparison.test_rows:,}", "test-raw": f"{comparison.raw_rows:,}"}
    counts["validation"] = next(
        f"{report.left:,}" for report in study.setting.cleaned if report.split == "validation"
    )
    rows = [
        [
            escape_markdown(_SPLITS[score.split]),
            counts[score.split],
            *(f"{value * 100:.1f}" for _, value in _qualities(study.setting, score)),
        ]
        for score in provenance.scores
    ]
    names = (f"{name} in %" for name, _ in _qualities(study.setting, provenance.scores[0]))
    header = ["split", "rows", *map(escape_markdown, names)]
    return ["## Quality of this model", markdown_table(header, rows)]


def _study_section(study: FinishedStudy) -> list[str]:
    comparison = study.comparison
    return [
        "## The study it comes from",
        escape_markdown(comparison_verdict(comparison)),
        escape_markdown(recommendation(comparison)),
        table_to_markdown(entrants_table(comparison)),
        markdown_list(
            [*comparison.left_out, *describe_seeds(comparison), *against_others(comparison)]
        ),
        escape_markdown(f"{how_to_read(comparison)} {DOTS_EXPLANATION}"),
    ]


def _training_section(provenance: Provenance) -> list[str]:
    budget, seed = provenance.budget, provenance.scores[0].seed
    until = (
        "to the end"
        if budget.patience is None
        else f"with early stopping after {budget.patience} checks in a row that were no better on "
        "validation"
    )
    text = (
        f"Fine-tuned (method {budget.method}) for at most {budget.steps:,} steps of {budget.batch} "
        f"rows, peak learning rate {budget.learning_rate:g}, {until}. "
        f"{_distillation_text(budget.distillation)}"
        f"{_seeds_text(provenance.seeds, seed)} "
        f"{provenance.seconds:.0f} s of training on {provenance.device}. {_energy_text(provenance)}"
    )
    return ["## Training, time and energy", escape_markdown(text)]


def _distillation_text(distillation: Distillation | None) -> str:
    if distillation is None:
        return ""
    what = "logits" if distillation.kind == "logits" else "logits and hidden states"
    texts = ", also for texts without labels" if distillation.unlabelled else ""
    return (
        f"It was distilled: beside the labels it learned the {what} of a teacher "
        f"({distillation.teacher}){texts}, temperature {distillation.temperature:g}, weight "
        f"{distillation.weight:g}. "
    )


def _seeds_text(seeds: Sequence[int], chosen: int) -> str:
    if len(seeds) == 1:
        return f"One run, seed {chosen}, which the study had not used."
    return (
        f"{len(seeds)} runs, with seeds that the study had not used "
        f"({', '.join(map(str, seeds))}); this is the run with seed {chosen}, the best on "
        "validation."
    )


def _energy_text(provenance: Provenance) -> str:
    if provenance.joules is None:
        return "Energy was not measured: this machine has no readable counter of it."
    excluded = "" if provenance.device.startswith("cpu") else ", without the accelerator"
    return (
        f"{provenance.joules / 3600:.2f} Wh by the counter of the processors (RAPL), including "
        f"other work on them{excluded}."
    )


def _license_text(base: BaseModel) -> str:
    if not base.license:
        return (
            f"The license of the base model {base.name} could not be read here: find out before "
            "you pass this model on, because it contains that model's weights."
        )
    link = f" ({base.license_link})" if base.license_link else ""
    return (
        f"The license of the base model {base.name}: {base.license}{link}. The weights are "
        "derived from it, and from the texts of the task, whose terms may add to it."
    )


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


def _front_matter(setting: StudyMetadata, provenance: Provenance, title: str) -> str:
    """Return the YAML for the hub: license, languages, base model, test metrics."""
    base = provenance.base
    kind, _, name = provenance.task.source.partition(":")
    hub_task, _, configuration = single_line(name).partition(":") if kind == "hub" else ("", "", "")
    is_built_in = provenance.task.source in {task.source for task in TASKS.values()}
    languages = ("mr",) if is_built_in else base.languages  # all built-in tasks are Marathi
    scores = {score.split: score for score in provenance.scores}
    by_word = setting.problem_type == "token_classification"
    pipeline, named = _PIPELINES[by_word]
    metrics = [
        (_METRIC_TYPES.get(name, name), f"{name[:1].upper()}{name[1:]}, {rows} test rows", value)
        for split, rows in (("test", "cleaned"), ("test-raw", "all"))
        for name, value in _qualities(setting, scores[split])
    ]
    results = [
        EvalResult(
            task_type=pipeline,
            task_name=named,
            dataset_type=hub_task or single_line(provenance.task.name),
            dataset_config=configuration or None,
            dataset_name=single_line(provenance.task.name),
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for metric, name, value in metrics
    ]
    data = ModelCardData(
        language=[single_line(language) for language in languages] or None,
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
    data[OWN_METADATA] = {"base": single_line(base.given_name), "commit": single_line(base.commit)}
    return data.to_yaml().strip()
