"""Event log: what commands and studies do, as typed events that trackers take.

A tracker is any object with `track(event)` and `close()`: `JsonLinesTracker` and `MlflowTracker` in
`experiment.tracking`, or one of the caller.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from autoprune.evaluation.entrants import EntrantProgress
    from autoprune.search.result import SearchResult, TrialResult
    from autoprune.search.trial import TrialRun
    from autoprune.training.metrics import Score


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; its fields are JSON values."""

    label: ClassVar[str] = ""
    hidden: ClassVar[frozenset[str]] = frozenset()  # fields that the name tells

    @property
    def name(self) -> str:
        """The event's name in the log file."""
        return self.label

    def fields(self) -> dict[str, Any]:
        """Return what the log file holds of the event."""
        return {key: value for key, value in asdict(self).items() if key not in self.hidden}


@dataclass(frozen=True, slots=True)
class CommandStarted(Event):
    """A command of the command line started."""

    label = "command begun"
    command: str


@dataclass(frozen=True, slots=True)
class CommandRefused(Event):
    """A command ended with a user's mistake; `line` is what was printed."""

    label = "refused"
    line: str


@dataclass(frozen=True, slots=True)
class CommandFinished(Event):
    """A command ended with an exit code."""

    label = "command ended"
    code: int


@dataclass(frozen=True, slots=True)
class SearchStarted(Event):
    """The search of a study started, or resumed after `done` trials."""

    label = "search begun"
    study: str
    model: str
    task: str
    keep: int
    trials: int
    done: int
    seed: int
    workers: int


@dataclass(frozen=True, slots=True)
class StudyJoined(Event):
    """A worker joined a study."""

    label = "study joined"
    study: str
    model: str
    task: str
    done: int


@dataclass(frozen=True, slots=True)
class TrialStarted(Event):
    """This process started a trial; `fidelity` is its share of the full budget."""

    label = "trial begun"
    study: str
    layout: str
    seed: int
    fidelity: float


@dataclass(frozen=True, slots=True)
class TrialFinished(Event):
    """A trial ended and is stored; its figures are those on the validation split.

    `elsewhere` tells that another process ran it.
    """

    hidden = frozenset({"elsewhere"})
    study: str
    origin: str
    layout: str
    seed: int
    fidelity: float
    state: str
    quality: float | None
    loss: float | None
    seconds: float | None
    reason: str
    elsewhere: bool

    @property
    def name(self) -> str:
        """The event's name in the log file."""
        end = "failed" if self.state == "failed" else "ended"
        return f"trial {end}{' elsewhere' if self.elsewhere else ''}"


@dataclass(frozen=True, slots=True)
class SearchFinished(Event):
    """The search of a study came to its end, or was interrupted; `mean` is the found layout's."""

    hidden = frozenset({"interrupted"})
    study: str
    trials: int
    found: str | None
    mean: float | None
    interrupted: bool

    @property
    def name(self) -> str:
        """The event's name in the log file."""
        return "search stopped" if self.interrupted else "search ended"


@dataclass(frozen=True, slots=True)
class EntrantRunFinished(Event):
    """A run of the comparison or of the choice of learning rates ended.

    Its figures are those on the validation split. `phase` is `comparison` or `tuning`; `on_file`
    tells that it was recorded before and not run again.
    """

    hidden = frozenset({"phase", "failed"})
    study: str
    phase: str
    origin: str
    layout: str
    seed: int
    fidelity: float
    quality: float | None
    loss: float | None
    seconds: float | None
    learning_rate: float
    reason: str
    on_file: bool
    failed: bool

    @property
    def name(self) -> str:
        """The event's name in the log file."""
        return f"{self.phase} run {'failed' if self.failed else 'ended'}"


@dataclass(frozen=True, slots=True)
class EntrantBehind(Event):
    """An entrant of the comparison gets no further seed."""

    label = "entrant stopped"
    study: str
    origin: str
    reason: str


Emit = Callable[[Event], None]


class Tracker(Protocol):
    """What takes events."""

    def track(self, event: Event) -> None:
        """Take an event; never raises, for the study counts more."""

    def close(self) -> None:
        """Close what it writes to."""


def emit_to(trackers: Sequence[Tracker]) -> Emit:
    """Return a function that hands an event to each of `trackers`."""

    def emit(event: Event) -> None:
        for tracker in trackers:
            tracker.track(event)

    return emit


class TrialEvents:
    """Emits the events of one study's trials; knows which of them this process started."""

    def __init__(self, study: str, emit: Emit) -> None:
        self._study, self._emit = study, emit
        self._started: set[tuple[str, int, float]] = set()

    def started(self, run: "TrialRun") -> None:
        """Emit that this process starts a trial."""
        key = (str(run.layout), run.seed, run.fidelity)
        self._started.add(key)
        self._emit(TrialStarted(self._study, *key))

    def finished(self, trial: "TrialResult") -> None:
        """Emit how a trial ended, once it is stored."""
        key = (str(trial.layout), trial.seed, trial.fidelity)
        self._emit(
            TrialFinished(
                self._study,
                trial.origin,
                *key,
                trial.state,
                *_figures(trial.score),
                trial.reason,
                elsewhere=key not in self._started,
            )
        )


def search_finished(study: str, result: "SearchResult") -> SearchFinished:
    """Return the event of a search's end."""
    found = None if result.found is None else str(result.found)
    return SearchFinished(study, result.trials, found, result.mean, result.interrupted)


def entrant_run_finished(study: str, progress: "EntrantProgress") -> EntrantRunFinished:
    """Return the event of a finished run of the comparison or of the choice of rates."""
    record = progress.record
    return EntrantRunFinished(
        study,
        record.phase,
        progress.origin,
        str(record.layout),
        progress.seed,
        1.0,
        *_figures(record.score("validation") if record.scores else None),
        record.budget.learning_rate,
        record.reason,
        on_file=progress.reused,
        failed=record.state == "failed",
    )


def _figures(score: "Score | None") -> tuple[float | None, float | None, float | None]:
    """Return quality, loss and seconds."""
    return (None, None, None) if score is None else (score.quality, score.loss, score.seconds)
