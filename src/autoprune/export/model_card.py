"""Model card of an exported model: Markdown below YAML front matter. Outside text is escaped."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import format_count
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import FinishedStudy
from autoprune.evaluation.verdict import (
    against_others,
    comparison_verdict,
    describe_seeds,
    recommendation,
)
from autoprune.export.card_metadata import (
    BaseModel,
    Provenance,
    describe_data,
    front_matter,
    score_values,
)
from autoprune.export.formats import MODEL_FORMATS, TRANSFORMERS
from autoprune.export.public_names import (
    PLACEHOLDERS_EXPLANATION,
    has_placeholders,
    public_command,
    public_notes,
)
from autoprune.reporting.classes import (
    CLASS_TITLES,
    SeedPredictions,
    confusion_table,
    f1_table,
    ranges_table,
    score_classes,
    true_labels,
)
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
from autoprune.training.budget import Distillation

_MAX_CLASSES = 12  # of the confusion matrix; the most frequent ones where there are more

_HOME = "https://github.com/autoprune/autoprune"

WEAKEST = 3  # classes that the limitations name

_SPLITS = {
    "validation": "validation, by which this run was chosen",
    "test": "test, cleaned",
    "test-raw": "test, raw",
}


def model_card(study: FinishedStudy, provenance: Provenance) -> str:
    """Return the card of a model that was exported from `study`.

    It names no file and no folder of the user's machine.
    """
    setting, layout = study.setting, provenance.layout
    setting = replace(
        setting,
        command=public_command(setting.command),
        data_notes=public_notes(setting.data_notes),
        warnings=public_notes(setting.warnings),
    )
    study = replace(study, setting=setting)
    kept = f"{len(layout.keep)} of {layout.depth} layers"
    title = f"{provenance.base.name} with {kept} for {provenance.task.name}"
    data = section_to_markdown(data_section(setting)).split("\n\n", 1)
    parts = [
        f"---\n{front_matter(study, provenance, title)}\n---",
        f"# {escape_markdown(title)}",
        escape_markdown(_summary(study, provenance)),
        *warning_paragraphs(result_warnings(setting, study.comparison, study.trials)),
        *_use_section(provenance),
        *_layers_section(study, provenance),
        *_quality_section(study, provenance),
        *_classes_section(study, provenance),
        *_study_section(study),
        data[0],
        escape_markdown(f"{describe_data(provenance.task)} {_language_text(provenance)}"),
        *data[1:],
        *_training_section(provenance),
        *(["## Files", *map(escape_markdown, provenance.notes)] if provenance.notes else []),
        *_repeat_section(study, provenance),
        "## Limitations",
        markdown_list(_limitations(study, provenance)),
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
    texts = "pairs of texts" if provenance.pairs else "texts"
    what = {
        "regression": f"A model that gives numbers to {texts}",
        "token_classification": "A tagger of words",
    }.get(study.setting.problem_type, f"A classifier of {texts}")
    gives = f"and {format_count(len(labels), 'label')}: {', '.join(labels)}"
    if study.setting.problem_type == "regression":
        gives = f"and gives {labels[0]}"
    return (
        f"{what}: the encoder {provenance.base.name}, {kept}, fine-tuned for the task "
        f"{provenance.task.name}. It has {provenance.parameters:,} parameters {gives}. It was made "
        f"with autoprune ({_HOME}), which searches for the layers of an encoder that a task needs."
    )


def _use_section(provenance: Provenance) -> list[str]:
    text = '{"text": "…", "text_pair": "…"}' if provenance.pairs else '"…"'
    name = json.dumps(single_line(provenance.name), ensure_ascii=False)
    values = {
        "NAME": name,
        "LOCAL": 'env.localModelPath = ".";',
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
    place = (
        ""
        if provenance.on_hub
        else f"The folder of this model is called {provenance.name} here: run the code in the "
        "folder above it, or write its path. "
    )
    note = (
        f"{place}Its quality was measured on inputs cut to {provenance.tokens} tokens; "
        "truncation=True cuts them in the same way."
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

    transformers.js takes no second text, and makes 1 of every number.
    """
    kind = provenance.task.problem_type
    by_word, several = kind == "token_classification", kind == "multi_label_classification"
    if format == TRANSFORMERS:
        code = _TRANSFORMERS
        if by_word:
            code = code.replace(", truncation=True", "").replace('"text-', '"token-')
            code = code.replace("NAME)", 'NAME, aggregation_strategy="simple")')
        if several:
            code = code.replace("NAME)", "NAME, top_k=None)")
        return [("With transformers", "python", code)]
    title, file = MODEL_FORMATS[format].title, MODEL_FORMATS[format].file
    if format not in _DTYPES:
        return [(title, "python", _OPENVINO.replace("FILE", file))]
    snippets = [(f"{title}, with onnxruntime", "python", _ONNXRUNTIME.replace("FILE", file))]
    if not provenance.pairs and kind != "regression":
        code = _TRANSFORMERS_JS.replace("DTYPE", _DTYPES[format])
        if by_word:
            code = code.replace('"text-', '"token-')
            code = code.replace("TEXT)", 'TEXT, { aggregation_strategy: "simple" })')
        if several:
            code = code.replace("TEXT)", "TEXT, { top_k: null })")
        snippets.append((f"{title}, with transformers.js", "js", code))
    return snippets


def _layers_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    layout = provenance.layout
    trials = format_count(len(study.trials), "trial")
    reasons = {
        "found": f"The layout is the best by validation of a search's {trials}.",
        "full": "No layer was removed.",
        "given": "The layout was named by hand.",
    }
    strategy = f"The layout is that of the fixed strategy {provenance.origin}."
    rows = [[escape_markdown(str(layout)), layout.picture]]
    explanation = f"{DOTS_EXPLANATION} {reasons.get(provenance.origin, strategy)}"
    return ["## Layers", markdown_table(["layout", "layers"], rows), escape_markdown(explanation)]


def _quality_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    comparison, setting = study.comparison, study.setting
    counts = {"test": f"{comparison.test_rows:,}", "test-raw": f"{comparison.raw_rows:,}"}
    counts["validation"] = next(
        f"{report.left:,}" for report in setting.cleaned if report.split == "validation"
    )
    rows = [
        [
            escape_markdown(_SPLITS[score.split]),
            counts[score.split],
            *(metric.format_number(value) for _, metric, value in score_values(setting, score)),
        ]
        for score in provenance.scores
    ]
    names = (
        f"{name}{metric.percent and ' in %'}"
        for name, metric, _ in score_values(setting, provenance.scores[0])
    )
    header = ["split", "rows", *map(escape_markdown, names)]
    return ["## Quality of this model", markdown_table(header, rows)]


def _classes_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    """Return the model's quality by class, label, entity type or range of numbers."""
    setting, labels = study.setting, true_labels(study)
    kind, entrants = setting.problem_type, _entrant(provenance)
    title = f"## {CLASS_TITLES[kind]}"
    if kind == "regression":
        return [title, table_to_markdown(ranges_table(setting.labels[0], labels, entrants))]
    found = score_classes(kind, setting.labels, labels, entrants)
    text = "F1 on the cleaned test rows. Where a class has few of them, its F1 is uncertain."
    parts = [title, text]
    parts.append(table_to_markdown(f1_table(found.scores, found.names, found.sizes)))
    if kind == PROBLEM_TYPE_NAMES[0]:
        matrix = confusion_table(found.scores[0], found.names, found.sizes, _MAX_CLASSES)
        shown = (
            f" Shown are the {_MAX_CLASSES} most frequent of {len(found.names)} classes."
            if len(found.names) > _MAX_CLASSES
            else ""
        )
        text = (
            "Confusion matrix, in cleaned test rows: each row of the table is a true class, each "
            f"column what the model predicted.{shown}"
        )
        parts += [escape_markdown(text), table_to_markdown(matrix)]
    return parts


def _entrant(provenance: Provenance) -> list[SeedPredictions]:
    return [SeedPredictions("this model", provenance.predictions[None])]


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


def _language_text(provenance: Provenance) -> str:
    language = provenance.language
    if not language.codes:
        return f"Language: not known; {language.reason}."
    return f"Language: {', '.join(language.codes)} ({language.reason})."


def _repeat_section(study: FinishedStudy, provenance: Provenance) -> list[str]:
    commands = list(filter(None, (study.setting.command, public_command(provenance.command))))
    return [
        "## To repeat it",
        *map(code_block, commands),
        PLACEHOLDERS_EXPLANATION if has_placeholders(commands) else "",
        table_to_markdown(repeat_table(study.setting, study.comparison)),
    ]


def _limitations(study: FinishedStudy, provenance: Provenance) -> list[str]:
    """Return what the model cannot do, or was not tried on, a sentence or two each."""
    what = {
        "regression": "It gives a number to any text, also to one of another kind.",
        "token_classification": "It knows only the entity types above.",
    }.get(
        study.setting.problem_type,
        "It knows only the labels above, and gives them to any text, also to one of another kind.",
    )
    script = provenance.language.script
    seen = f"Most letters of its training texts are in the {script} script. " if script else ""
    return [
        *_weakest(study, provenance),
        what,
        f"{seen}It was fine-tuned and measured on the texts of its task only, not on other "
        "languages, scripts or kinds of text: try it on your own texts before you rely on it.",
        f"It reads the first {provenance.tokens} tokens of a text. What follows them is not read.",
        "It may repeat errors and prejudices of its training texts and of the base model.",
        f"What its study cannot show. {limits_text(study.comparison)}",
    ]


def _weakest(study: FinishedStudy, provenance: Provenance) -> list[str]:
    """Return the classes with the lowest F1, or the range of numbers with the largest error."""
    setting, labels, entrants = study.setting, true_labels(study), _entrant(provenance)
    if setting.problem_type == "regression":
        *_, worst = sorted(
            ranges_table(setting.labels[0], labels, entrants).rows,
            key=lambda row: float(str(row[2])),
        )
        return [
            f"Its numbers are worst where the true ones are {worst[0]}: off by {worst[2]} on "
            f"average, on {format_count(int(str(worst[1])), 'test row')}."
        ]
    found = score_classes(setting.problem_type, setting.labels, labels, entrants)
    f1, unit = (
        found.scores[0].f1,
        "test entity" if setting.problem_type == "token_classification" else "test row",
    )
    tried = np.flatnonzero(found.sizes)
    weakest = tried[np.argsort(f1[tried], kind="stable")][: min(WEAKEST, max(1, len(tried) // 2))]
    listed = ", ".join(
        f"{found.names[i]} (F1 {100 * f1[i]:.1f} % on {format_count(int(found.sizes[i]), unit)})"
        for i in weakest
    )
    missing = [name for name, size in zip(found.names, found.sizes, strict=True) if not size]
    return [
        f"It is weakest in: {listed}.",
        *(
            [f"No test row has these, so nothing is known of them: {', '.join(missing)}."]
            if missing
            else []
        ),
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
