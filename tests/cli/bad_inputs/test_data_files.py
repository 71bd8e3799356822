"""Bad data files: a command refuses them in one line; tests/tasks has the catalogue."""

import pytest

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"एक {i},a\nदोन {i},b\n" for i in range(8))

BAD = {
    "broken quotes": ({"train.csv": HEADER + '"so" he said,a\n'}, ["broken quotes, line 2"]),
    "missing column": ({"train.csv": "a,b\nx,y\n"}, ["--text", "'a', 'b'"]),
    "a label only in test": (
        {"train.csv": GOOD, "test.csv": HEADER + "सात,zzz\nआठ,a\n"},
        ["'zzz'", "only in test", "test.csv", "add train rows"],
    ),
    "one test row": (
        {"train.csv": GOOD, "test.csv": HEADER + "सात,a\n"},
        ["at least 2 test rows, cleaning left 1", "give more rows"],
    ),
}


def write_files(folder, files):
    folder.mkdir()
    for name, content in files.items():
        folder.joinpath(name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(("files", "words"), BAD.values(), ids=BAD)
def test_search_refuses_bad_data_in_one_line(search, refused, tmp_path, files, words):
    write_files(tmp_path / "data", files)
    refused(*search("--task", "data"), words=words)


def test_labels_with_markup_and_control_characters_are_escaped(run, baseline, tmp_path):
    write_files(tmp_path / "data", {"train.csv": GOOD.replace(",b", ",<b>\x1b[31m*x*|")})
    answer = run(*baseline("--task", "data", "--study", "s", "--allow-unknown-tokens"))
    assert (answer.code, "Traceback" in answer.err) == (0, False), answer
    assert (tmp_path / "studies/s/baseline.json").is_file()
    assert "\x1b" not in answer.out + answer.err
