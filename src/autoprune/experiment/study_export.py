"""Study export: fine-tune a layout of a finished study and write it as a model folder."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoprune.choices import FORMAT_NAMES
from autoprune.errors import (
    HubError,
    LayoutError,
    OptionError,
    RemoteCodeError,
    TrialError,
    UnknownNameError,
    check_names,
    format_count,
)
from autoprune.evaluation.records import read_records
from autoprune.evaluation.study_files import RECORDS_FILE, FinishedStudy
from autoprune.evaluation.verdict import format_p
from autoprune.experiment.config import RunOptions
from autoprune.experiment.progress import format_duration
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import reload_experiment, study_config
from autoprune.experiment.teacher import with_stored_teacher
from autoprune.export.card_metadata import read_base_model
from autoprune.export.export import ExportRequest, ExportResult, ExportSource, export_layout
from autoprune.export.final_training import FinalRun, export_seeds
from autoprune.export.formats import MODEL_FORMATS
from autoprune.files import check_new_folder
from autoprune.layouts.layout import Layout
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts
from autoprune.tasks.language import GIVEN, TaskLanguage, find_language, parse_languages
from autoprune.training.metrics import METRICS
from autoprune.training.workers import WorkerPool

_Say = Callable[[str], None]

# A repository's name on the Hugging Face hub: at most 96 characters, no "--" or "..".
_HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<![.-])", re.ASCII)


# Entrants made of the study's model: a rival may have the same layout, and is another model.
_OWN_ORIGINS = {"found", "full", *STRATEGIES}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user can choose of an export.

    `layout` is `recommended`, which None means, `found`, a strategy, `full` or a layout in its text
    form. `seeds` is the number of runs. `push` is a hub id to upload to. `languages` are codes such
    as `mr` for the card; without any they are known or guessed, see `tasks.language.find_language`.
    `data_dir` is where the data of the task are now, if they were moved. `formats` are names of
    `FORMAT_NAMES`; a quantized one that loses more than `max_quantization_drop` points on
    validation is refused. `command` goes into the model card. `force` exports a layout that has
    learned nothing.
    """

    layout: str | None = None
    seeds: int = 3
    trim_vocabulary: bool = False
    corpus: tuple[Path, ...] = ()
    formats: tuple[str, ...] = FORMAT_NAMES[:1]
    max_quantization_drop: float = 1.0
    push: str | None = None
    public: bool = False
    languages: tuple[str, ...] = ()
    data_dir: Path | None = None
    workers: int | None = None
    device: str = "auto"
    command: str = ""
    force: bool = False

    def check(self) -> None:
        """Raise `OptionError` for options that do not go together, before anything is loaded."""
        check_names("format", self.formats, FORMAT_NAMES)
        if not self.formats:
            raise OptionError(f"an export has at least one format of {', '.join(FORMAT_NAMES)}")
        if self.public and self.push is None:
            raise OptionError("--public is for what is uploaded: give --push org/name as well")
        if self.corpus and not self.trim_vocabulary:
            raise OptionError("--corpus is for the vocabulary: give --trim-vocabulary as well")
        if self.push is not None and (not _HUB_ID.fullmatch(self.push) or len(self.push) > 96):
            raise OptionError(
                f"--push takes a hub id such as my-org/my-model, got {self.push[:80]!r}"
            )
        if self.languages:
            parse_languages(",".join(self.languages))
        for name in self.formats:
            MODEL_FORMATS[name].check_installed()
        if self.corpus:
            from autoprune.export.trim_vocabulary import check_corpus

            check_corpus(self.corpus)
        if self.push:
            from autoprune.export.push_to_hub import check_push_target

            check_push_target(self.push, not self.public)


@dataclass(frozen=True, slots=True, eq=False)
class StudyExport:
    """An exported model: what was asked for, what came of it, the metric of its scores.

    `pipeline` is the one of transformers that runs it.
    """

    request: ExportRequest
    result: ExportResult
    metric: str
    pipeline: str = "text-classification"


def export_study(study: FinishedStudy, out: Path, options: ExportOptions, say: _Say) -> StudyExport:
    """Fine-tune a layout of a study on fresh seeds, and write the best run to `out`.

    `out` is written completely or not at all. `say` gets a line for each step. Options were
    checked, by `ExportOptions.check`. Raises `AutopruneError`.
    """
    check_new_folder(out)
    layout, origin = choose_layout(study, options.layout)
    if not options.force:
        _check_learned(study, layout, origin)
    run = RunOptions(workers=options.workers, device=options.device)
    try:
        experiment = reload_experiment(study, run, options.data_dir)
    except RemoteCodeError:
        raise OptionError(
            f"{study.setting.model} runs its own code, and what is exported must load without "
            "any: export a study of another model"
        ) from None
    source = export_source(study, experiment, layout)
    base = read_base_model(experiment.checkpoint, experiment.config.model)
    language = find_language(
        options.languages, experiment.task, experiment.splits.train, base.languages
    )
    say(_describe_language(language))
    request = ExportRequest(
        layout=layout,
        origin=origin,
        seeds=_fresh_seeds(study, options.seeds),
        name=options.push or out.resolve().name,
        command=options.command,
        base=base,
        language=language,
        trim=options.trim_vocabulary,
        corpus=options.corpus,
        formats=options.formats,
        on_hub=options.push is not None,
        max_drop=options.max_quantization_drop,
        force=options.force,
    )
    _announce(source, request, experiment.workers, say)

    def report_run(seed: int, run: FinalRun | TrialError) -> None:
        say(f"seed {seed}: {_describe_run(run, source.evaluator.metric)}")

    try:
        with experiment.threads(), WorkerPool(experiment.workers) as pool:
            result = export_layout(source, request, out, pool, report_run)
    except KeyboardInterrupt:
        say(f"stopped: nothing was written to {out}; the same command begins again")
        raise
    kind = "token" if source.evaluator.problem_type.by_word else "text"
    return StudyExport(request, result, source.evaluator.metric, f"{kind}-classification")


def push_export(out: Path, options: ExportOptions) -> str:
    """Upload the exported model in `out` to the hub and return its address; raises `HubError`."""
    from autoprune.export.push_to_hub import push_model

    assert options.push is not None, "there is a hub id to push to"
    try:
        return push_model(out, options.push, not options.public)
    except HubError as error:
        raise HubError(f"{error}; the model itself is whole, in {out}") from error


def choose_layout(study: FinishedStudy, name: str | None) -> tuple[Layout, str]:
    """Return the layout that `name` means, and its origin: `found`, a strategy, `full`, `given`.

    None means what the study recommends, or else the best on validation, which has learned nothing
    either. Raises `UnknownNameError`, `LayoutError`.
    """
    depth, keep = study.setting.depth, study.setting.keep
    comparison = study.comparison
    layouts = strategy_layouts(list(STRATEGIES), depth, keep) | {"full": Layout.full(depth)}
    if study.found is not None:
        layouts["found"] = study.found
    if name in (None, "recommended"):
        if name and comparison.recommended is None:
            raise LayoutError(
                f"study {study.name} recommends no layout, for none has learned anything: name one "
                "with --layout, and give --force"
            )
        return comparison.row(comparison.best).layout, comparison.best
    if name in layouts:
        return layouts[name], name
    if name == "found":
        raise LayoutError(f"study {study.name} is a baseline and has found nothing: name another")
    if not any(letter.isdigit() for letter in name):
        hint = f"(or a layout such as {Layout.full(depth)})"
        raise UnknownNameError("layout", name[:80], [*layouts, "recommended"], hint)
    layout = Layout.parse(name)
    if layout.depth != depth:
        raise LayoutError(
            f"layout {layout} is for {layout.depth} layers, {study.setting.model} of study "
            f"{study.name} has {depth}"
        )
    return layout, "given"


def _check_learned(study: FinishedStudy, layout: Layout, origin: str) -> None:
    """Raise `LayoutError` where the comparison shows that `layout` has learned nothing."""
    comparison = study.comparison
    majority = comparison.simple_row("majority")
    origins = [
        row.origin for row in comparison.rows if row.origin in _OWN_ORIGINS and row.layout == layout
    ]
    if majority and not all(map(comparison.has_learned, origins)):
        metric = METRICS[comparison.metric]
        quality = metric.format(comparison.row(origins[0]).test_mean)
        p_value = format_p(comparison.over_majority[origins[0]].p_value)
        raise LayoutError(
            f"{origin} ({layout}) of study {study.name} is not clearly better on the test "
            f"split ({quality}) than a model that {majority.description} "
            f"({metric.format(majority.test_mean)}; p {p_value}): train longer, or give "
            "--force to export it"
        )


def export_source(study: FinishedStudy, experiment: Experiment, layout: Layout) -> ExportSource:
    """Return what the export of `layout` starts from, with the settings it was compared with."""
    budgets = [
        record.budget
        for record in study.comparison.records
        if record.origin in _OWN_ORIGINS and record.layout == layout
    ]
    if budgets:
        budget = budgets[0]
    else:
        is_full = layout == Layout.full(experiment.depth)
        budget = experiment.entrant_budgets("full" if is_full else "found")[0]
    if budget.distillation is not None:
        experiment = with_stored_teacher(experiment, study.folder)
    return ExportSource(
        study=study,
        checkpoint=experiment.checkpoint,
        task=experiment.task,
        splits=experiment.splits,
        test=experiment.test,
        encoded=experiment.inputs.test,
        evaluator=experiment.evaluator(budget),
    )


def _fresh_seeds(study: FinishedStudy, number: int) -> tuple[int, ...]:
    """Return seeds that neither the search nor a comparison of the study has used."""
    used = [record.seed for record in read_records(study.folder / RECORDS_FILE)]
    return tuple(export_seeds([*used, study_config(study).seed], number))


def _announce(source: ExportSource, request: ExportRequest, workers: int, say: _Say) -> None:
    """Say what will be trained, for how long at most, and which layout the study recommends."""
    study, layout = source.study, request.layout
    recommended = study.comparison.row(study.comparison.best)
    if study.comparison.recommended is not None and recommended.layout != layout:
        say(
            f"study {study.name} recommends {recommended.origin} ({recommended.layout}), not this: "
            "leave --layout out to take it"
        )
    steps = source.evaluator.budget.steps
    rounds = -(-len(request.seeds) // workers)
    seconds = rounds * steps * source.evaluator.seconds_per_step(layout)
    say(
        f"fine-tuning {layout.picture} {layout} ({request.origin}) on fresh "
        f"seed{'s' * (len(request.seeds) > 1)} {', '.join(map(str, request.seeds))}: "
        f"at most {format_count(steps, 'step')} a run, "
        f"{format_duration(seconds)} in all"
    )


def _describe_language(language: TaskLanguage) -> str:
    """Say which language the card names, how it was found, and how to name another."""
    if language.reason == GIVEN:
        return f"language: {', '.join(language.codes)}, {GIVEN}"
    if not language.codes:
        return f"language: the card names none, {language.reason}; --language names it"
    return f"language: {', '.join(language.codes)}, {language.reason}; --language names another"


def _describe_run(run: FinalRun | TrialError, metric: str) -> str:
    if isinstance(run, TrialError):
        return str(run)
    validation = run.score("validation")
    quality = METRICS[metric].format(validation.quality)
    return f"{quality} on validation, {format_duration(validation.seconds)}"
