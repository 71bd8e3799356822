"""Task: a labelled text-classification data set, and its rows as read, cleaned and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from autoprune.choices import PROBLEM_TYPE_NAMES

RowKey = tuple[str, str | None]  # text and second text: equal in duplicates


@dataclass(frozen=True, slots=True)
class Columns:
    """The column names of a task's files; None: the known spellings are tried."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A labelled text-classification data set with train, validation and test splits.

    `source` is `official:SHC` (the files of MahaNews), `package:demo`, `files:PATH` or
    `hub:ORG/NAME`; `labels` are the known labels in index order, or None where the train split
    defines them; `metric` is a name in `METRICS`; `tokens` is the largest useful input length;
    `full_epochs` is the number of passes over the train split in a full run; `problem_type` is a
    name in `PROBLEM_TYPES`.
    """

    name: str
    source: str
    columns: Columns = Columns()
    labels: tuple[str, ...] | None = None
    metric: str = "accuracy"
    tokens: int = 128
    full_epochs: int = 10
    problem_type: str = PROBLEM_TYPE_NAMES[0]


@dataclass(frozen=True, slots=True)
class RawSplit:
    """Rows as read, without white space around them; `origin` is the file that errors name.

    `text_column` and `label_column` are the names by which stray header rows are recognised;
    `classes` are the labels of a `datasets.ClassLabel` in their own order, of other columns none;
    `notes` say how the rows were read, a sentence each.
    """

    origin: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    pairs: tuple[str, ...] | None
    text_column: str
    label_column: str
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def keys(self) -> list[RowKey]:
        """Text and second text of each row; duplicates have equal keys."""
        return list(zip(self.texts, self.pairs or (None,) * len(self), strict=True))

    def take(self, index: Sequence[int]) -> Self:
        """Return the rows with the numbers `index`, in that order."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in index),
            labels=tuple(self.labels[i] for i in index),
            pairs=None if self.pairs is None else tuple(self.pairs[i] for i in index),
        )


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Texts and labels of one split; `labels` are indices into the task's label names."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    pairs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        assert len(self.texts) == len(self.labels), "one label per text"
        assert self.pairs is None or len(self.pairs) == len(self.texts), "one second text per text"

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """How many rows of one split were read, were removed by each cleaning step, and are left."""

    split: str
    read: int
    headers: int
    empty: int
    duplicates: int
    leaked: int
    left: int


@dataclass(frozen=True, slots=True)
class Splits:
    """What a search may see of a task: the cleaned train and validation rows.

    `names` are the labels in index order; `cleaned` are the reports of train and validation;
    `fingerprint` is a SHA-256 of the rows of both, in order; `held_out` names the splits that the
    source lacks: a fifth of its train rows was held out for each; `notes` say how the data were
    read, and `warnings` what is doubtful in them, a sentence each.
    """

    names: tuple[str, ...]
    train: LabelledRows
    validation: LabelledRows
    cleaned: tuple[CleaningReport, ...]
    fingerprint: str
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestSplit:
    """The test rows, for the final comparison only.

    `rows` are all rows with a text and a label; `kept` marks those that cleaning keeps: no
    duplicates, and none that occur in train or validation.
    """

    rows: LabelledRows
    kept: tuple[bool, ...]
    cleaned: CleaningReport
    fingerprint: str
