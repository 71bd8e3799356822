"""A task: a labelled text-classification data set; one entry of `TASKS` adds one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

Key = tuple[str, str | None]  # text and second text: what makes two rows the same


@dataclass(frozen=True, slots=True)
class RawSplit:
    """Rows as read, outer white space off; `origin` is the file or data set that errors name.

    `text_column` and `label_column` are the names by which stray header rows are known.
    """

    origin: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    pairs: tuple[str, ...] | None
    text_column: str
    label_column: str

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def keys(self) -> list[Key]:
        """What makes each row the same as another: its text and second text."""
        return list(zip(self.texts, self.pairs or (None,) * len(self), strict=True))

    def take(self, index: Sequence[int]) -> Self:
        """Return the rows at the places `index`, in that order."""
        return type(self)(
            self.origin,
            tuple(self.texts[i] for i in index),
            tuple(self.labels[i] for i in index),
            None if self.pairs is None else tuple(self.pairs[i] for i in index),
            self.text_column,
            self.label_column,
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a task's files; None: found by the known spellings."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A labelled text-classification data set with train, validation and test splits.

    `source` is `official:SHC` (MahaNews's layout), `package:demo`, `files:PATH` or `hub:ORG/NAME`;
    `labels` are the known label names in index order, or None where they are read off the train
    split; `metric` names an entry of `scoring.metrics.METRICS`; `tokens` is the longest input worth
    paying for; `full_epochs` is how many passes over the train split a full run may make.
    """

    name: str
    source: str
    columns: Columns = Columns()
    labels: tuple[str, ...] | None = None
    metric: str = "accuracy"
    tokens: int = 128
    full_epochs: int = 10


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Texts and labels of one split, row by row; `labels` index into the split's label names."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    pairs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        assert len(self.texts) == len(self.labels), "a label for each text"
        assert self.pairs is None or len(self.pairs) == len(self.texts), "a second text for each"

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """How many rows of one split each cleaning step removed, and how many it leaves."""

    split: str
    read: int
    headers: int
    empty: int
    duplicates: int
    leaked: int
    left: int


@dataclass(frozen=True, slots=True)
class Splits:
    """What the search may see of a task: the train and validation rows, cleaned.

    `names` are the label names in index order; `cleaned` tells of train and validation;
    `fingerprint` is a SHA-256 over the rows of both, in order; `cut` names the splits that the
    source lacks: a fifth of its train rows was cut off for each.
    """

    names: tuple[str, ...]
    train: LabelledRows
    validation: LabelledRows
    cleaned: tuple[CleaningReport, ...]
    fingerprint: str
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestSplit:
    """The test rows, for the last comparison only.

    `rows` are all that can be scored (a known label, a text): the raw test split; `kept` marks
    those that cleaning leaves: no duplicates, none that stand in train or validation.
    """

    rows: LabelledRows
    kept: tuple[bool, ...]
    cleaned: CleaningReport
    fingerprint: str
