"""Bad data files: each is refused in one line with its name and the remedy, or read after all."""

import csv
import gzip
import io
import json
import os
import random

import pandas as pd
import pytest

from autoprune.errors import DataError
from autoprune.tasks.formats import READERS
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"एक {i},a\nदोन {i},b\n" for i in range(8))
FRAME = pd.DataFrame({"text": [f"एक {i}" for i in range(40)], "label": ["a", "b"] * 20})
ROW = '{"text": "एक", "label": "a"}\n'
ONE_LINE = '[\n{"text": "एक", "label": "a"},\n{"text": "दोन", "label": "b"}\n]'
NOISE = random.Random(7).randbytes(4000)


def parquet(frame=FRAME, spoil=lambda content: content):
    """Return a function that writes a Parquet file, its bytes spoilt."""

    def write(path):
        frame.to_parquet(path)
        path.write_bytes(spoil(path.read_bytes()))

    return write


def link(target):
    return lambda path: path.symlink_to(target)


BAD = {
    "nothing": ({}, ["train.csv"]),
    "a workbook": ({"train.xlsx": b"PK\x03\x04"}, ["train.xlsx", "train file", ".csv"]),
    # Bytes
    "binary": ({"train.csv": NOISE}, ["train.csv", "UTF-8"]),
    "a picture": ({"train.csv": b"\x89PNG\r\n\x1a\n" + NOISE}, ["train.csv", "save it as UTF-8"]),
    "a workbook's bytes": (
        {"train.csv": b"PK\x03\x04\xff"},
        ["a workbook", "save the sheet as CSV"],
    ),
    "packed": ({"train.csv": gzip.compress(GOOD.encode())}, ["train.csv", "gzip"]),
    "two encodings": (
        {"train.csv": GOOD.encode() + "naïve,a\n".encode("cp1252")},
        ["train.csv", "line 18", "0xef", "save it as UTF-8"],
    ),
    "UTF-16": ({"train.csv": GOOD.encode("utf-16")}, ["train.csv", "UTF-16", "as UTF-8"]),
    "UTF-16 without a mark": (
        {"train.csv": "text,label\na,x\n".encode("utf-16-le")},
        ["train.csv", "NUL", "save it as UTF-8"],
    ),
    "NUL": ({"train.csv": GOOD + "तीन\0,a\n"}, ["train.csv", "line 18", "NUL"]),
    # Separators, quotes, columns
    "semicolons": ({"train.csv": GOOD.replace(",", ";")}, ["train.csv", "','", "';'", "save it"]),
    "tabs in .csv": ({"train.csv": GOOD.replace(",", "\t")}, ["train.csv", r"'\t'", ".tsv"]),
    "commas in .tsv": ({"train.tsv": GOOD}, ["train.tsv", r"'\t'", "','", ".csv"]),
    "open quote": (
        {"train.csv": HEADER + 'अ,a\n"open,a\n' + GOOD * 50},
        ["train.csv", "broken quotes, line 3", '""quoted""'],
    ),
    "cells below no name": (
        {"train.csv": "text,label,,\na,b,,\nc,d,,e\n"},
        ["train.csv", "has 2 columns, line 3 has 4"],
    ),
    "test without the columns": (
        {"train.csv": GOOD, "test.csv": "a,b\n1,2\n"},
        ["test.csv", "--text", "'a', 'b'"],
    ),
    "several text columns": (
        {"train.csv": "id,title,content,category\n1,a,b,x\n"},
        ["train.csv", "text columns 'title', 'content'", "--text"],
    ),
    "several label columns": (
        {"train.csv": "text,topic,class\na,b,x\n"},
        ["train.csv", "label columns 'topic', 'class'", "--label"],
    ),
    "no header": (
        {"train.csv": "शेत पाऊस पीक,agri\nगोल धाव,sport\n"},
        ["train.csv", "'शेत पाऊस पीक', 'agri'", "without a header needs one, such as text,label"],
    ),
    "a title": ({"train.csv": "Rows of May\n" + GOOD}, ["line 2 has 2", "'Rows of May' a title"]),
    "rows in quotes": (
        {"train.csv": "".join(f'"{line}"\n' for line in GOOD.splitlines())},
        ["train.csv", "rows in quotes as a whole", "take out the quotes"],
    ),
    "a lost quote": (
        {"train.csv": GOOD.replace("एक 2", '"एक 2').replace("एक 5", 'एक 5"')},
        ["train.csv", "over the lines 6 to 12", "look like rows"],
    ),
    # Labels and rows
    "test without a label column": (
        {"train.csv": GOOD, "test.csv": "id,text\n1,a\n"},
        ["test.csv has no labels", "'id', 'text'", "take it out", "a fifth of train"],
    ),
    "test whose labels are hidden": (
        {"train.csv": GOOD, "dev.csv": HEADER + "तीन,-1\nचार,-1\n"},
        ["dev.csv has no labels", "column 'label' all are empty or -1", "held out as validation"],
    ),
    "test whose labels are empty": (
        {"train.csv": GOOD, "test.csv": HEADER + "तीन,\nचार,\n"},
        ["test.csv has no labels", "take it out"],
    ),
    "one label": ({"train.csv": HEADER + "a,x\nb,x\nc,x\n"}, ["two labels", "'x'", "--label"]),
    "no label": ({"train.csv": HEADER + "a,\nb,\n"}, ["train.csv", "column 'label'", "nothing"]),
    "labels of two cases": (
        {"train.csv": GOOD + "तीन,A\n"},
        ["train.csv", "'A'", "'a'", "case or spaces", "write them alike"],
    ),
    "labels of two spacings": (
        {"train.csv": GOOD + "तीन,देश  विदेश\nचार,देश विदेश\n"},
        ["train.csv", "'देश विदेश'", "with other spaces", "write them alike"],
    ),
    "a space that does not break": (
        {"train.csv": GOOD + "तीन,a\u00a0b\nचार,a b\n"},
        [r"'a\xa0b'", "'a b'", "write them alike"],
    ),
    "a joiner": (
        {"train.csv": GOOD + "तीन,क्ष\nचार,क्\u200dष\n"},
        ["'क्ष'", "with another joiner or sign without width", "write them alike"],
    ),
    "two Unicode forms": (
        {"train.csv": GOOD + "तीन,caf\u00e9\nचार,cafe\u0301\n"},
        ["train.csv", "another Unicode form", "write them alike"],
    ),
    "two cases in two splits": (
        {"train.csv": GOOD, "test.csv": HEADER + "सात,B\n"},
        ["test.csv", "'B'", "'b'"],
    ),
    "a label only in test": (
        {"train.csv": GOOD, "test.csv": HEADER + "सात,zzz\nआठ,a\n"},
        ["'zzz'", "only in test", "test.csv", "add train rows"],
    ),
    "too few rows": ({"train.csv": HEADER + "a,x\nb,y\n"}, ["train.csv", "2 rows"]),
    "a label for each row": (
        {"train.csv": HEADER + "".join(f"t{i},l{i}\n" for i in range(50))},
        ["train.csv", "at least 3 different rows", "50 rows"],
    ),
    "only empty rows": ({"train.csv": HEADER + ",\n" * 100_000}, ["train.csv", "column 'text'"]),
    "all of test in train": (
        {"train.csv": GOOD, "test.csv": HEADER + "एक 1,a\nदोन 1,b\n"},
        ["test.csv", "--keep-duplicates"],
    ),
    # JSON lines
    "a torn line": ({"train.jsonl": ROW * 3 + ROW[:20]}, ["train.jsonl", "line 4", "correct"]),
    "a broken line": ({"train.jsonl": ROW + ROW.replace(",", "") + ROW}, ["line 2", "correct"]),
    "one JSON list": ({"train.json": ONE_LINE}, ["train.json", "one JSON object a line", "line 1"]),
    "a number": ({"train.jsonl": ROW + "7\n"}, ["train.jsonl", "line 2 is '7'"]),
    "a number too long": (
        {"train.jsonl": f'{{"text": "a", "label": {"9" * 5000}}}\n'},
        ["train.jsonl", "line 1"],
    ),
    # Parquet
    "Parquet without its end": (
        {"train.parquet": parquet(spoil=lambda content: content[:-60])},
        ["train.parquet", "fetch it again"],
    ),
    "Parquet without its middle": (
        {"train.parquet": parquet(spoil=lambda content: content[:20] + content[-8:])},
        ["train.parquet", "fetch it again"],
    ),
    "Parquet with other bytes": (
        {
            "train.parquet": parquet(
                spoil=lambda c: c[:30] + bytes(b ^ 255 for b in c[30:60]) + c[60:]
            )
        },
        ["train.parquet", "fetch it again"],
    ),
    "Parquet of bytes": (
        {"train.parquet": parquet(FRAME.assign(text=b"\xff"))},
        ["train.parquet", "'text'", "row 1", "bytes"],
    ),
    "CSV named Parquet": ({"train.parquet": GOOD}, ["train.parquet", "fetch it again"]),
    # No files
    "a pipe": ({"train.csv": os.mkfifo}, ["train.csv", "must be a file"]),
    "a device": ({"train.csv": link("/dev/zero")}, ["train.csv", "must be a file"]),
    "a link to nothing": ({"train.csv": link("gone")}, ["train.csv", "No such file", "check it"]),
    "a link to itself": ({"train.csv": link("train.csv")}, ["train.csv", "links", "check it"]),
}


def write_files(folder, files):
    """Write files into the new folder `folder`; a content may be a function of the path."""
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def check_refused(task, words):
    with pytest.raises(DataError) as caught:
        read_splits(find_task(task))
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize(("files", "words"), BAD.values(), ids=BAD)
def test_bad_file_is_refused_in_one_line(tmp_path, files, words):
    write_files(tmp_path / "data", files)
    check_refused("./data", words)


def test_unreadable_file_is_refused_in_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    write_files(tmp_path / "data", {"train.csv": GOOD})
    # The tests may run as root, who may read any file.
    monkeypatch.setitem(READERS, ".csv", refuse)
    check_refused("./data", ["train.csv", "Permission denied", "check it"])


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.txt", "rows"])
def test_file_of_another_format_is_refused(tmp_path, name):
    tmp_path.joinpath(name).write_text(GOOD)
    check_refused(f"./{name}", [name, "data files end in .csv"])


@pytest.mark.parametrize("suffix", [".xlsx", ".xls", ".ods", ".XLSX"])
def test_spreadsheet_is_refused_with_what_to_do(tmp_path, suffix):
    tmp_path.joinpath(f"rows{suffix}").write_bytes(b"PK")
    check_refused(f"./rows{suffix}", [f"rows{suffix}", "save the sheet as CSV (UTF-8)"])


@pytest.mark.parametrize(
    ("table", "option"), [("text,label\n,x\n,y\n", "text"), ("text,label\na,\nb,\n", "label")]
)
def test_column_that_is_empty_in_all_rows_is_named(tmp_path, table, option):
    tmp_path.joinpath("rows.csv").write_text(table)
    check_refused(
        "./rows.csv", [f"has nothing in column '{option}'", f"the {option}s by --{option}"]
    )


FINE = {
    "a byte order mark": {"train.csv": "\ufeff" + GOOD},
    "marks where files were joined": {"train.csv": "\ufeff" + GOOD + "\ufeff" + GOOD},
    "the line ends of Windows": {"train.csv": GOOD.replace("\n", "\r\n")},
    "the line ends of an old Mac": {"train.csv": GOOD.replace("\n", "\r")},
    "no last line end": {"train.csv": GOOD.rstrip()},
    "quotes and line ends in a text": {"train.csv": GOOD + '"तीन ""चार""\n\nपाच, सहा",a\n'},
    "empty lines by the million": {"train.csv": GOOD + "\n" * 1_000_000},
    "empty rows by the hundred thousand": {"train.csv": GOOD + ",\n" * 100_000},
    "a line of half a million letters": {"train.csv": GOOD + "एक" * 250_000 + ",a\n"},
    "a label of many letters": {"train.csv": GOOD.replace(",b", "," + "ब" * 10_000)},
    "markup and control letters": {"train.csv": GOOD.replace(",b", ",<b>\x1b[31m*x*|")},
    "categories": {"train.parquet": parquet(FRAME.astype({"label": "category"}))},
    "whole numbers": {
        "train.jsonl": "".join(
            json.dumps({"text": f"एक {i}", "label": i % 2}) + "\n" for i in range(16)
        )
    },
    "commas at the ends of rows": {"train.csv": GOOD.replace(",a\n", ",a,,\n")},
    "the separator line of Excel": {"train.csv": "sep=;\n" + GOOD.replace(",", ";")},
    "hidden files beside it": {"train.csv": GOOD, ".train.csv.swp": NOISE, "README": "x"},
}


@pytest.mark.parametrize("files", FINE.values(), ids=FINE)
def test_file_that_only_looks_bad_is_read(tmp_path, files):
    write_files(tmp_path / "data", files)
    task = find_task("./data")
    splits, test = read_splits(task), read_test(task)
    assert len(splits.names) == 2
    assert len(splits.train) and len(splits.validation) and len(test.rows)


def write_rows(suffix):
    """Return the bytes of a good file whose texts have separators, quotes and several lines."""
    rows = [(f'एक {number}, "so" it\nis', "ab"[number % 2]) for number in range(40)]
    if suffix == ".jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        return "\n".join(lines).encode()
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
    writer.writerows([("text", "label"), *rows])
    return file.getvalue().encode()


def damage(content, chance):
    """Change some bytes at random: replace, remove, insert, cut off or repeat them."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        place = chance.randrange(len(changed) or 1)
        kind = chance.choice(["replace", "remove", "insert", "insert", "insert", "cut", "repeat"])
        if kind == "replace":
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == "remove":
            del changed[place : place + chance.choice([1, 5, 50])]
        elif kind == "insert":
            changed[place:place] = chance.choice([b'"', b",", b"\t", b"\n", b"\r", b'""', b"\0"])
        elif kind == "cut":
            del changed[place:]
        else:
            start = chance.randrange(len(changed) or 1)
            changed[place:place] = changed[start : start + 20]
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_damaged_file_is_read_or_refused_in_one_line(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(path)
    else:
        path.write_bytes(write_rows(suffix))
    content = path.read_bytes()
    assert len(read_splits(find_task(str(path))).train) == 24
    for seed in range(100):
        path.write_bytes(damage(content, random.Random(seed)))
        try:
            read_splits(find_task(str(path)))
        except DataError as error:
            assert "\n" not in str(error) and len(str(error)) < 500, seed
