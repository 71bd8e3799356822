"""Study store: the studies in a folder, found by name, listed, and loaded again."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autoprune.errors import AutopruneError, StudyError, quote
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs, read_costs
from autoprune.evaluation.records import Record, read_records
from autoprune.evaluation.study_files import (
    RECORDS_FILE,
    FinishedStudy,
    is_finished_study,
    read_study,
)
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.files import expand_home, is_folder_locked, path_exists, reading
from autoprune.layouts.layout import Layout
from autoprune.reporting.sections import verdict_in_brief
from autoprune.storage.storage import JOURNAL

if TYPE_CHECKING:
    from autoprune.experiment.setup import Experiment

# A folder with one of these files is a study. One with its trials in a database has only records
# until it is finished.
_FILES = (JOURNAL, "study.json", "baseline.json", RECORDS_FILE)


def find_study(name: str, root: Path) -> Path:
    """Return the folder of a study, given its name below `root` or its path.

    The last part of what is returned is the folder's own name, also for `.` and `..`. Raises
    `StudyError`, which names the most similar known study.
    """
    below, path = root / name, expand_home(name)
    for folder in (path, below) if name.startswith((".", "/", "~")) else (below, path):
        if path_exists(folder) and any(path_exists(folder / file) for file in _FILES):
            return folder if folder.name not in ("", "..") else folder.resolve()
    for folder in (below, path):
        if name and path_exists(folder) and (inside := all_studies(folder)):
            raise StudyError(f"{quote(name)} is a folder of studies: name one, such as {inside[0]}")
    known = [folder.name for folder in all_studies(root)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {quote(near[0])}?" if near else f"known: {', '.join(known) or 'none'}"
    raise StudyError(f"no study {quote(name)} below {root} or at that path, {hint}")


def all_studies(root: Path) -> list[Path]:
    """Return the folders below `root` that hold a study, finished or not, by name."""
    return sorted({path.parent for file in _FILES for path in root.glob(f"*/{file}")})


def finished_studies(root: Path) -> list[Path]:
    """Return the folders below `root` that hold a finished study, by name."""
    return [folder for folder in all_studies(root) if is_finished_study(folder)]


def searched_studies(name: str | None, root: Path) -> list[Path]:
    """Return the folder of study `name`, else of all studies, with trials in their journals.

    Raises `StudyError` where there is none.
    """
    if name is None:
        found = sorted(path.parent for path in root.glob(f"*/{JOURNAL}"))
        if not found:
            raise StudyError(
                f"no studies here: run `autoprune search` first, or go where the folder {root} is"
            )
        return found
    folder = find_study(name, root)
    if not path_exists(folder / JOURNAL):
        raise StudyError(
            f"study {name} has no {JOURNAL} in {folder}: a baseline has no trials to show; name "
            "the URL if the trials are in a database"
        )
    return [folder]


def study_config(study: FinishedStudy) -> StudyConfig:
    """Return what a finished study is; raises `StudyError` where its file does not hold that.

    Its relative paths are looked for beside `studies/`, then in the current folder. Whether to run
    a model author's code is not part of it: the user decides anew each time.
    """
    kind, remedy = "the folder of a study", "run the study's command again"
    with reading(study.folder, kind, remedy):
        config = StudyConfig.from_stored(study.config)
    above = [path.parent for path in study.folder.resolve().parents if path.name == "studies"]
    return config.with_absolute_paths([*above, Path()])


def study_costs(folder: Path, comparison: Comparison, say: Callable[[str], None]) -> Costs | None:
    """Return the measured costs of a study's models, None where there are none.

    A file that cannot be read is reported by `say`.
    """
    try:
        return read_costs(folder, comparison)
    except StudyError as error:
        say(f"the report on {folder.name} shows no measured cost: {error}")
        return None


def reload_experiment(
    study: FinishedStudy, options: RunOptions, data_dir: Path | None = None
) -> "Experiment":
    """Load the model and the data of a finished study again; `data_dir`: where they are now.

    Raises `StudyError` where they are not those of the study, and what `build_experiment` raises.
    """
    from autoprune.experiment.setup import build_experiment  # only here: it loads torch

    config = study_config(study)
    if data_dir is not None:
        data = config.data.model_copy(update={"data_dir": data_dir})
        config = config.model_copy(update={"data": data})
    experiment = build_experiment(config, options)
    then, now = study.setting, experiment.checkpoint.commit
    if then.commit != now:
        raise StudyError(
            f"study {study.name} was run on {then.model}@{then.commit}, which is now {now}: "
            "bring the model back to what it was"
        )
    fingerprints = {
        "train and validation": experiment.splits.fingerprint,
        "test": experiment.test.fingerprint,
    }
    if fingerprints != then.fingerprints:
        raise StudyError(
            f"the rows of task {then.task} are not those that study {study.name} was run on: "
            "name its data with --data-dir"
        )
    return experiment


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
    """A study in one line; model, task, layers and metric are None before its first record.

    `finding` is the verdict in a word or two, empty unless the study is finished.
    """

    study: str
    folder: Path
    state: StudyState
    model: str | None
    task: str | None
    keep: int | None
    depth: int | None
    trials: int
    metric: str | None
    best: BestLayout | None
    finding: str


def list_studies(root: Path, say: Callable[[str], None]) -> list[StudyOverview]:
    """Return all studies below `root`, by name; what cannot be read is reported by `say`."""
    overviews = []
    for folder in all_studies(root):
        try:
            overviews.append(study_overview(folder, is_folder_locked(folder)))
        except AutopruneError as error:
            say(f"{folder.name}: {' '.join(str(error).split())}")
    return overviews


def study_overview(folder: Path, at_work: bool) -> StudyOverview:
    """Read the study in `folder`; raises `StudyError` where its files cannot be read."""
    if is_finished_study(folder) and not at_work:
        return _finished(folder, read_study(folder))
    return _begun(
        folder, read_records(folder / RECORDS_FILE), "running" if at_work else "unfinished"
    )


def _finished(folder: Path, studied: FinishedStudy) -> StudyOverview:
    comparison, setting = studied.comparison, studied.setting
    row = comparison.row(comparison.best)
    return StudyOverview(
        study=studied.name,
        folder=folder,
        state="finished",
        model=setting.model,
        task=setting.task,
        keep=setting.keep,
        depth=setting.depth,
        trials=len(studied.trials),
        metric=setting.metric,
        best=BestLayout(row.origin, row.layout, row.test_mean, "test", row.seeds),
        finding=verdict_in_brief(studied.comparison),
    )


def _begun(folder: Path, records: Sequence[Record], state: StudyState) -> StudyOverview:
    searched = [record for record in records if record.phase == "search"]
    first = searched[0] if searched else None
    return StudyOverview(
        study=folder.resolve().name,
        folder=folder,
        state=state,
        model=first.model.rpartition("@")[0] if first else None,
        task=first.task if first else None,
        keep=len(first.layout.keep) if first else None,
        depth=first.layout.depth if first else None,
        trials=len(searched),
        metric=first.metric if first else None,
        best=_best(searched),
        finding="",
    )


def _best(trials: Sequence[Record]) -> BestLayout | None:
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        return None
    best = max(complete, key=lambda trial: trial.score("validation").quality)
    quality = best.score("validation").quality
    return BestLayout(best.origin, best.layout, quality, "validation", 1)
