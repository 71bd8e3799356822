"""Past studies: found by name, and their model and data loaded again."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from autoprune.errors import StudyError
from autoprune.layouts.layout import Layout

if TYPE_CHECKING:
    from autoprune.evaluation.comparison import Comparison
    from autoprune.evaluation.costs import Costs
    from autoprune.evaluation.records import Record
    from autoprune.evaluation.study_files import FinishedStudy
    from autoprune.experiment.setup import Experiment

STUDIES = Path("studies")

# A folder with one of them is a study; one in a database has only records until it is finished.
_FILES = ("journal.log", "study.json", "baseline.json", "records.jsonl")


def find_study(name: str) -> Path:
    """Return the folder of a study: below `studies`, or named by its path.

    Raises `StudyError` that names the nearest known one.
    """
    for folder in (STUDIES / name, Path(name)):
        if folder.is_dir() and any((folder / file).is_file() for file in _FILES):
            return folder
    known = [folder.name for folder in all_studies()]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise StudyError(f"no study {name!r} below {STUDIES} or at that path, {hint}")


def all_studies() -> list[Path]:
    """Return the folders below `studies` that hold a study, begun or finished, by name."""
    return sorted({path.parent for file in _FILES for path in STUDIES.glob(f"*/{file}")})


def finished_studies() -> list[Path]:
    """Return those of `all_studies` that came to their end."""
    from autoprune.evaluation.study_files import is_finished_study

    return [folder for folder in all_studies() if is_finished_study(folder)]


def asked_of(folder: Path) -> dict[str, Any]:
    """Return the arguments of `laying.lay` that a finished study was run with.

    Not among them is whether to run a model author's code: that is asked anew each time.
    Raises `StudyError`.
    """
    from autoprune.evaluation.study_files import read_study
    from autoprune.tasks.task import Columns

    asked: Mapping[str, Any] = read_study(folder).asked
    place = asked["data_dir"]
    return {
        **asked,
        "columns": Columns(**asked["columns"]),
        "data_dir": None if place is None else Path(place),
    }


def study_costs(folder: Path, comparison: "Comparison") -> "Costs | None":
    """Return what was measured of a study's models; a file that cannot be read is told of."""
    from autoprune.evaluation.costs import read_costs

    try:
        return read_costs(folder, comparison)
    except StudyError as error:
        typer.echo(f"the report on {folder.name} shows no measured cost: {error}", err=True)
        return None


def reload_experiment(
    folder: Path,
    data_dir: Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
) -> "Experiment":
    """Load a finished study's model and data again; return its ground.

    Raises `StudyError` where they are not those it was run on, and what `build_experiment` raises.
    """
    from autoprune.evaluation.study_files import read_study
    from autoprune.experiment.setup import build_experiment

    studied, asked = read_study(folder), asked_of(folder)
    mine = {"workers": workers, "device": device, "data_dir": data_dir or asked["data_dir"]}
    ground = build_experiment(**{**asked, **mine}, trust_remote_code=trust_remote_code)
    then, now = studied.setting, ground.checkpoint.commit
    if then.commit != now:
        raise StudyError(
            f"study {studied.name} was run on {then.model}@{then.commit}, which is now {now}: "
            "bring the model back to what it was"
        )
    prints = {"train and validation": ground.splits.fingerprint, "test": ground.test.fingerprint}
    if prints != then.fingerprints:
        raise StudyError(
            f"the rows of task {then.task} are not those that study {studied.name} was run on: "
            "name its data with --data-dir"
        )
    return ground


StudyState = Literal["running", "unfinished", "finished"]


@dataclass(frozen=True, slots=True)
class BestLayout:
    """The best layout so far; `quality` in [0, 1] is its mean on `split` over its `seeds`.

    Of a finished study the recommended layout, on the test split; else the trial of the highest
    validation score, which is one noisy run.
    """

    origin: str
    layout: Layout
    quality: float
    split: Literal["test", "validation"]
    seeds: int


@dataclass(frozen=True, slots=True)
class StudyOverview:
    """A study in one line; model, task and layers are None before its first record.

    `short_verdict` is the verdict in a word or two, empty unless the study is finished.
    """

    study: str
    folder: Path
    state: StudyState
    model: str | None
    task: str | None
    keep: int | None
    depth: int | None
    trials: int
    best: BestLayout | None
    finding: str


def study_overview(folder: Path, at_work: bool) -> StudyOverview:
    """Look at the study in `folder`; raises `StudyError` where its files cannot be read."""
    from autoprune.evaluation.records import read_records
    from autoprune.evaluation.study_files import RECORDS_FILE, is_finished_study, read_study

    if is_finished_study(folder) and not at_work:
        return _finished(folder, read_study(folder))
    return _begun(
        folder, read_records(folder / RECORDS_FILE), "running" if at_work else "unfinished"
    )


def _finished(folder: Path, studied: "FinishedStudy") -> StudyOverview:
    from autoprune.reporting.html.study_page import short_verdict

    comparison, setting = studied.comparison, studied.setting
    row = comparison.row(comparison.recommended)
    return StudyOverview(
        study=studied.name,
        folder=folder,
        state="finished",
        model=setting.model,
        task=setting.task,
        keep=setting.keep,
        depth=setting.depth,
        trials=len(studied.trials),
        best=BestLayout(row.origin, row.layout, row.test_mean, "test", row.seeds),
        finding=short_verdict(studied),
    )


def _begun(folder: Path, records: "Sequence[Record]", state: StudyState) -> StudyOverview:
    searched = [record for record in records if record.phase == "search"]
    known = searched[0] if searched else None
    return StudyOverview(
        study=folder.resolve().name,
        folder=folder,
        state=state,
        model=known.model.rpartition("@")[0] if known else None,
        task=known.task if known else None,
        keep=len(known.layout.keep) if known else None,
        depth=known.layout.depth if known else None,
        trials=len(searched),
        best=_best(searched),
        finding="",
    )


def _best(trials: "Sequence[Record]") -> BestLayout | None:
    whole = [trial for trial in trials if trial.state == "complete"]
    if not whole:
        return None
    best = max(whole, key=lambda trial: trial.score("validation").quality)
    quality = best.score("validation").quality
    return BestLayout(best.origin, best.layout, quality, "validation", 1)
