"""Python API: run, load, compare and export studies; the command line calls it too.

Nothing is printed unless `progress=True`, and nothing is written outside `root`. A mistake raises
an `AutopruneError` whose text is one line. Training may start child processes; they do not run the
caller's script.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from autoprune.errors import OptionError
from autoprune.evaluation.study_comparison import StudyPair, compare_winners
from autoprune.evaluation.study_files import read_study
from autoprune.experiment.config import RunOptions, SearchOptions, StudyConfig, merge_options
from autoprune.experiment.context import Progress, RunContext
from autoprune.experiment.cost import CostRequest, CostResult, measure_requested_costs
from autoprune.experiment.events import Tracker, emit_to
from autoprune.experiment.pipeline import run_baseline_study, run_studies
from autoprune.experiment.progress import ProgressDisplay
from autoprune.experiment.result import StudyResult, report_path
from autoprune.experiment.setup import build_experiment
from autoprune.experiment.study_export import ExportOptions, StudyExport, export_study, push_export
from autoprune.experiment.study_store import find_study
from autoprune.files import expand_home
from autoprune.tasks.in_memory import Rows, save_rows

_T = TypeVar("_T")

Study = StudyResult | Path | str
"""A result, a study's folder, or its name below `root/studies`."""


class StudyOptions(TypedDict, total=False):
    """The settings of a study by their names; see `StudyConfig` and `RunOptions` for defaults."""

    model: Path | str
    task: Path | str
    keep: int
    metric: str
    seed: int
    text: str
    text_pair: str
    label: str
    labels: Sequence[str]
    label_separator: str
    problem_type: str
    data_dir: Path | str
    keep_duplicates: bool
    merge_labels: bool
    allow_unknown_tokens: bool
    epochs: int
    full_epochs: int
    batch: int
    parts: int
    tokens: int
    learning_rate: float
    learning_rates: Sequence[float]
    method: str
    head: str
    distill: str
    teacher: str
    unlabelled: Path | str
    temperatures: Sequence[float]
    distill_weights: Sequence[float]
    seeds: int | str
    race: bool
    strategies: Sequence[str]
    rivals: Sequence[str]
    trials: int
    minutes: float
    sampler: str
    pruner: str
    proxy: str
    promote: bool
    study: str
    storage: str
    device: str
    workers: int
    ray: str
    gpus_per_worker: float
    trust_remote_code: bool


def run_search(
    config: StudyConfig | None = None,
    *,
    train: Rows | Path | str | None = None,
    root: Path | str | None = None,
    run: RunOptions | None = None,
    progress: bool | Progress = False,
    trackers: Sequence[Tracker] = (),
    context: RunContext | None = None,
    **options: Unpack[StudyOptions],
) -> StudyResult:
    """Search which layers to keep, and compare the found layout on the test split.

    A study is what `config` says, or the options by name. The same call again resumes it.

    Args:
        config: the study; options of the same name win over it.
        train: the rows in place of `task`: a DataFrame, a `datasets.Dataset`, or several by split
            (`train`, `validation`, `test`) in a dict or `DatasetDict`; they are stored in
            `root/data`. Or a path, or a task's name. For a split that is missing, a fifth of the
            train rows is held out.
        root: folder that holds `studies/` and `reports/`; None: that of `run`, else this folder.
        run: where and how the study runs; options of the same name win over it.
        progress: whether to show progress, or an object that shows it.
        trackers: objects that take the study's events, such as
            `autoprune.experiment.tracking.MlflowTracker`.
        context: all that the caller hands in, in place of `progress` and `trackers`.
        options: settings of `StudyConfig` and `RunOptions` by name, such as `trials=16`.

    Raises:
        AutopruneError: a setting, the model, the data or the storage cannot be used.

    Example:
        >>> import autoprune
        >>> result = autoprune.run_search(  # doctest: +SKIP
        ...     model="l3cube-pune/marathi-bert-v2", train=rows, keep=6, trials=16
        ... )
        >>> result.found, result.recommended  # doctest: +SKIP
    """
    config, run_options = _resolve(config, train, _run_options(run, root), options)
    context = context or _context("run_search", config, progress, trackers)
    experiment = build_experiment(config, run_options)
    [outcome] = run_studies([experiment], run_options, context)
    return outcome.result


def run_baseline(
    config: StudyConfig | None = None,
    *,
    train: Rows | Path | str | None = None,
    root: Path | str | None = None,
    run: RunOptions | None = None,
    progress: bool | Progress = False,
    trackers: Sequence[Tracker] = (),
    context: RunContext | None = None,
    **options: Unpack[StudyOptions],
) -> StudyResult:
    """Compare the fixed strategies, the full model and models trained from scratch; no search.

    Takes what `run_search` takes but options of the search, and raises as it does.

    Example:
        >>> import autoprune
        >>> autoprune.run_baseline(model="muril", task="shc", keep=6)  # doctest: +SKIP
    """
    for name in (*SearchOptions.model_fields, "storage", "ray"):
        if name in options:
            raise OptionError(f"run_baseline does not search: leave {name} out")
    config, run_options = _resolve(config, train, _run_options(run, root), options)
    context = context or _context("run_baseline", config, progress, trackers)
    return run_baseline_study(build_experiment(config, run_options), run_options, context)


def load_study(study: Path | str, root: Path | str = ".") -> StudyResult:
    """Load a finished study, by its folder or by its name below `root/studies`.

    Raises:
        StudyError: there is no such study, it is not finished, or its files cannot be read.

    Example:
        >>> import autoprune
        >>> autoprune.load_study("studies/muril-shc-keep6").recommended  # doctest: +SKIP
    """
    options = _run_options(None, root)
    folder = find_study(str(study), options.studies)
    finished = read_study(folder)
    return StudyResult(finished, report_path(folder, options, searched=finished.found is not None))


def compare_studies(first: Study, second: Study, root: Path | str = ".") -> StudyPair:
    """Test the recommended layouts of two studies on the seeds and test rows that both have.

    Raises:
        StudyError: they have no test rows, metric or seed in common.

    Example:
        >>> import autoprune
        >>> autoprune.compare_studies("muril-shc-keep6", "muril-shc-keep4")  # doctest: +SKIP
    """
    return compare_winners(_load(first, root).study, _load(second, root).study)


def export_model(
    study: Study,
    out: Path | str,
    options: ExportOptions | None = None,
    root: Path | str = ".",
    progress: bool | Progress = False,
) -> StudyExport:
    """Fine-tune a study's layout on fresh seeds and write the best run as a model folder.

    Plain transformers loads it. `out` is written completely or not at all. With `options.push` it
    is uploaded too, unless a format was refused (`result.refused`).

    Raises:
        AutopruneError: the study, its model or its data are missing, `out` cannot be written, or
            the hub takes no upload.

    Example:
        >>> import autoprune
        >>> autoprune.export_model(result, "my-model")  # doctest: +SKIP
    """
    finished = _load(study, root).study
    chosen = _checked("options", options, ExportOptions) or ExportOptions()
    if not chosen.command:
        chosen = replace(chosen, command=f"autoprune.export_model({finished.name!r}, 'DIR')")
    if not isinstance(out, Path | str):
        raise OptionError(f"out must be the path of a folder, got {out!r:.60}")
    chosen.check()
    exported = export_study(finished, expand_home(str(out)), chosen, _progress(progress).say)
    if chosen.push and not exported.result.refused:
        push_export(expand_home(str(out)), chosen)
    return exported


def measure_cost(
    target: Study, root: Path | str = ".", request: CostRequest | None = None
) -> CostResult:
    """Measure size, memory, latency and throughput of a study's models, or of a model folder.

    `request` says how; its `target` is replaced.

    Raises:
        AutopruneError: the study or the model cannot be loaded.

    Example:
        >>> import autoprune
        >>> autoprune.measure_cost("my-model").to_dict()  # doctest: +SKIP
    """
    study = target.study if isinstance(target, StudyResult) else None
    name = str(target) if study is None else str(study.folder)
    wanted = replace(_checked("request", request, CostRequest) or CostRequest(name), target=name)
    return measure_requested_costs(wanted, _run_options(None, root).studies, study)


def _run_options(run: RunOptions | None, root: Path | str | None) -> RunOptions:
    run = _checked("run", run, RunOptions) or RunOptions()
    if root is not None:
        run = RunOptions.model_validate({**run.model_dump(), "root": root})
    return run.model_copy(update={"root": expand_home(str(run.root))})


def _resolve(
    config: StudyConfig | None,
    train: Rows | Path | str | None,
    run: RunOptions,
    options: StudyOptions,
) -> tuple[StudyConfig, RunOptions]:
    """Return the study, and where and how it runs; raises `AutopruneError`."""
    given: dict[str, Any] = dict(options)
    given |= {name: str(given[name]) for name in ("model", "task") if name in given}
    changed = {name: given.pop(name) for name in RunOptions.model_fields if name in given}
    config = _checked("config", config, StudyConfig)
    base = config.to_dict() if config else {}
    if isinstance(train, str | Path):
        given["task"] = str(train)
    elif train is not None:
        given["task"] = name = str(given.get("task", "data"))
        asked = StudyConfig.from_dict(merge_options(base, given))
        columns = asked.data.columns
        folder = save_rows(run.root / "data", name, train, columns, asked.problem_type)
        given["task"] = str(folder)
    return (
        StudyConfig.from_dict(merge_options(base, given)),
        RunOptions.model_validate({**run.model_dump(), **changed}),
    )


def _context(
    function: str,
    config: StudyConfig,
    progress: bool | Progress,
    trackers: Sequence[Tracker],
) -> RunContext:
    if not isinstance(trackers, Sequence) or not all(hasattr(one, "track") for one in trackers):
        raise OptionError(
            f"trackers is a list of objects with a method track, got {trackers!r:.60}"
        )
    command = f"autoprune.{function}(StudyConfig.from_dict({config.to_dict()!r}))"
    return RunContext(command, _progress(progress), emit_to(trackers))


def _progress(progress: bool | Progress) -> Progress:
    if isinstance(progress, bool):
        return ProgressDisplay() if progress else Progress()
    if not isinstance(progress, Progress):
        raise OptionError(
            f"progress must be True, False or an object of autoprune's class Progress, got "
            f"{progress!r:.60}"
        )
    return progress


def _checked(name: str, value: _T | None, kind: type[_T]) -> _T | None:
    """Return an argument; raises `OptionError` where it is of another type."""
    if value is None or isinstance(value, kind):
        return value
    raise OptionError(f"{name} must be of the class {kind.__name__}, got {value!r:.60}")


def _load(study: Study, root: Path | str) -> StudyResult:
    return study if isinstance(study, StudyResult) else load_study(study, root)
