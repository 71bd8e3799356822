"""Tags of words (token classification): CoNLL files, and every known scheme read as IOB2."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from autoprune.errors import DataError, format_count, format_path, join_names, quote
from autoprune.tasks.table import TAG_SPELLINGS, WORD_SPELLINGS, DataTable, Row
from autoprune.tasks.task import RawLabel, RawSplit
from autoprune.tasks.text_lines import read_lines

OUTSIDE = "O"

CONLL_SUFFIXES = (".conll", ".iob", ".iob2", ".bio")

PLAIN_SUFFIX = ".txt"  # that of a CoNLL file too, where a folder has no other files

_SENTENCE_SPELLINGS = ("sentence_id", "sentence", "sent_id", "sentence #", "id")

_LABEL_SPELLINGS = (*TAG_SPELLINGS, "labels", "label")

_DOCUMENT = "-DOCSTART-"

_MARKED = re.compile("([BIESLU])[-_](.+)")

_BEGINS = "BSU"


def open_conll(path: Path) -> DataTable:
    """Return the sentences of a CoNLL or IOB file as a table of two columns of lists.

    A line has a word, perhaps other cells, and the word's tag, between tabs or spaces. A blank line
    ends a sentence; where the first line is a header that names a column of sentences, another
    value in that column does. Raises `DataError`, as do the rows when they are read.
    """
    origin = format_path(path)

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        for location, words, tags in _sentences(path):
            found = {"tokens": words, "ner_tags": tags}
            yield location, [found[name] for name in selected]

    return DataTable(origin, ["tokens", "ner_tags"], rows, has_fixed_names=True)


def _sentences(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each sentence: the line where it ends, its words and their tags."""
    origin = format_path(path)
    columns: tuple[int, int, int | None, int] | None = None  # word, tag, sentence, how many
    words, tags, sentence = list[str](), list[str](), ""
    number = 0
    for number, line in enumerate(read_lines(path), start=1):
        content = line.strip("\r\n ")
        cells = content.split("\t") if "\t" in content else content.split()
        if _is_comment(content, cells, bool(words), columns and columns[3]):
            continue
        if cells and columns is None and cells[0] != _DOCUMENT:
            columns, is_header = _find_columns(cells)
            if is_header:
                continue
        begins_another = False
        if cells and columns is not None and columns[2] is not None and len(cells) > columns[2]:
            begins_another = cells[columns[2]] != sentence
            sentence = cells[columns[2]]
        if (not content.strip() or begins_another or cells[0] == _DOCUMENT) and words:
            yield f"line {number - 1}", words, tags
            words, tags = [], []
        if not content.strip() or cells[0] == _DOCUMENT or columns is None:
            continue
        word, tag, _, width = columns
        if len(cells) != width or not cells[word].strip() or not cells[tag].strip():
            raise DataError(
                f"{origin} must have a word and its tag on each line ({width} cells), line "
                f"{number} is {quote(content[:60])}: correct it"
            )
        if cells[tag] == _LABEL_SPELLINGS[0] or (cells[word], cells[tag]) == ("words", "labels"):
            continue  # a header that is repeated
        words.append(cells[word].strip())
        tags.append(cells[tag].strip())
    if words:
        yield f"line {number}", words, tags


def _is_comment(content: str, cells: Sequence[str], within: bool, width: int | None) -> bool:
    """Tell whether a line is a comment, by the number of cells and whether a sentence is open.

    A word may be `#` too: then its line has all cells, and the last of them is a tag.
    """
    if not content.startswith("# ") and content != "#":
        return False
    if width is not None and len(cells) != width:
        return True
    return not within and not _is_tag(cells[-1])


def _is_tag(cell: str) -> bool:
    return cell == OUTSIDE or _MARKED.fullmatch(cell) is not None


def _find_columns(cells: Sequence[str]) -> tuple[tuple[int, int, int | None, int], bool]:
    """Return the places of word, tag and sentence, the number of cells, and whether it is a header.

    Without a header the word is the first cell and the tag the last; in files of Universal NER
    (`1 Name B-PER - -`) the word is the second, and its tag the third.
    """
    names = [cell.strip().casefold() for cell in cells]

    def place(spellings: Sequence[str]) -> int | None:
        return next((names.index(name) for name in spellings if name in names), None)

    word, tag = place((*WORD_SPELLINGS, "text")), place(_LABEL_SPELLINGS)
    if len(cells) == 5 and cells[0] == "1" and cells[4] == "-" and _is_tag(cells[2]):
        return (1, 2, None, 5), False
    if word is None or tag is None:
        return (0, len(cells) - 1, None, len(cells)), False
    return (word, tag, place(_SENTENCE_SPELLINGS), len(cells)), True


def unify_tags(splits: dict[str, RawSplit]) -> dict[str, RawSplit]:
    """Return the splits with all tags in IOB2; the notes say how they were read.

    Read are IOB1, IOB2, BIOES and BILOU (`B-PER`, `B_PER`), tags without a dash (`BPER`), and bare
    types (`PER`), of which neighbours that are equal are one entity. An I that goes on with nothing
    begins an entity, as in conlleval.
    """
    found = {tag for raw in splits.values() for label in raw.labels for tag in label}
    found -= {OUTSIDE, ""}
    _check_marked(splits, found)
    scheme, split_tag = _find_scheme(found)
    unified = {}
    for name, raw in splits.items():
        labels, begun = list[RawLabel](), 0
        for label in raw.labels:
            tags, changed = _to_iob2([split_tag(tag) for tag in label])
            labels.append(tags or "")
            begun += changed
        note = f"tags are {scheme}, read as IOB2"
        if begun and scheme != _BARE:
            note += f"; of {begun:,} of the entities the first tag is no B"
        unified[name] = replace(raw, labels=tuple(labels), notes=(*raw.notes, note))
    return unified


def _check_marked(splits: dict[str, RawSplit], found: set[str]) -> None:
    """Raise `DataError` where a few tags have no B or I and all others have.

    Read as entity types alone, all would become types of their own: `B-B-PER`, `I-I-PER`.
    """
    marked = {tag for tag in found if tag[:2] in ("B-", "I-", "B_", "I_") and tag[2:]}
    odd = found - {tag for tag in found if _MARKED.fullmatch(tag)}
    begun = {tag[2:] for tag in marked if tag[0] == "B"}
    if not odd or not begun & {tag[2:] for tag in marked if tag[0] == "I"}:
        return
    counts = Counter(
        tag for raw in splits.values() for label in raw.labels for tag in label if tag in found
    )
    words = sum(counts[tag] for tag in odd)
    if 2 * words < counts.total():
        raise DataError(
            f"tags are such as {quote(min(marked))}, but {join_names(sorted(odd), 3)} "
            f"({format_count(words, 'word')}) has no B- or I-: correct it, or write O for no entity"
        )


_BARE = "entity types alone"

_Tag = tuple[str, str]  # prefix and type, both empty outside

_SplitTag = Callable[[str], _Tag]


def _find_scheme(tags: set[str]) -> tuple[str, _SplitTag]:
    """Return how tags are written, and what takes a prefix off."""
    if tags and all(map(_MARKED.fullmatch, tags)):
        prefixes = {tag[0] for tag in tags}
        if not prefixes <= set("EL"):  # which end what has begun: `E-MAIL` is a type
            return ("IOB" if prefixes <= set("BI") else "BIOES or BILOU"), _split_marked
    begins = {tag[1:] for tag in tags if tag[0] == "B"}
    inside = {tag[1:] for tag in tags if tag[0] == "I"}
    marked = all(tag[0] in "BI" and tag[1:] for tag in tags)
    if marked and inside and inside <= begins:  # without an I, `BRAND` is a type
        return "IOB without a dash", _split_undashed
    return _BARE, _split_bare


def _split_marked(tag: str) -> _Tag:
    match = _MARKED.fullmatch(tag)
    return (match[1], match[2]) if match else ("", "")


def _split_undashed(tag: str) -> _Tag:
    return ("", "") if tag == OUTSIDE else (tag[0], tag[1:])


def _split_bare(tag: str) -> _Tag:
    return ("", "") if tag == OUTSIDE else ("I", tag)


def _to_iob2(tags: Sequence[_Tag]) -> tuple[tuple[str, ...], int]:
    """Return the tags of a sentence in IOB2, and how many entities begin without a B or an S."""
    names, begun = [], 0
    open_type = ""
    for prefix, kind in tags:
        if not prefix:
            names.append(OUTSIDE)
            open_type = ""
            continue
        begins = prefix in _BEGINS or kind != open_type
        begun += begins and prefix not in _BEGINS
        names.append(f"{'B' if begins else 'I'}-{kind}")
        open_type = "" if prefix in "ESLU" else kind
    return tuple(names), begun
