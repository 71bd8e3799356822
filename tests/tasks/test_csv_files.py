"""CSV and TSV: rows are read as they were written, or refused; they are never merged in silence."""

import csv
import random

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from autoprune.errors import DataError
from autoprune.tasks.csv_files import open_csv
from autoprune.tasks.formats import open_table

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_cells(path):
    table = open_table(path)
    return table, [list(values) for _, values in table.rows(table.names)]


def words(count, seed=2):
    """Return texts of five words with two labels, in turn."""
    chosen = random.Random(seed)
    known = {"a": ["शेत", "पाऊस", "पीक", "माती", "खत"], "b": ["गोल", "धाव", "सामना", "संघ", "चेंडू"]}
    return [
        [" ".join(chosen.choices(known[label], k=5)) + f" {number}", label]
        for number in range(count // 2)
        for label in "ab"
    ]


def write_bare(path, rows, header=("text", "label")):
    """Write rows without any quoting."""
    separator = SEPARATORS[path.suffix]
    lines = [separator.join(row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def with_bare_quotes(rows, begin=10, end=30):
    rows[begin][0] = '"' + rows[begin][0]
    rows[end][0] += '"'
    return rows


def refused(path, match):
    with pytest.raises(DataError, match=match) as caught:
        read_cells(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_tsv_without_evidence_of_quoting_has_none(tmp_path):
    rows = with_bare_quotes(words(120))
    table, found = read_cells(write_bare(tmp_path / "rows.tsv", rows))
    assert found == rows
    [note] = table.notes
    assert note.endswith("rows.tsv is read without quoting, its quotes are part of the texts")
    assert read_cells(write_bare(tmp_path / "plain.tsv", words(120)))[0].notes == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('text\tlabel\na\tx\n"b\tc"\ty\n', [["a", "x"], ["b\tc", "y"]]),
        ('text\tlabel\na\tx\n"b\nc"\ty\n', [["a", "x"], ["b\nc", "y"]]),
        ('text\tlabel\na\tx\n"so ""b"""\ty\n', [["a", "x"], ['so "b"', "y"]]),
        ('"text"\t"label"\n"a"\t"x"\n"b"\t"y"\n', [["a", "x"], ["b", "y"]]),
        ('text\tlabel\n"a"\tx\n"b"\ty\n', [["a", "x"], ["b", "y"]]),
        # No evidence: a text may be in quotes as a whole, or be a quote.
        ('text\tlabel\na\tx\n"b"\ty\n', [["a", "x"], ['"b"', "y"]]),
        ('text\tlabel\na\tx\n"\ty\n', [["a", "x"], ['"', "y"]]),
        ('text\tlabel\n"a" "b"\tx\n"c"\ty\n', [['"a" "b"', "x"], ['"c"', "y"]]),
    ],
)
def test_tsv_is_quoted_where_there_is_evidence(tmp_path, content, expected):
    path = tmp_path / "rows.tsv"
    path.write_text(content)
    assert read_cells(path)[1] == expected


@pytest.mark.parametrize("columns", [("text", "label"), ("label", "text"), ("id", "text", "label")])
def test_csv_rows_that_a_quote_merges_are_refused_with_their_lines(tmp_path, columns):
    rows = [
        [{"text": text, "label": label, "id": str(number)}[name] for name in columns]
        for number, (text, label) in enumerate(with_bare_quotes(words(120)))
    ]
    refused(
        write_bare(tmp_path / "rows.csv", rows, columns),
        "cell in quotes over the lines 12 to 32 that look like rows",
    )


def test_csv_rows_are_not_merged_where_other_cells_are_quoted(tmp_path):
    rows = [['"' + text + ', so"', label] for text, label in words(40)]
    rows[10][0], rows[30][0] = '"open', 'close"'
    rows[11:30] = words(19 * 2)[:19]
    refused(write_bare(tmp_path / "rows.csv", rows), "over the lines 12 to 32")


def test_only_class_of_merged_rows_is_found(tmp_path):
    rows = with_bare_quotes([[f"t{n}", "a" if n < 20 else "b"] for n in range(60)], 15, 59)
    refused(write_bare(tmp_path / "rows.csv", rows), "over the lines 17 to 61")


def test_quotes_of_ids_and_of_a_single_column_are_refused(tmp_path):
    rows = [[str(number), text] for number, (text, _) in enumerate(words(6))]
    rows[2][1], rows[4][1] = '"open', 'close"'
    refused(write_bare(tmp_path / "ids.csv", rows, ("id", "text")), "lines 4 to 6")
    one = tmp_path / "one.csv"
    one.write_text('text\na\n"open\nclose"\n')
    refused(one, "lines 3 to 4")
    one.write_text('text\na\n"open\nclose"\n"quoted, so"\n')
    assert read_cells(one)[1] == [["a"], ["open\nclose"], ["quoted, so"]]


def test_texts_over_several_lines_with_separators_are_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"so, ""it""\nis",a\n"a, b\nc",x\n')
    assert read_cells(path)[1] == [['so, "it"\nis', "a"], ["a, b\nc", "x"]]
    path.write_text('"text","label"\n"a, b\nc","x"\n')
    assert read_cells(path)[1] == [["a, b\nc", "x"]]
    rows = words(40)
    rows[7][0] = "Hello, friend\nhow are you"  # each of its lines has all columns
    rows[8][0] = "one, two\n\nthree, four\nfive"
    rows[9][0] = "no commas\nhere"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *rows])
    assert read_cells(path)[1] == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sep=;\ntext;label\na,b;x\n", [["a,b", "x"]]),
        ('"sep=,"\r\ntext,label\r\na,x\r\n', [["a", "x"]]),
        ("SEP=\t\ntext\tlabel\na,b\tx\n", [["a,b", "x"]]),
        ("sep=,,\ntext,label,\na,x,\n", [["a", "x"]]),
        ("text,label,,\na,x,,\nb,y\nc,z, ,\n", [["a", "x"], ["b", "y"], ["c", "z"]]),
        ("text,label\na,x,\nb,y,,,\n", [["a", "x"], ["b", "y"]]),
        (",text,label\n0,a,x\n", [["0", "a", "x"]]),  # the index that pandas writes
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, content, expected):
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    assert read_cells(path)[1] == expected


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('"text,label"\n"a,x"\n', "rows in quotes as a whole, .*'\"text,label\"': take out"),
        ('text,label\na,x\n"b,y"\n', "line 3 has 1, as it is in quotes as a whole: take out"),
        ("My rows\ntext,label\na,x\n", "1 column, line 2 has 2: is that .* 'My rows' a title"),
        ("My rows,,\nid,title,class\n", "line 2 has 3: is that line the header, and 'My rows' a"),
        ("text,label\na,b,x\n", "2 columns, line 2 has 3: write a text with ',' in quotes"),
        ("text,label,\na,x,y\n", "2 columns, line 2 has 3"),
        (",,\na,b,c\n", "must name its columns in its first line, got nothing"),
        ("x" * (1 << 26), "lines below 67,108,864 characters, line 1 is longer"),
    ],
)
def test_lines_that_are_no_rows_are_told_as_what_they_are(tmp_path, content, match):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    refused(path, match)


def test_many_columns_are_read(tmp_path):
    names = [f"c{number}" for number in range(100_000)]
    path = tmp_path / "rows.csv"
    path.write_text(",".join(names) + "\n" + ",".join("x" for _ in names) + "\n")
    table = open_csv(path)
    assert list(table.rows(["c99999"])) == [("line 2", ["x"])]
    path.write_text(",".join([*names, "c0"]) + "\n")
    refused(path, "each column once, got 'c0' twice")


CELLS = st.text(st.sampled_from('ab ",\t\n\r;'), max_size=8)
LABELS = st.sampled_from(["x", "y"])
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])


@st.composite
def tables(draw, cells=CELLS):
    """Return rows of one to three columns; the last one has labels where there are several."""
    width = draw(st.integers(1, 3))
    texts = st.lists(cells, min_size=width, max_size=width)
    rows = draw(st.lists(texts, min_size=1, max_size=12))
    return [[*row[:-1], draw(LABELS)] if width > 1 else row for row in rows]


CHECKED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("suffix", SEPARATORS)
@CHECKED
@given(rows=tables(), quoting=QUOTING)
@example(rows=[["a,b\nc", "x"], ["d", "y"]], quoting=csv.QUOTE_MINIMAL)
def test_written_rows_are_read_back_or_refused(tmp_path, suffix, rows, quoting):
    path = tmp_path / f"rows{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=SEPARATORS[suffix], quoting=quoting)
        writer.writerows([["text", "other", "label"][: len(rows[0])], *rows])
    try:
        table, found = read_cells(path)
    except DataError:
        return
    assert found == rows or table.notes


@pytest.mark.parametrize("suffix", SEPARATORS)
@CHECKED
@given(rows=tables(st.text(st.sampled_from('ab "'), min_size=1, max_size=4)))
@example(rows=[["a", "x"], ['"', "x"], ['"', "x"], ["a", "y"]])
def test_rows_without_quoting_keep_their_number_or_are_refused(tmp_path, suffix, rows):
    # Doubled quotes are evidence that quotes surround cells.
    assume(not any('""' in cell for row in rows for cell in row))
    path = write_bare(tmp_path / f"rows{suffix}", rows, ["text", "other", "label"][: len(rows[0])])
    try:
        _, found = read_cells(path)
    except DataError:
        return
    assert len(found) == len(rows)
    if len(rows[0]) > 1:
        assert [row[-1] for row in found] == [row[-1] for row in rows]
