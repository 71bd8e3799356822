"""Tags of words: CoNLL files, and every scheme read as IOB2."""

import json
from dataclasses import replace

import pytest

from autoprune.errors import DataError
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task
from autoprune.tasks.tags import open_conll, unify_tags
from autoprune.tasks.task import RawSplit


def sentences(tmp_path, text, name="train.conll"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [values for _, values in open_conll(path).rows(["tokens", "ner_tags"])]


EXPECTED = [[["रिया", "आली"], ["B-PER", "O"]], [["पुणे"], ["B-LOC"]]]


@pytest.mark.parametrize(
    "text",
    [
        "रिया B-PER\nआली O\n\nपुणे B-LOC\n",
        "रिया\tB-PER\nआली\tO\n\n\nपुणे\tB-LOC",
        "-DOCSTART- -X- O\n\nरिया NNP B-PER\nआली VB O\n\nपुणे NNP B-LOC\n",
        "words\tlabels\tsentence_id\nरिया\tB-PER\t1.0\nआली\tO\t1.0\nपुणे\tB-LOC\t2.0\n",
        "# doc0\nरिया B-PER\nआली O\n\n# doc1\nपुणे B-LOC\n",
        "# newdoc\n# text of it\nरिया NNP _ B-PER\nआली VB _ O\n\nपुणे NNP _ B-LOC\n",
        "-DOCSTART-\n\nरिया NNP B-PER\nआली VB O\n\nपुणे NNP B-LOC\n",
        "# sent_id = 1\n1\tरिया\tB-PER\t-\t-\n2\tआली\tO\t-\t-\n\n1\tपुणे\tB-LOC\t-\t-\n",
        "# id 1 of 2\nरिया B-PER\nआली O\n\n# id 2 of 2\nपुणे B-LOC\n",
    ],
)
def test_conll_file_has_sentences_with_words_and_tags(tmp_path, text):
    assert sentences(tmp_path, text) == EXPECTED


def test_word_may_be_a_number_sign(tmp_path):
    text = "# O\nएक O\n# B-X\n\n# comment\n# I-X\n"
    assert sentences(tmp_path, text) == [[["#", "एक", "#"], ["O", "O", "B-X"]], [["#"], ["I-X"]]]


@pytest.mark.parametrize("odd", ["-", "o", "PER"])
def test_tag_without_b_or_i_among_others_is_refused(odd):
    raw = RawSplit("x", ("a b c",) * 9, (("B-PER", "I-PER", "O"),) * 9, None, "tokens", "ner_tags")
    stray = replace(raw, labels=(("B-PER", "I-PER", odd), *raw.labels[1:]))
    with pytest.raises(DataError, match=rf"but '{odd}' \(1 word\) has no B- or I-: correct it"):
        unify_tags({"train": raw, "test": stray})


def test_line_without_a_tag_is_named(tmp_path):
    with pytest.raises(DataError, match=r"train.conll must have a word and its tag .* line 2 is"):
        sentences(tmp_path, "a O\nb\n")


SCHEMES = {
    "IOB2": ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC"),
    "IOB1": ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),
    "BIOES": ("B-PER E-PER O S-LOC", "B-PER I-PER O B-LOC"),
    "BILOU": ("B-PER L-PER U-LOC O", "B-PER I-PER B-LOC O"),
    "underscore": ("B_PER I_PER O B_LOC", "B-PER I-PER O B-LOC"),
    "no dash": ("BNEP INEP O BNEL", "B-NEP I-NEP O B-NEL"),
    "types alone": ("PER PER O LOC", "B-PER I-PER O B-LOC"),
    "types alone that begin with B": ("BRAND BRAND O BOOK", "B-BRAND I-BRAND O B-BOOK"),
    "types alone that look like an end": ("E-MAIL E-MAIL O O", "B-E-MAIL I-E-MAIL O O"),
    "another type goes on": ("B-PER I-LOC O O", "B-PER B-LOC O O"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_of_every_scheme_are_read_as_iob2(scheme):
    written, expected = (tuple(each.split()) for each in SCHEMES[scheme])
    raw = RawSplit("x", ("a b c d",), (written,), None, "tokens", "ner_tags")
    assert unify_tags({"train": raw})["train"].labels == (expected,)


def write_all(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.conll").write_text(text, encoding="utf-8")
    return find_task(str(tmp_path))


def test_tags_are_numbered_with_o_first_and_b_before_i(tmp_path):
    one = "अ B-PER\nब O\n\nक B-LOC\nड I-LOC\n"
    splits = read_splits(write_all(tmp_path, train=one, valid="इ B-PER\n", test="ई O\n"))
    assert splits.problem_type == "token_classification"
    assert splits.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert splits.train.labels == ((3, 0), (1, 2))
    assert any("look like those of token_classification" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train": "a O\n\nb O\n", "valid": "c O\n", "test": "d O\n"}, "needs entities, all words"),
        (
            {"train": "a B-PER\n\nb O\n", "valid": "c B-LOC\n", "test": "d O\n"},
            "each entity type must occur in train, .LOC. occurs only in validation",
        ),
    ],
)
def test_tags_that_cannot_be_learned_are_refused(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        read_splits(write_all(tmp_path, **files))


@pytest.mark.parametrize("missing", [None, [], "", " ", [None, None, None], ["", "", ""]])
def test_rows_without_tags_are_counted_and_removed(tmp_path, missing):
    rows = [{"tokens": ["अ", f"{i}"], "ner_tags": ["B-PER", "O"]} for i in range(20)]
    rows.insert(3, {"tokens": ["no", "tags", "here"], "ner_tags": missing})
    (tmp_path / "all").mkdir()
    for name in ("train", "validation", "test"):
        for place, row in enumerate(rows):
            row["tokens"][-1] = f"{name}{place}"
        content = "\n".join(map(json.dumps, rows))
        (tmp_path / "all" / f"{name}.jsonl").write_text(content, encoding="utf-8")
    task = find_task(str(tmp_path / "all"))
    splits, test = read_splits(task), read_test(task)
    for report in (*splits.cleaned, test.cleaned):
        assert (report.read, report.empty, report.left) == (21, 1, 20)
    assert {*splits.train.labels, *splits.validation.labels, *test.rows.labels} == {(1, 0)}


def test_split_without_any_tags_is_refused(tmp_path):
    for name, tags in (("train", ["B-PER", "O"]), ("test", None)):
        rows = [{"tokens": ["अ", f"{name}{i}"], "ner_tags": tags} for i in range(20)]
        content = "\n".join(map(json.dumps, rows))
        (tmp_path / f"{name}.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"test.jsonl has no labels \(in column 'ner_tags' all are"):
        read_splits(find_task(str(tmp_path)))


def test_merged_labels_leave_a_tag_for_each_word(tmp_path):
    one = "अ B-PER\nब I-PER\nक O\nड O\n"
    task = write_all(tmp_path, train=f"{one}\nअ B-Per\n", valid="इ B-PER\n", test="ई O\n")
    splits = read_splits(task, merge_labels=True)
    assert splits.names == ("O", "B-PER", "I-PER")
    assert splits.train.labels == ((1, 2, 0, 0), (1,))
