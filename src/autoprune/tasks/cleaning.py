"""Cleaning: remove stray headers, empty texts, duplicates and leaked rows, and count each."""

from dataclasses import dataclass

from autoprune.tasks.task import CleaningReport, RawSplit, RowKey

# The body of MahaNews repeats its header as `Text,Label` even where the columns are `text,labels`.
_HEADER_LABELS = {"label", "labels"}


@dataclass(frozen=True, slots=True)
class CleanedSplit:
    """The rows of one split with a text and a label; `kept` marks those that cleaning keeps."""

    raw: RawSplit
    kept: tuple[bool, ...]
    report: CleaningReport

    def kept_rows(self) -> RawSplit:
        """Return the rows that cleaning keeps."""
        return self.raw.take([index for index, kept in enumerate(self.kept) if kept])


def clean_splits(splits: dict[str, RawSplit], keep_duplicates: bool) -> dict[str, CleanedSplit]:
    """Clean train, validation and test in that order, each compared with those before it."""
    earlier: set[RowKey] = set()
    cleaned = {}
    for name, raw in splits.items():
        cleaned[name] = clean_split(name, raw, earlier, keep_duplicates)
        earlier.update(cleaned[name].raw.keys)
    return cleaned


def clean_split(
    name: str, raw: RawSplit, earlier: set[RowKey], keep_duplicates: bool
) -> CleanedSplit:
    """Clean one split, given the keys of the rows in the splits before it.

    Of duplicates (the same text and second text, whatever the label) the first is kept; a row whose
    key is in `earlier` is leaked and removed. `keep_duplicates` keeps both.
    """
    scorable, headers, empty = find_scorable_rows(raw)
    rows = raw.take(scorable)
    seen: set[RowKey] = set()
    duplicates = leaked = 0
    kept = []
    for key in rows.keys:
        is_leaked = key in earlier and not keep_duplicates
        is_duplicate = key in seen and not keep_duplicates
        seen.add(key)
        duplicates += is_duplicate
        leaked += is_leaked and not is_duplicate
        kept.append(not (is_leaked or is_duplicate))
    report = CleaningReport(name, len(raw), headers, empty, duplicates, leaked, sum(kept))
    return CleanedSplit(rows, tuple(kept), report)


def find_scorable_rows(raw: RawSplit) -> tuple[list[int], int, int]:
    """Return the numbers of rows with a text and a label, and the counts of headers and empty rows.

    A stray header has the label `label` or `labels` (in any case), or the column names as text and
    label: a label that equals its column's name alone may be a real one (`spam`).
    """
    scorable, headers, empty = [], 0, 0
    names = (raw.text_column.strip().casefold(), raw.label_column.strip().casefold())
    for index, (text, label) in enumerate(zip(raw.texts, raw.labels, strict=True)):
        name = label.casefold() if isinstance(label, str) else ""
        if name in _HEADER_LABELS or (text.casefold(), name) == names:
            headers += 1
        elif not text or label == "":
            empty += 1
        else:
            scorable.append(index)
    return scorable, headers, empty


def warn_of_loss(split: CleanedSplit) -> str | None:
    """Return a warning where cleaning removes more than a third of a split's rows, else None."""
    report = split.report
    lost = report.read - report.left
    if lost * 3 <= report.read:
        return None
    count, reason = max(
        (report.duplicates, "are duplicates: is this the column of the texts?"),
        (report.leaked, "are also in an earlier split: are the splits apart?"),
        (report.empty, "have no text or no label"),
        (report.headers, "are repeated headers"),
        key=lambda pair: pair[0],
    )
    return (
        f"cleaning removed {lost:,} of the {report.read:,} rows of {report.split}, of which "
        f"{count:,} {reason}"
    )
