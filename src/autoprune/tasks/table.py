"""Tables: rows of named columns, from which the texts, second texts and labels are taken."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.errors import DataError, format_count, join_names, quote
from autoprune.tasks.task import Columns, RawLabel, RawSplit, words_of


def class_name(value: object, names: Sequence[str], subject: str, location: str) -> object:
    """Return the name of a class number, None for NaN and for -1, which hides a label.

    What is no number is left as it is; of a list each is named. Raises `DataError` for a number
    without a name.
    """
    if isinstance(value, list):
        return [class_name(each, names, subject, location) for each in value]
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


# Known column names, in any case. A second text has none: it must be named.
TEXT_SPELLINGS = (
    "text", "texts", "sentence", "headline", "headlines", "title",
    "document", "paragraph", "content", "review", "tweet", "comment", "news",
)  # fmt: skip

LABEL_SPELLINGS = ("label", "labels", "class", "category", "target", "topic")

WORD_SPELLINGS = ("tokens", "words", "token", "word")  # of rows whose words have labels

TAG_SPELLINGS = ("ner_tags", "tags", "ner", "tag", "pos_tags")

_SPELLINGS = {  # by problem type: of texts, of labels; those of classification for the others
    "regression": (TEXT_SPELLINGS, ("score", "scores", "similarity", "rating", *LABEL_SPELLINGS)),
    "token_classification": (
        (*WORD_SPELLINGS, *TEXT_SPELLINGS),
        (*TAG_SPELLINGS, *LABEL_SPELLINGS),
    ),
}

MISSING = object()  # the value of a key that a JSON row lacks, which differs from null

Row = tuple[str, Sequence[object]]  # where it is in its file (`line 7`), and its selected values


@dataclass(frozen=True, slots=True)
class DataTable:
    """Rows of named columns, read one after another.

    `rows` takes names of columns and yields each row's values of these; a row is read, and may
    raise `DataError`, when it is its turn. `classes` are the names that the numbers of a column
    stand for. `notes` say how the file was understood; `hint` ends the error of a column that is
    not there. With `has_fixed_names` the file has no names of columns, and `names` are ours.
    """

    origin: str
    names: Sequence[str]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hint: str = ""
    has_fixed_names: bool = False


def select_columns(
    table: DataTable,
    columns: Columns,
    split: str = "train",
    problem_type: str = PROBLEM_TYPE_NAMES[0],
) -> RawSplit:
    """Return the texts and labels of a table, without white space around them.

    A null becomes an empty text, which cleaning counts and removes, and so does NaN as a label; a
    whole number as a label, also 1.0, becomes its digits. Raises `DataError` for a table without
    rows, for a missing column, and for a value that is not what the problem type takes.
    """
    by_word = problem_type == "token_classification"
    text, pair = find_texts(table, columns, problem_type)
    if by_word and pair is not None:
        raise DataError("token classification takes one text a row: leave --text-pair out")
    labels = columns.labels or (find_label(table, columns, split, problem_type),)
    if len({text, pair, *labels}) < 2 + len(labels):
        raise DataError(
            f"text, text-pair and label must be different columns of {table.origin}: name each"
        )
    if missing := [name for name in labels if name not in table.names]:
        raise MissingColumnError(
            f"{table.origin} has no column {join_names(missing)}: --labels names columns of 0 and "
            f"1, one for each class; its columns are {quoted(table)}{table.hint}"
        )
    names = [text, *([] if pair is None else [pair]), *labels]
    subjects = [f"column {quote(name)} of {table.origin}" for name in names]
    classes = [table.classes.get(name) for name in names]
    of_texts, first = list[list[str]](), len(names) - len(labels)
    of_labels, lists = list[RawLabel](), list[list[object]]()
    for location, row in table.rows(names):
        values = [
            value if known is None else class_name(value, known, subject, location)
            for value, known, subject in zip(row, classes, subjects, strict=True)
        ]
        read = _read_words if by_word else value_to_text
        texts = [read(values[i], subjects[i], location) for i in range(first)]
        if columns.labels:
            label = _read_flags(values[first:], labels, table.origin, location)
        else:
            label = _LABEL_READERS[problem_type](values[first], subjects[first], location, columns)
            cell = values[first]
            if problem_type == PROBLEM_TYPE_NAMES[1] and isinstance(cell, list):
                lists.append(cell)
        if by_word and texts[0] and label and len(words_of(texts[0])) != len(label):
            raise DataError(
                f"{table.origin} must have a tag for each word, {location} has "
                f"{format_count(len(words_of(texts[0])), 'word')} and "
                f"{format_count(len(label), 'tag')}"
            )
        of_texts.append(texts)
        of_labels.append(label)
    if not of_texts:
        raise DataError(f"{table.origin} must have rows below its header, got none")
    if lists and _are_flags(lists):
        raise DataError(
            f"{subjects[first]} has lists of 0 and 1, which are taken for names of classes: write "
            "the names of each row's classes, or a column of 0 and 1 for each class (--labels)"
        )
    of = f"labels from columns {join_names(labels, 6)}" if columns.labels else ""
    notes = [f"text from column {quote(text)}, {of or f'label from column {quote(labels[0])}'}"]
    if pair:
        notes[0] += f", second text from column {quote(pair)}"
        if lacking := sum(bool(texts[0] and not texts[1]) for texts in of_texts):
            notes.append(f"rows without a second text, which stay: {lacking:,}")
    return RawSplit(
        origin=table.origin,
        texts=tuple(texts[0] for texts in of_texts),
        labels=tuple(of_labels),
        pairs=None if pair is None else tuple(texts[1] for texts in of_texts),
        text_column=text,
        label_column=labels[0],
        notes=(*(() if table.has_fixed_names else notes), *table.notes),
        classes=columns.labels or tuple(name.strip() for name in classes[first] or ()),
    )


def find_label(table: DataTable, columns: Columns, split: str, problem_type: str) -> str:
    """Return the column of the labels; raises `DataError`."""
    text, pair = find_texts(table, columns, problem_type)
    others = (text, pair, columns.text, columns.pair)
    _, spellings = _SPELLINGS.get(problem_type, (TEXT_SPELLINGS, LABEL_SPELLINGS))
    try:
        return _first_known(table, "label", columns.label, spellings, others)
    except MissingColumnError as error:
        if {name.strip().casefold() for name in (text, pair or "")} & {*LABEL_SPELLINGS}:
            return text  # the only known label column is taken: the caller tells
        if split == "train":
            raise
        raise without_labels(table.origin, split, f"its columns are {quoted(table)}") from error


def find_texts(
    table: DataTable, columns: Columns, problem_type: str = PROBLEM_TYPE_NAMES[0]
) -> tuple[str, str | None]:
    """Return the column of the texts, and that of the second texts if one is named.

    Raises `DataError` where they are not there or several may be meant.
    """
    pair = columns.pair and find_column(table, "text-pair", columns.pair)
    spellings, _ = _SPELLINGS.get(problem_type, (TEXT_SPELLINGS, LABEL_SPELLINGS))
    others = (pair, columns.label, *columns.labels)
    return _first_known(table, "text", columns.text, spellings, others), pair


def _first_known(
    table: DataTable,
    option: str,
    requested: str | None,
    spellings: Sequence[str],
    others: Collection[str | None],
) -> str:
    """Return what `find_column` does; of the spellings of words and tags the first one is taken."""
    for spelling in (*WORD_SPELLINGS, *TAG_SPELLINGS) if requested is None else ():
        if spelling in spellings:
            with suppress(MissingColumnError):
                return find_column(table, option, None, (spelling,), others)
    return find_column(table, option, requested, spellings, others)


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
    flags = ", columns of 0 and 1 by --labels" if option == "label" else ""
    raise MissingColumnError(
        f"{table.origin} has no {kind}, name one by --{option}{flags}; its columns are "
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


def _read_class(value: object, subject: str, location: str, _: Columns) -> RawLabel:
    return value_to_text(value, subject, location, accept_numbers=True)


def _read_classes(value: object, subject: str, location: str, columns: Columns) -> RawLabel:
    """Return the labels of a list, or of a cell; an empty cell has none that is known."""
    if isinstance(value, list):
        cells = [value_to_text(each, subject, location, accept_numbers=True) for each in value]
    else:
        text = value_to_text(value, subject, location, accept_numbers=True)
        if not text:
            return ""
        cells = text.split(columns.separator) if columns.separator else [text]
    return tuple(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))


def _are_flags(lists: Sequence[Sequence[object]]) -> bool:
    """Return whether lists are of 0 and 1, one for each class; such a list names a class twice."""
    return (
        len({len(each) for each in lists}) == 1
        and any(len({*map(str, each)}) < len(each) for each in lists)
        and all(str(value) in ("0", "1", "0.0", "1.0") for each in lists for value in each)
    )


_LARGEST_NUMBER = 1e6


def _read_number(value: object, subject: str, location: str, _: Columns) -> RawLabel:
    """Return a number as text, an empty text for null and NaN."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        value = value_to_text(value, subject, location)
    try:
        number = float(value) if value != "" else math.nan
    except (ValueError, OverflowError):
        raise DataError(
            f"{subject} must hold numbers, {location} has {quote(value)}: correct it, or give "
            "--problem-type single_label_classification"
        ) from None
    if math.isnan(number):
        return ""
    if abs(number) > _LARGEST_NUMBER:
        raise DataError(
            f"{subject} must hold numbers between -{_LARGEST_NUMBER:,.0f} and "
            f"{_LARGEST_NUMBER:,.0f}, {location} has {quote(value)}: scale them"
        )
    return repr(number)


def _read_words(value: object, subject: str, location: str) -> str:
    """Return the words of a list, or of a text, with one space between two."""
    if not isinstance(value, list):
        return " ".join(value_to_text(value, subject, location).split())
    words = [value_to_text(each, subject, location, accept_numbers=True) for each in value]
    if "" in words:
        raise DataError(f"{subject} must hold words, {location} has an empty one: take it out")
    return " ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)


def _read_tags(value: object, subject: str, location: str, _: Columns) -> RawLabel:
    """Return the tags of a list, or of a text; an empty text where there are none."""
    if isinstance(value, list):
        if value and all(isinstance(each, int) for each in value):
            raise DataError(
                f"{subject} must hold names of tags such as B-PER and O, {location} has numbers: "
                "write the names that they stand for"
            )
        tags = [value_to_text(each, subject, location) for each in value]
    else:
        tags = value_to_text(value, subject, location).split()
    if not any(tags):
        return ""
    if "" in tags:
        raise DataError(f"{subject} must hold a tag for each word, {location} has an empty one")
    return tuple(tags)


def _read_flags(
    values: Sequence[object], names: Sequence[str], origin: str, location: str
) -> RawLabel:
    """Return the columns that have a 1; an empty text where all are empty."""
    found, empty = [], 0
    for name, value in zip(names, values, strict=True):
        text = value_to_text(
            int(value) if isinstance(value, bool) else value,
            f"column {quote(name)} of {origin}",
            location,
            accept_numbers=True,
        )
        empty += text == ""
        if text in ("1", "1.0", "True", "true"):
            found.append(name)
        elif text not in ("", "0", "0.0", "False", "false"):
            raise DataError(
                f"column {quote(name)} of {origin} must hold 0 or 1, {location} has {quote(text)}: "
                "--labels names columns of 0 and 1, one for each class"
            )
    return "" if empty == len(names) else tuple(found)


_LABEL_READERS: dict[str, Callable[[object, str, str, Columns], RawLabel]] = {
    "single_label_classification": _read_class,
    "multi_label_classification": _read_classes,
    "regression": _read_number,
    "token_classification": _read_tags,
}


def find_used(table: DataTable, columns: Columns, problem_type: str | None = None) -> list[str]:
    """Return the columns of texts and labels that are read; raises `DataError`.

    Without a problem type those of the first that finds its columns.
    """
    single, _, regression, by_word = PROBLEM_TYPE_NAMES
    for kind in (problem_type,) if problem_type else (single, regression, by_word):
        try:  # each knows other names of columns
            text, pair = find_texts(table, columns, kind)
            labels = columns.labels or (find_label(table, columns, "train", kind),)
            return [text, *([] if pair is None else [pair]), *labels]
        except MissingColumnError as error:
            missing = error
    raise missing


def check_column_names(origin: str, names: Collection[str]) -> None:
    """Raise `DataError` where two columns have the same name; several may have none."""
    if len(set(names)) == len(names):
        return
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise DataError(f"{origin} must name each column once, got {join_names(repeated)} twice")


def without_labels(origin: str, split: str, reason: str) -> DataError:
    """Return the error of a validation or test split that has no labels."""
    return DataError(
        f"{origin} has no labels ({reason}), so it cannot be the {split} split: take it out, and a "
        f"fifth of train is held out as {split}; or name its label column by --label"
    )
