"""File formats: any text is read as it was written; a bad file is refused."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from autoprune.errors import DataError
from autoprune.tasks.formats import READERS, open_table
from autoprune.tasks.table import select_columns
from autoprune.tasks.tags import CONLL_SUFFIXES
from autoprune.tasks.task import Columns

# Any text but NUL and half characters, which no row may hold.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=8)
NAMES = ("sentence", "other", "label")

WITH_COLUMNS = sorted({*READERS} - {*CONLL_SUFFIXES})


def write_separated(path, rows, separator):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([NAMES, *rows])


def write_json(path, rows):
    lines = (json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) for row in rows)
    path.write_bytes("\n".join(lines).encode())


def write_parquet(path, rows):
    pd.DataFrame(rows, columns=list(NAMES)).to_parquet(path)


WRITERS = {
    ".csv": lambda path, rows: write_separated(path, rows, ","),
    ".tsv": lambda path, rows: write_separated(path, rows, "\t"),
    ".jsonl": write_json,
    ".json": write_json,
    ".parquet": write_parquet,
}


def read(path, **columns):
    return select_columns(open_table(path), Columns(**columns))


def refused(path, match, **columns):
    with pytest.raises(DataError, match=match) as caught:
        read(path, **columns)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", WITH_COLUMNS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_every_format_returns_the_written_texts(tmp_path, suffix, rows):
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix](path, rows)
    raw = read(path, pair="other")
    assert list(raw.texts) == [row[0].strip() for row in rows]
    assert list(raw.pairs) == [row[1].strip() for row in rows]
    assert list(raw.labels) == [row[2].strip() for row in rows]


@pytest.mark.parametrize("suffix", WITH_COLUMNS)
def test_words_for_missing_values_stay_texts(tmp_path, suffix):
    words = ["NA", "null", "None", "nan", "", "1.0", "007", "true", "#N/A", "-"]
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix](path, [(word, word, word) for word in words])
    raw = read(path)
    assert list(raw.texts) == words
    assert list(raw.labels) == words


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("mark.csv", "\ufefftext,label\na,x\n", ("a",)),
        ("mark.tsv", "\ufefftext\tlabel\na\tx\n", ("a",)),
        ("mark.jsonl", '\ufeff{"text": "a", "label": "x"}\n', ("a",)),
        ("empty lines.csv", "\r\ntext,label\r\n\r\na,x\r\n\r\nb,y\r\n\r\n", ("a", "b")),
        # Other line separators belong to the text.
        ("separators.jsonl", '{"text": "a\u2028b\x85c", "label": "x"}\n', ("a\u2028b\x85c",)),
    ],
)
def test_marks_and_empty_lines_are_no_text(tmp_path, name, content, texts):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert read(path).texts == texts


def test_whole_number_labels_become_digits_and_nulls_empty(tmp_path):
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"text": ["a", None, "c"], "label": pd.array([3, 10, None], "Int64")})
    frame.to_parquet(path)
    raw = read(path)
    assert raw.labels == ("3", "10", "")
    assert raw.texts == ("a", "", "c")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": 3}\n{"text": "b", "label": null}\n')
    assert read(path).labels == ("3", "")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "rows.csv is empty, a header and rows are needed"),
        (b" \n\n", "rows.csv is empty"),
        (b"\xef\xbb\xbf", "rows.csv is empty"),
        (b"text,label\n", "must have rows below its header"),
        (b"text,label\na,x\nb\xff,y\n", "UTF-8, line 3 has the byte 0xff at offset 16"),
        (b"\xef\xbb\xbftext,label\nb\xff,y\n", "UTF-8, line 2 has the byte 0xff at offset 15"),
        ("text,label\nअ,x\n".encode("utf-16"), "UTF-8, line 1 has the byte 0xff at offset 0"),
        (b"text,label\na,x\nb\0,y\n", "line 3 has a NUL byte"),
        (b'text,label\na,x\n"b"c,y\n', "broken quotes, line 3"),
        (b'text,label\na,x\n"b,y\n', "broken quotes, line 3"),
        (b"text,label\na,x\nb,y,z\n", "has 2 columns, line 3 has 3"),
        (b'text,label\n"a\na",x\nb\n', "has 2 columns, line 4 has 1"),
        (b"text,label,text\na,x,b\n", "name each column once, got 'text' twice"),
        (b"a,label\na,x\n", "no known text column, name one by --text; .*'a', 'label'"),
        (
            b"text,b\na,x\n",
            "no known label column, name one by --label, .*by --labels; .*'text', 'b'",
        ),
        (b"title,content,label\na,b,x\n", "text columns 'title', 'content', name one by --text"),
        (b"text,Text,label\na,b,x\n", "'text', 'Text', name one by --text"),
        (b"te\x1bxt,b\na,x\n", r"'te\\x1bxt', 'b'"),
        (("\n" + "x" * 9999 + ",b\n1,2").encode(), "no known text column"),
    ],
)
def test_bad_csv_file_is_refused_in_one_line(tmp_path, content, match):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    refused(path, match)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "rows.jsonl is empty"),
        ('{"text": "a", "label": "x"}\n{"text": ', "one JSON object a line, line 2: "),
        (
            '[{"text": "a", "label": "x"}]',
            "one JSON object a line, line 1 is .*each on its own line",
        ),
        ("[" * 200_000, "one JSON object a line, line 1: "),
        ('{"text": "a", "text": "b", "label": "x"}', "name each column once, got 'text' twice"),
        ('{"text": 7, "label": "x"}', "'text' of rows.jsonl must hold texts, line 1 has int '7'"),
        ('{"text": "a", "label": 0.5}', "texts or whole numbers, line 1 has float '0.5'"),
        ('{"text": "a", "label": Infinity}', "texts or whole numbers, line 1 has float 'inf'"),
        ('\n{"text": ["a"], "label": "x"}', "must hold texts, line 2 has list"),
        ('{"text": "a", "label": "x"}\n{"text": "a"}', "line 2 has nothing"),
        (r'{"text": "a\u0000b", "label": "x"}', "line 1 has a NUL or half a character"),
        (r'{"text": "a\ud800b", "label": "x"}', "line 1 has a NUL or half a character"),
    ],
)
def test_bad_json_file_is_refused_in_one_line(tmp_path, content, match):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    refused(path, match)


def test_bad_parquet_file_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"")
    refused(path, "rows.parquet is empty")
    path.write_bytes(b"PAR1 is not enough")
    refused(path, "must be a Parquet file")
    pd.DataFrame({"text": [1.5], "label": ["x"]}).to_parquet(path)
    refused(path, "must hold texts, row 1 has float '1.5'")
    pd.DataFrame({"text": [], "label": []}).to_parquet(path)
    refused(path, "must have rows below its header")


def repeated(value, rows):
    """Return one value many times, as a dictionary: a few bytes in a file."""
    indices = pyarrow.array(np.zeros(rows, np.int32))
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array([value]))


BOMBS = {
    "rows": (
        lambda: {"text": repeated("a", 1_000_001), "label": repeated("x", 1_000_001)},
        "it claims 1,000,001 rows in .* bytes: check where it comes from",
    ),
    "long values": (
        lambda: {"text": repeated("a" * 10_000, 3_000), "label": repeated("x", 3_000)},
        "it holds 2[0-9],[0-9,]* bytes or more in",
    ),
    "zeros": (
        lambda: {"text": ["a" * 15_000_000, "b" * 15_000_000], "label": ["x", "y"]},
        "it holds 30,[0-9,]* bytes or more in",
    ),
    "a list": (
        lambda: {"text": pyarrow.array([[0] * 10_000_000]), "label": ["x"]},
        "must not be far larger than its file, it holds 80,[0-9,]* bytes or more in",
    ),
}


@pytest.mark.parametrize(("make", "match"), BOMBS.values(), ids=BOMBS)
def test_parquet_bomb_is_refused_before_it_is_in_memory(tmp_path, monkeypatch, make, match):
    monkeypatch.setattr("autoprune.tasks.parquet_files._MAX_SIZE", 20_000_000)
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table(make()), path, compression="zstd")
    assert path.stat().st_size < 40_000
    before = pyarrow.default_memory_pool().max_memory()
    refused(path, match)
    assert pyarrow.default_memory_pool().max_memory() - before < 2_000_000


def test_parquet_columns_that_are_not_needed_are_not_read(tmp_path):
    path = tmp_path / "rows.parquet"
    other = ["a" * 100_000_000] * 3
    table = pyarrow.table({"text": ["a", None, "c"], "label": [1, 2, 3], "other": other})
    parquet.write_table(table, path, compression="zstd")
    del table, other
    before = pyarrow.default_memory_pool().max_memory()
    assert read(path).texts == ("a", "", "c")
    assert pyarrow.default_memory_pool().max_memory() - before < 2_000_000


def test_parquet_column_that_is_not_selected_may_hold_anything(tmp_path):
    path = tmp_path / "rows.parquet"
    far = pyarrow.array([2**60, 0], pyarrow.timestamp("us"))  # beyond the year 9999
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": ["x", "y"], "at": far}), path)
    assert read(path).texts == ("a", "b")
    refused(path, "column 'at' of .*rows.parquet cannot be read: .*; write it as text", label="at")


def test_select_columns_by_name_and_refuse_other_formats(tmp_path, write):
    (tmp_path / "rows.txt").write_text("text,label\na,x\n")
    refused(
        tmp_path / "rows.txt",
        "end in .csv, .tsv, .jsonl, .json, .parquet, .conll, .iob, .iob2, .bio, got rows.txt",
    )
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "must be a file, it is none")
    path = write("rows.csv", [("a", "x", "b")], header=("Headline", "Class", "more"))
    assert read(path).texts == ("a",)
    assert read(path, text="more", label="headline").labels == ("a",)
    refused(
        path, "no column 'body', name one by --text; .*'Headline', 'Class', 'more'", text="body"
    )
    refused(path, "text, text-pair and label must be different", text="more", pair="More")


@pytest.mark.parametrize("suffix", WITH_COLUMNS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, suffix, content):
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    try:
        read(path)
    except DataError as error:
        assert str(path) in str(error) or path.name in str(error)
        assert "\n" not in str(error) and len(str(error)) < 500
