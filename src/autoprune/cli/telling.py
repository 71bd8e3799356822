"""Telling the log file of runs: trials begun and ended, and the comparison's."""

from autoprune.cli.events import tell
from autoprune.evidence.measuring import Progress
from autoprune.scoring.score import Score
from autoprune.search.findings import Finding, Outcome
from autoprune.search.run import Run


class Trials:
    """Tells of the trials of one study; those that another process made are told apart."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._mine: set[Run] = set()

    def begins(self, run: Run) -> None:
        """Tell that this process begins a trial."""
        self._mine.add(run)
        tell("trial begun", study=self._study, **_run(run))

    def ends(self, finding: Finding) -> None:
        """Tell what came of a trial, once it is stored."""
        run = Run(finding.layout, finding.seed, finding.fidelity)
        event = "trial failed" if finding.state == "failed" else "trial ended"
        tell(
            event if run in self._mine else f"{event} elsewhere",
            study=self._study,
            origin=finding.origin,
            **_run(run),
            state=finding.state,
            **_score(finding.score),
            reason=finding.reason,
        )


def tell_search(study: str, outcome: Outcome) -> None:
    """Tell what a search came to, or that it was stopped."""
    tell(
        "search stopped" if outcome.interrupted else "search ended",
        study=study,
        trials=outcome.trials,
        found=None if outcome.found is None else str(outcome.found),
        mean=outcome.mean,
    )


def tell_entrant(study: str, progress: Progress) -> None:
    """Tell of a run of the comparison or of the tuning; its figures are those on validation."""
    record = progress.record
    tell(
        f"{record.phase} run {'failed' if record.state == 'failed' else 'ended'}",
        study=study,
        origin=progress.origin,
        **_run(Run(record.layout, progress.seed)),
        **_score(record.score("validation") if record.scores else None),
        learning_rate=record.budget.learning_rate,
        reason=record.reason,
        on_file=progress.reused,
    )


def _run(run: Run) -> dict[str, str | int | float]:
    return {"layout": str(run.layout), "seed": run.seed, "fidelity": run.fidelity}


def _score(score: Score | None) -> dict[str, float | None]:
    names = ("quality", "loss", "seconds")
    return {name: None if score is None else getattr(score, name) for name in names}
