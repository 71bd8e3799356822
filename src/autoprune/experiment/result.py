"""Study result: what a finished study found, as Python values, JSON and HTML."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.errors import StudyError
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.entrants import Entrant, fingerprints_with
from autoprune.evaluation.records import (
    check_test_record,
    count_repeated,
    read_records,
    utc_now,
)
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.statistics import MIN_SEEDS
from autoprune.evaluation.study_files import (
    BASELINE_FILE,
    RECORDS_FILE,
    STUDY_FILE,
    STUDY_SCHEMA,
    FinishedStudy,
    FoundLayout,
    StudyMetadata,
    read_study,
    refuse_later_schema,
    write_study,
)
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.context import RunContext
from autoprune.experiment.proxy_scores import proxy_summary
from autoprune.experiment.setup import Experiment
from autoprune.experiment.study_store import study_costs
from autoprune.files import path_exists, write_atomic
from autoprune.layouts.layout import Layout
from autoprune.reporting.markdown import markdown_report
from autoprune.reporting.tables import comparison_as_json
from autoprune.search.result import SearchResult
from autoprune.storage.storage import JOURNAL
from autoprune.training.metrics import METRICS

if TYPE_CHECKING:
    import pandas


class ComparisonTable(Sequence[dict[str, Any]]):
    """The comparison on the test split: one dict a row, qualities in [0, 1].

    In a notebook it shows as a table.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._rows = comparison_as_json(comparison)
        self._metric = METRICS[comparison.metric]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the rows as a DataFrame; raises ImportError where pandas is not installed."""
        import pandas

        return pandas.DataFrame(self._rows)

    def __repr__(self) -> str:
        return "\n".join(
            f"{row['origin']:12} {row['description']:20} {self._metric.format(row['test_mean']):>7}"
            for row in self._rows
        )

    def _repr_html_(self) -> str:
        cells = (
            (
                row["origin"],
                row["description"],
                self._metric.format(row["test_mean"]),
                self._metric.format(row["validation_mean"]),
                f"{row['parameters'] / 1e6:.3g} M",
            )
            for row in self._rows
        )
        header = ("origin", "layout", "test", "validation", "parameters")
        lines = [_html_row("th", header), *(_html_row("td", row) for row in cells)]
        return f"<table>{''.join(lines)}</table>"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StudyResult:
    """A finished study; `report` is its Markdown report, which may have been moved."""

    study: FinishedStudy
    report: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name

    @property
    def folder(self) -> Path:
        """The folder with the study's records."""
        return self.study.folder

    @property
    def config(self) -> StudyConfig:
        """What the study is."""
        return StudyConfig.from_stored(self.study.config)

    @property
    def found(self) -> Layout | None:
        """The layout that the search found; None for a baseline."""
        return self.study.found

    @property
    def recommended(self) -> Layout | None:
        """The layout to use; a fixed strategy's, where the found one is not better.

        None where no layout has learned anything: see `warnings`.
        """
        comparison = self.study.comparison
        origin = comparison.recommended
        return comparison.row(origin).layout if origin else None

    @property
    def comparison(self) -> ComparisonTable:
        """The comparison of all entrants on the test split."""
        return ComparisonTable(self.study.comparison)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in the data or in the result, a sentence each."""
        study = self.study
        return result_warnings(study.setting, study.comparison, study.trials)

    @property
    def verdict(self) -> str:
        """In one sentence, how the found layout compares with the best fixed strategy."""
        return comparison_verdict(self.study.comparison)

    @property
    def recommendation(self) -> str:
        """In one sentence, which layout to use and why."""
        return recommendation(self.study.comparison)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: what `autoprune search --json` prints."""
        trials = self.study.trials
        searched: dict[str, Any] = {}
        if self.found is not None:
            searched = {
                "found": str(self.found),
                "trials": len(trials),
                "distinct_layouts": len({trial.layout for trial in trials}),
            }
        return {
            "study": self.name,
            **searched,
            "recommended": str(self.recommended) if self.recommended else None,
            "recommended_origin": self.study.comparison.recommended,
            "distillation": self._distillation(),
            "repeated": count_repeated(read_records(self.folder / RECORDS_FILE)),
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "report": str(self.report),
            "comparison": list(self.comparison),
        }

    def _distillation(self) -> dict[str, Any] | None:
        """Return what entrants learned from a teacher, None without one."""
        setting = self.study.setting
        if setting.distillation is None:
            return None
        return asdict(setting.distillation) | {"unlabelled": setting.unlabelled}

    def __repr__(self) -> str:
        return f"{self.name}: {self.recommendation}\n{self.comparison!r}"

    def _repr_html_(self) -> str:
        sentences = "".join(
            f"<p>{escape(text)}</p>" for text in (self.verdict, self.recommendation, *self.warnings)
        )
        return f"<h4>{escape(self.name)}</h4>{self.comparison._repr_html_()}{sentences}"


def write_result(
    experiment: Experiment,
    folder: Path,
    entrants: Sequence[Entrant],
    comparison: Comparison,
    search: SearchResult | None,
    options: RunOptions,
    context: RunContext,
) -> StudyResult:
    """Write the study's end and its report; `search` is None where nothing was searched."""
    conditions, found = experiment.conditions, _found_layout(search)
    file = STUDY_FILE if found else BASELINE_FILE
    setting = StudyMetadata(
        model=experiment.checkpoint.encoder.name,
        commit=experiment.checkpoint.commit,
        task=experiment.task.name,
        labels=experiment.splits.names,
        metric=experiment.task.metric,
        depth=experiment.depth,
        keep=experiment.keep,
        quick=experiment.quick if search else None,
        full=experiment.full,
        cleaned=(*experiment.splits.cleaned, experiment.test.cleaned),
        fingerprints=conditions.fingerprints | {"test": experiment.test.fingerprint},
        versions=conditions.versions,
        device=conditions.device,
        command=context.command,
        finished=utc_now(),
        rates=experiment.learning_rates,
        hint=proxy_summary(folder, search) if search else "",
        data_notes=experiment.notes,
        warnings=(*experiment.warnings, *_describe_looks(folder, file, comparison)),
        distillation=experiment.distillation,
        unlabelled=len(experiment.teaching.unlabelled),
        problem_type=experiment.problem_type.name,
    )
    config = experiment.config.to_dict()
    write_study(folder, config, setting, entrants, comparison, experiment.test, found)
    study = read_study(folder, file)
    report = report_path(folder, options, searched=found is not None)
    costs = study_costs(folder, study.comparison, context.progress.say)
    write_atomic(
        report, markdown_report(study.setting, study.comparison, study.trials, costs, folder.name)
    )
    return StudyResult(study, report)


def _found_layout(search: SearchResult | None) -> FoundLayout | None:
    if search is None or search.found is None:
        return None
    assert search.mean is not None and search.std is not None, "a found layout has a mean"
    return FoundLayout(search.found, search.mean, search.std)


def report_path(folder: Path, options: RunOptions, searched: bool) -> Path:
    """Return where a study's report is; that of a baseline leaves the search's as it is.

    A study of a plan is one folder deeper, and so is its report.
    """
    studies = options.studies
    deeper = folder.parent.relative_to(studies) if folder.is_relative_to(studies) else Path()
    return options.reports / deeper / f"{folder.name}{'' if searched else '-baseline'}.md"


def check_study_files(
    experiment: Experiment, folder: Path, options: RunOptions, searching: bool = True
) -> None:
    """Raise `StudyError` now for files that could not be read or written after hours of work.

    So it does where a study with other settings ended in the folder. A search that goes on in its
    journal is not compared with its own result: the journal's study knows more of its settings.
    """
    goes_on = searching and path_exists(folder / JOURNAL)
    reports = [report_path(folder, options, searched) for searched in (True, False)]
    for path in (*(folder / name for name in (RECORDS_FILE, STUDY_FILE, BASELINE_FILE)), *reports):
        check_writable(path)
    for name in (STUDY_FILE, BASELINE_FILE):
        refuse_later_schema(folder / name, STUDY_SCHEMA)
        earlier = _read_earlier(folder, name)
        if earlier is not None and not (goes_on and name == STUDY_FILE):
            _refuse_other_study(experiment, earlier)
    fingerprints = fingerprints_with(experiment.test, experiment.conditions.fingerprints)
    labels, names = experiment.test.rows.labels, max(2, len(experiment.splits.names))
    for record in read_records(folder / RECORDS_FILE):
        if record.phase == "comparison" and record.fingerprints == fingerprints:
            check_test_record(folder / RECORDS_FILE, record, labels, names)


def _read_earlier(folder: Path, file: str) -> FinishedStudy | None:
    """Return what `file` in a study's folder holds, None where it cannot be read."""
    try:
        return read_study(folder, file)
    except StudyError:
        return None


def _refuse_other_study(experiment: Experiment, earlier: FinishedStudy) -> None:
    """Raise `StudyError` where a search or baseline with other settings ended in the folder."""
    setting = earlier.setting
    then = {
        "model": f"{setting.model}@{setting.commit}",
        "task": setting.task,
        "metric": setting.metric,
        "data": setting.fingerprints.get("train and validation", ""),
        "depth": setting.depth,
        "keep": setting.keep,
        "seed": earlier.config.get("seed", experiment.seed),
        "full_steps": setting.full.steps,
    }
    now = {
        **experiment.identity,
        "depth": experiment.depth,
        "keep": experiment.keep,
        "seed": experiment.seed,
    }
    if differences := "; ".join(
        f"{key} {value}, got {now[key]}" for key, value in then.items() if value != now[key]
    ):
        raise StudyError(
            f"in {earlier.folder} a study ended with {differences}: use the same, or another "
            "--study name"
        )


def _describe_looks(folder: Path, file: str, comparison: Comparison) -> list[str]:
    """Warn where seeds were added to a study after its result was seen."""
    earlier = _read_earlier(folder, file)
    if earlier is None:
        return []
    known = [text for text in earlier.setting.warnings if text.startswith(_LOOKED)]
    before = len(earlier.comparison.seeds)
    if known or not MIN_SEEDS <= before < len(comparison.seeds):
        return known
    return [
        f"{_LOOKED}: there was a result with {before}. Chance is then called a finding more often "
        "than in 5 % of cases; --seeds 3-10 in another study allows for such looks."
    ]


_LOOKED = "Seeds were added after a look"


def check_writable(path: Path) -> None:
    """Raise `StudyError` where a file cannot be written at `path`."""
    if path_exists(path) and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise StudyError(f"cannot write {path}: it is {kind}, move it away")
    parent = next(parent for parent in path.parents if parent.exists())
    if not parent.is_dir():
        raise StudyError(f"cannot write {path}: {parent} is no folder, move it away")
    if not os.access(path if path.exists() else parent, os.W_OK):
        raise StudyError(f"cannot write {path}: no permission, see to it or work elsewhere")
