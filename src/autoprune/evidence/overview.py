"""The overview: a study in one line, how far it is and what is best in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoprune.evidence.page.advice import finding
from autoprune.evidence.record import Record
from autoprune.evidence.records import read
from autoprune.evidence.studied import RECORDS, Studied, is_finished, read_study
from autoprune.layouts.layout import Layout

State = Literal["running", "unfinished", "finished"]


@dataclass(frozen=True, slots=True)
class Best:
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
class Overview:
    """A study in one line; model, task and layers are None before its first record.

    `finding` is the verdict in a word or two, empty unless the study is finished.
    """

    study: str
    folder: Path
    state: State
    model: str | None
    task: str | None
    keep: int | None
    depth: int | None
    trials: int
    best: Best | None
    finding: str


def overview(folder: Path, at_work: bool) -> Overview:
    """Look at the study in `folder`; raises `StudyError` where its files cannot be read."""
    if is_finished(folder) and not at_work:
        return _finished(folder, read_study(folder))
    return _begun(folder, read(folder / RECORDS), "running" if at_work else "unfinished")


def _finished(folder: Path, studied: Studied) -> Overview:
    comparison, setting = studied.comparison, studied.setting
    row = comparison.row(comparison.recommended)
    return Overview(
        study=studied.name,
        folder=folder,
        state="finished",
        model=setting.model,
        task=setting.task,
        keep=setting.keep,
        depth=setting.depth,
        trials=len(studied.trials),
        best=Best(row.origin, row.layout, row.test_mean, "test", row.seeds),
        finding=finding(studied),
    )


def _begun(folder: Path, records: Sequence[Record], state: State) -> Overview:
    searched = [record for record in records if record.phase == "search"]
    known = searched[0] if searched else None
    return Overview(
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


def _best(trials: Sequence[Record]) -> Best | None:
    whole = [trial for trial in trials if trial.state == "complete"]
    if not whole:
        return None
    best = max(whole, key=lambda trial: trial.score("validation").quality)
    quality = best.score("validation").quality
    return Best(best.origin, best.layout, quality, "validation", 1)
