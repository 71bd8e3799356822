"""Task: a labelled text-classification data set, and its rows as read, cleaned and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from autoprune.choices import PROBLEM_TYPE_NAMES

if TYPE_CHECKING:  # the list of tasks is shown without numpy
    from numpy.typing import NDArray

Label = int | float | tuple[int, ...]
"""The label of a row: the number of its class; a number; for each class 1 where the row has it,
else 0; or for each of its words the number of the word's tag."""

RawLabel = str | tuple[str, ...]
"""A label as read: its text, an empty one where there is none; or the names of all classes that a
row has, which may be none, or of its words' tags."""

NO_LABEL = -1  # in an array of the words' tags, after a row's last word


def label_array(labels: Sequence[Label]) -> "NDArray[Any]":
    """Return labels as an array with a first axis for the rows: see `training.metrics.Labels`.

    >>> label_array([(1, 0), (2,)]).tolist(), label_array([0.5, 2]).dtype
    ([[1, 0], [2, -1]], dtype('float64'))
    """
    import numpy as np

    if not labels or not isinstance(labels[0], tuple):
        is_number = any(isinstance(label, float) for label in labels)
        return np.array(labels, dtype=np.float64 if is_number else np.int64)
    rows = [label for label in labels if isinstance(label, tuple)]
    lengths = np.array(list(map(len, rows)))
    found = np.full((len(rows), lengths.max()), NO_LABEL, dtype=np.int64)
    found[np.arange(lengths.max()) < lengths[:, None]] = [n for row in rows for n in row]
    return found


def label_tuples(labels: "NDArray[Any]") -> tuple[Label, ...]:
    """Return an array of labels as plain values, without what is after a row's last word.

    >>> label_tuples(label_array([(1, 0), (2,)]))
    ((1, 0), (2,))
    """
    if labels.ndim == 1:
        return tuple(labels.tolist())
    return tuple(tuple(n for n in row if n != NO_LABEL) for row in labels.tolist())


def words_of(text: str) -> list[str]:
    """Return the words of a text whose words have labels: one space is between them."""
    return text.split(" ")


RowKey = tuple[str, str | None]  # text and second text: equal in duplicates


@dataclass(frozen=True, slots=True)
class Columns:
    """The column names of a task's files; None: the known spellings are tried.

    `labels` are several columns of 0 and 1, one for each class; `separator` is what is between the
    labels of one cell.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A labelled text-classification data set with train, validation and test splits.

    `source` is `official:SHC` (the files of MahaNews), `package:demo`, `files:PATH` or
    `hub:ORG/NAME`; `labels` are the known labels in index order, or None where the train split
    defines them; `metric` is a name in `METRICS`, empty for the problem type's own; `tokens` is the
    largest useful input length; `full_epochs` is the number of passes over the train split in a
    full run; `problem_type` is a name in `PROBLEM_TYPES`, None where the rows tell it; with
    `merge_labels`, labels that differ in case alone are one; `title` is how others know the data,
    empty for those of a user.
    """

    name: str
    source: str
    columns: Columns = Columns()
    labels: tuple[str, ...] | None = None
    metric: str = ""
    tokens: int = 128
    full_epochs: int = 10
    problem_type: str | None = PROBLEM_TYPE_NAMES[0]
    merge_labels: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class RawSplit:
    """Rows as read, without white space around them; `origin` is the file that errors name.

    `text_column` and `label_column` are the names by which stray header rows are recognised;
    `classes` are the labels of a `datasets.ClassLabel` in their own order, of other columns none;
    `notes` say how the rows were read, a sentence each.
    """

    origin: str
    texts: tuple[str, ...]
    labels: tuple[RawLabel, ...]
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
    """Texts and labels of one split: see `Label`; with `by_word` each word of a text has one."""

    texts: tuple[str, ...]
    labels: tuple[Label, ...]
    pairs: tuple[str, ...] | None = None
    by_word: bool = False

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

    `names` are the labels in index order, for a number the name of its column; `cleaned` are the
    reports of train and validation; `fingerprint` is a SHA-256 of the rows of both, in order;
    `held_out` names the splits that the source lacks: a fifth of its train rows was held out for
    each; `notes` say how the data were read, and `warnings` what is doubtful in them, a sentence
    each.
    """

    names: tuple[str, ...]
    train: LabelledRows
    validation: LabelledRows
    cleaned: tuple[CleaningReport, ...]
    fingerprint: str
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem_type: str = PROBLEM_TYPE_NAMES[0]


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
