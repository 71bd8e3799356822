"""Which columns of a table hold the text, the second text and the label, and what they may hold."""

from collections.abc import Collection, Sequence

from autoprune.errors import DataError
from autoprune.tasks.formats import ABSENT, Table
from autoprune.tasks.raw import Raw
from autoprune.tasks.task import Columns
from autoprune.tasks.wording import listed, quoted

# Looked for in this order, in any case. The second text has none: it is only ever asked for.
TEXT_SPELLINGS = (
    "text", "texts", "sentence", "headline", "headlines", "title",
    "document", "paragraph", "content", "review", "tweet", "comment", "news",
)  # fmt: skip
LABEL_SPELLINGS = ("label", "labels", "class", "category", "target", "topic")


def pick(table: Table, columns: Columns) -> Raw:
    """Return the table's rows of texts and labels, outer white space stripped.

    Nulls become empty texts, which cleaning counts and removes; whole-number labels become their
    digits. Raises `DataError` for a missing column, and for what is not a text, with its place.
    """
    text = column(table, "text", columns.text, TEXT_SPELLINGS)
    label = column(table, "label", columns.label, LABEL_SPELLINGS)
    pair = None if columns.pair is None else column(table, "text-pair", columns.pair, ())
    if len({text, label, pair}) < 3:
        raise DataError(f"text, text-pair and label must be different columns of {table.origin}")
    return Raw(
        origin=table.origin,
        texts=_values(table, text, str),
        labels=_values(table, label, str | int),
        pairs=None if pair is None else _values(table, pair, str),
        text_column=text,
        label_column=label,
    )


def column(table: Table, option: str, asked: str | None, spellings: Sequence[str]) -> str:
    """Return the column `asked` for by `--option`, else one of the known `spellings`, in any case.

    Raises `DataError` where there is none, or more than one.
    """
    names: Collection[str] = table.columns
    if asked is not None and asked in names:
        return asked
    for spelling in spellings if asked is None else (asked.strip().casefold(),):
        found = [name for name in names if name.strip().casefold() == spelling]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{table.origin} has the columns {listed(found)}, name one by --{option}"
            )
    wanted = f"column {quoted(asked)}" if asked is not None else f"known {option} column"
    raise DataError(
        f"{table.origin} has no {wanted}, name one by --{option}; its columns are {listed(names)}"
    )


def _values(table: Table, column: str, kind: object) -> tuple[str, ...]:
    return tuple(
        _value(table, column, place, value, kind)
        for place, value in enumerate(table.columns[column])
    )


def _value(table: Table, column: str, place: int, value: object, kind: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, kind):  # type: ignore[arg-type]
        found = "nothing" if value is ABSENT else f"{type(value).__name__} {quoted(value)}"
        rule = "texts" if kind is str else "texts or whole numbers"
        raise DataError(
            f"column {quoted(column)} of {table.origin} must hold {rule}, "
            f"{table.places[place]} has {found}"
        )
    text = str(value).strip()
    if "\0" in text or not _encodes(text):
        raise DataError(
            f"column {quoted(column)} of {table.origin} must hold texts, "
            f"{table.places[place]} has a NUL or half a character"
        )
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, written \ud800 in JSON
        return False
    return True
