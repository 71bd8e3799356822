"""Cleaning: stray headers, empty texts, duplicates and leaked rows go, and each is counted."""

from dataclasses import dataclass

from autoprune.tasks.task import CleaningReport, Key, RawSplit

# MahaNews's body repeats its header as `Text,Label` even where the columns are `text,labels`.
_HEADER_LABELS = {"label", "labels"}


@dataclass(frozen=True, slots=True)
class CleanedSplit:
    """The rows of one split that can be scored; `kept` marks those that cleaning leaves."""

    raw: RawSplit
    kept: tuple[bool, ...]
    cleaned: CleaningReport

    def left(self) -> RawSplit:
        """Return the rows that cleaning leaves."""
        return self.raw.take([place for place, kept in enumerate(self.kept) if kept])


def has_text_and_label(raw: RawSplit) -> tuple[list[int], int, int]:
    """Return the places of rows with a text and a label, and the counts of headers and empties.

    A stray header has `label` or `labels` for its label (in any case), or the column names for
    both text and label: a label equal to its column's name alone may be real (`spam`).
    """
    places, headers, empty = [], 0, 0
    names = (raw.text_column.strip().casefold(), raw.label_column.strip().casefold())
    for place, (text, label) in enumerate(zip(raw.texts, raw.labels, strict=True)):
        if label.casefold() in _HEADER_LABELS or (text.casefold(), label.casefold()) == names:
            headers += 1
        elif not text or not label:
            empty += 1
        else:
            places.append(place)
    return places, headers, empty


def clean_split(
    split: str, raw: RawSplit, earlier: set[Key], keep_duplicates: bool
) -> CleanedSplit:
    """Clean one split, given the rows of the splits before it.

    Of equal rows (the same text and second text, whatever the label) the first stays; a row that
    stands in `earlier` goes. `keep_duplicates` leaves both.
    """
    places, headers, empty = has_text_and_label(raw)
    rows = raw.take(places)
    seen: set[Key] = set()
    duplicates = leaked = 0
    kept = []
    for key in rows.keys:
        is_leak = key in earlier and not keep_duplicates
        is_repeat = key in seen and not keep_duplicates
        seen.add(key)
        duplicates += is_repeat
        leaked += is_leak and not is_repeat
        kept.append(not (is_leak or is_repeat))
    cleaned = CleaningReport(split, len(raw), headers, empty, duplicates, leaked, sum(kept))
    return CleanedSplit(rows, tuple(kept), cleaned)


def clean_splits(splits: dict[str, RawSplit], keep_duplicates: bool) -> dict[str, CleanedSplit]:
    """Clean train, validation and test in that order, each against those before it."""
    earlier: set[Key] = set()
    sifted = {}
    for split, raw in splits.items():
        sifted[split] = clean_split(split, raw, earlier, keep_duplicates)
        earlier.update(sifted[split].raw.keys)
    return sifted
