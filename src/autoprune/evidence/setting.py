"""A setting: what a report says of how its figures were made."""

from dataclasses import dataclass

from autoprune.scoring.budget import Budget
from autoprune.tasks.task import Cleaned


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything needed to repeat a study, as plain values.

    `commit` is what the model's name resolved to; `labels` the label names in index order;
    `quick` the search's budget (None without a search) and `full` the comparison's; `cleaned`
    tells of each split; `command` is the command line as typed; `finished` ISO 8601 in UTC;
    `rates` are the peak learning rates that each entrant of the comparison was tuned over, none
    where all have that of `full`; `hint` what became known of the cheap score that informed the
    search, empty without one.
    """

    model: str
    commit: str
    task: str
    labels: tuple[str, ...]
    metric: str
    depth: int
    keep: int
    quick: Budget | None
    full: Budget
    cleaned: tuple[Cleaned, ...]
    fingerprints: dict[str, str]
    versions: dict[str, str]
    device: str
    command: str
    finished: str
    hint: str = ""
    rates: tuple[float, ...] = ()
