"""Study reports: finished studies as Markdown files and as one page for the browser."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoprune.errors import AutopruneError, OptionError, StudyError
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.study_files import FinishedStudy, with_test_texts
from autoprune.experiment.study_store import (
    find_study,
    finished_studies,
    study_config,
    study_costs,
)
from autoprune.files import write_atomic
from autoprune.reporting.html.study_page import study_page
from autoprune.reporting.markdown import markdown_report
from autoprune.search.dashboard import layer_importances
from autoprune.storage.storage import JOURNAL, open_journal_of
from autoprune.tasks.loading import read_test
from autoprune.tasks.registry import find_task

_Say = Callable[[str], None]


def write_study_reports(
    finished: Sequence[FinishedStudy],
    reports: Path,
    out: Path | None,
    data_dir: Path | None,
    say: _Say,
) -> list[Path]:
    """Write the reports on finished studies and return the files, the HTML page last.

    The page is `out`, and its Markdown files are beside it. Without `out`, all go to the folder
    `reports`. `data_dir` is where the data of the tasks are now, if they were moved. What has to be
    left out of a report is reported by `say`. Raises `StudyError`, `OptionError`.
    """
    studies = [_with_texts(study, data_dir, say) for study in finished]
    names = [_file_name(study) for study in studies]
    if len(set(names)) < len(studies):
        listed = ", ".join(str(study.folder) for study in studies)
        raise OptionError(f"studies in one report need different names, got {listed}")
    single = len(studies) == 1
    page = out or reports / f"{names[0] if single else 'studies'}.html"
    costs = [study_costs(study.folder, study.comparison, say) for study in studies]
    texts = {
        page.with_suffix(".md") if single else page.parent / f"{name}.md": markdown_report(
            study.setting, study.comparison, study.trials, cost, study.name
        )
        for name, study, cost in zip(names, studies, costs, strict=True)
    }
    texts[page] = _page(studies, costs, say)
    for path in reversed(texts):  # the page first: its path is the user's choice and may be wrong
        write_atomic(path, texts[path])
    return list(texts)


def select_finished_studies(names: Sequence[str], root: Path) -> list[Path]:
    """Return the folders of the named studies, each once; without names all that are finished.

    Raises `StudyError` where there is none.
    """
    if names:
        found = [find_study(name, root) for name in names]
        return list({folder.resolve(): folder for folder in found}.values())
    finished = finished_studies(root)
    if not finished:
        raise StudyError(
            "no finished study here: run `autoprune search` first, or go where the folder "
            f"{root} is"
        )
    return finished


def _page(studies: Sequence[FinishedStudy], costs: Sequence[Costs | None], say: _Say) -> str:
    importances: Mapping[str, dict[str, float]] = {
        study.name: _importances(study, say) for study in studies
    }
    by_name = {study.name: cost for study, cost in zip(studies, costs, strict=True)}
    return study_page(studies, importances, by_name)


def _file_name(study: FinishedStudy) -> str:
    """Return the stem of a study's files; a baseline does not overwrite those of a search."""
    return study.name if study.found else f"{study.name}-baseline"


def _with_texts(study: FinishedStudy, data_dir: Path | None, say: _Say) -> FinishedStudy:
    """Return a study with its test texts if its data can be read again."""
    try:
        config = study_config(study)
        data, problem_type = config.data, config.problem_type
        where = data_dir or data.data_dir
        task = find_task(config.task, data.columns, problem_type=problem_type, data_dir=where)
        test = read_test(task, where, data.keep_duplicates, config.seed, data.merge_labels)
        return with_test_texts(study, test)
    except AutopruneError as error:
        say(f"the report on {study.name} shows no texts: {_one_line(error)}")
        return study


def _importances(study: FinishedStudy, say: _Say) -> dict[str, float]:
    """Return Optuna's importance of each layer, empty without the study's journal."""
    if not study.trials or not (study.folder / JOURNAL).is_file():
        return {}
    try:
        return layer_importances(open_journal_of(study.folder), study.name)
    except AutopruneError as error:
        say(f"the report on {study.name} shows no importances: {_one_line(error)}")
        return {}


def _one_line(error: AutopruneError) -> str:
    return " ".join(str(error).split())
