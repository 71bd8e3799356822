"""One split as it was read: texts and label names row by row, before cleaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

Key = tuple[str, str | None]  # text and second text: what makes two rows the same


@dataclass(frozen=True, slots=True)
class Raw:
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
