"""Tables: rows of named columns, from which the texts, second texts and labels are taken."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autoprune.errors import DataError, join_names, quote
from autoprune.tasks.task import Columns, RawSplit

_KEY = b"huggingface"  # of the schema's metadata, in Parquet and Arrow files alike


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the names of each column that is a `datasets.ClassLabel`, in their own order.

    `metadata` is that of a schema. What is not of the expected form names nothing.
    """
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
        found = {
            column: tuple(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in found.items()
        if names and all(isinstance(name, str) for name in names)
    }


def class_name(value: object, names: Sequence[str], subject: str, location: str) -> object:
    """Return the name of a class number, None for NaN and for -1, which hides a label.

    What is no number is left as it is. Raises `DataError` for a number without a name.
    """
    if not isinstance(value, int | float):
        return value
    if not value >= 0:  # or NaN
        return None
    if value < len(names) and value == int(value):
        return names[int(value)]
    raise DataError(
        f"{subject} has the names of {len(names)} labels, {location} has number {quote(value)}: "
        "save the data set again"
    )


def class_metadata(classes: Mapping[str, Sequence[str]]) -> dict[bytes, bytes]:
    """Return the metadata of a schema from which `class_names` reads `classes`."""
    features = {
        column: {"names": list(names), "_type": "ClassLabel"} for column, names in classes.items()
    }
    return {_KEY: json.dumps({"info": {"features": features}}).encode()}


# Known column names, in any case. A second text has none: it must be named.
TEXT_SPELLINGS = (
    "text", "texts", "sentence", "headline", "headlines", "title",
    "document", "paragraph", "content", "review", "tweet", "comment", "news",
)  # fmt: skip

LABEL_SPELLINGS = ("label", "labels", "class", "category", "target", "topic")

MISSING = object()  # the value of a key that a JSON row lacks, which differs from null

Row = tuple[str, Sequence[object]]  # where it is in its file (`line 7`), and its selected values


@dataclass(frozen=True, slots=True)
class DataTable:
    """Rows of named columns, read one after another.

    `rows` takes names of columns and yields each row's values of these; a row is read, and may
    raise `DataError`, when it is its turn. `classes` are the names that the numbers of a column
    stand for. `notes` say how the file was understood; `hint` ends the error of a column that is
    not there.
    """

    origin: str
    names: Sequence[str]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hint: str = ""


def select_columns(table: DataTable, columns: Columns, split: str = "train") -> RawSplit:
    """Return the texts and labels of a table, without white space around them.

    A null becomes an empty text, which cleaning counts and removes, and so does NaN as a label; a
    whole number as a label, also 1.0, becomes its digits. Raises `DataError` for a table without
    rows, for a missing column, for a value that is not a text, and for another split than train
    without any label.
    """
    text, pair = find_texts(table, columns)
    others = (text, pair, columns.text, columns.pair)
    try:
        label = find_column(table, "label", columns.label, LABEL_SPELLINGS, others)
    except MissingColumnError as error:
        if {name.strip().casefold() for name in (text, pair or "")} & {*LABEL_SPELLINGS}:
            label = text  # the only known label column is taken: told below
        elif split == "train":
            raise
        else:
            raise _without_labels(
                table.origin, split, f"its columns are {quoted(table)}"
            ) from error
    if len({text, label, pair}) < 3:
        raise DataError(
            f"text, text-pair and label must be different columns of {table.origin}: name each"
        )
    names = (text, label) if pair is None else (text, label, pair)
    values: tuple[list[str], ...] = tuple([] for _ in names)
    subjects = [f"column {quote(name)} of {table.origin}" for name in names]
    classes = [table.classes.get(name) for name in names]
    for location, row in table.rows(names):
        for position, value in enumerate(row):
            subject, known = subjects[position], classes[position]
            named = value if known is None else class_name(value, known, subject, location)
            values[position].append(
                value_to_text(named, subject, location, accept_numbers=position == 1)
            )
    if not values[0]:
        raise DataError(f"{table.origin} must have rows below its header, got none")
    if split != "train" and set(values[1]) <= {"", "-1"}:
        raise _without_labels(table.origin, split, f"in column {quote(label)} all are empty or -1")
    read = f"text from column {quote(text)}, label from column {quote(label)}"
    return RawSplit(
        origin=table.origin,
        texts=tuple(values[0]),
        labels=tuple(values[1]),
        pairs=None if pair is None else tuple(values[2]),
        text_column=text,
        label_column=label,
        notes=(read + (f", second text from column {quote(pair)}" if pair else ""), *table.notes),
        classes=tuple(name.strip() for name in classes[1] or ()),
    )


def find_texts(table: DataTable, columns: Columns) -> tuple[str, str | None]:
    """Return the column of the texts, and that of the second texts if one is named.

    Raises `DataError` where they are not there or several may be meant.
    """
    pair = columns.pair and find_column(table, "text-pair", columns.pair)
    text = find_column(table, "text", columns.text, TEXT_SPELLINGS, (pair, columns.label))
    return text, pair


class MissingColumnError(DataError):
    """A table has none of the columns that are looked for."""


def find_column(
    table: DataTable,
    option: str,
    requested: str | None,
    spellings: Collection[str] = (),
    others: Collection[str | None] = (),
) -> str:
    """Return the column `requested` by `--option`, else the one with a known spelling, in any case.

    `others` are columns that serve another purpose. Raises `DataError` where no column matches
    (`MissingColumnError`), or more than one.
    """
    if requested is not None and requested in table.names:
        return requested
    if requested is not None:
        wanted = {requested.strip().casefold()}
    else:
        wanted = set(spellings) - {name.strip().casefold() for name in others if name}
    matches = [name for name in table.names if name.strip().casefold() in wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DataError(
            f"{table.origin} has the {option} columns {join_names(matches)}, name one by --{option}"
        )
    kind = f"known {option} column" if requested is None else f"column {quote(requested)}"
    raise MissingColumnError(
        f"{table.origin} has no {kind}, name one by --{option}; its columns are "
        f"{quoted(table)}{table.hint}"
    )


def quoted(table: DataTable) -> str:
    """Return the names of the columns for a message."""
    return join_names(name for name in table.names if name)


def value_to_text(value: object, subject: str, location: str, accept_numbers: bool = False) -> str:
    """Return a cell of a table as a text without white space around it; null is an empty text.

    `subject` names the column or file in errors. Raises `DataError` for what is not a text.
    """
    if value is None:
        return ""
    if accept_numbers and isinstance(value, float):
        if math.isnan(value):
            return ""
        value = int(value) if value.is_integer() else value
    if not isinstance(value, str | int if accept_numbers else str):
        found = "nothing" if value is MISSING else f"{type(value).__name__} {quote(value)}"
        rule = "texts or whole numbers" if accept_numbers else "texts"
        raise DataError(f"{subject} must hold {rule}, {location} has {found}")
    text = str(value).strip()
    try:
        valid = b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, written \ud800 in JSON
        valid = False
    if not valid:
        raise DataError(f"{subject} must hold texts, {location} has a NUL or half a character")
    return text


def check_column_names(origin: str, names: Collection[str]) -> None:
    """Raise `DataError` where two columns have the same name; several may have none."""
    if len(set(names)) == len(names):
        return
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise DataError(f"{origin} must name each column once, got {join_names(repeated)} twice")


def _without_labels(origin: str, split: str, reason: str) -> DataError:
    return DataError(
        f"{origin} has no labels ({reason}), so it cannot be the {split} split: take it out, and a "
        f"fifth of train is held out as {split}; or name its label column by --label"
    )
