"""The predict command: the model's probabilities of each row, in order, or a refusal."""

import csv
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.encoders.profiling import Classifier
from autoprune.export.predict import (
    Predictor,
    TextTokenizer,
    make_predictor,
    make_tokenizer,
    open_predictor,
)
from autoprune.export.prediction_files import write_predictions
from autoprune.training.problem_types import PROBLEM_TYPES, SINGLE_LABEL
from tiny_models import NUMBERS, jitter_, save_model, tiny_tokenizer

TAGS = PROBLEM_TYPE_NAMES[3]
LABELS = ("खेळ", "राज्य, देश", "label")
TEXTS = [" ".join(NUMBERS[: 1 + at % 7] * (1 + at % 5)) for at in range(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tiny classifier with three labels."""
    model_folder = tmp_path_factory.mktemp("exported") / "model"
    save_model("bert", model_folder)
    torch.manual_seed(1)
    names = dict(enumerate(LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, id2label=names)
    jitter_(model, 0.5)
    model.save_pretrained(model_folder)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 20
    tokenizer.save_pretrained(model_folder)
    return model_folder


def probabilities_of(folder, texts, pairs=None):
    """Return what plain transformers makes of each row alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for at, text in enumerate(texts):
        row = tokenizer(text, pairs and pairs[at], truncation=True, return_tensors="pt")
        with torch.inference_mode():
            found.append(model(**row).logits.softmax(-1)[0].tolist())
    return found


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def as_csv(path, separator=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [("id", "Title"), *enumerate(TEXTS)]
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def as_parquet(path):
    parquet.write_table(pyarrow.table({"id": range(70), "text": TEXTS}), path, row_group_size=30)
    return path


FILES = {
    "csv": lambda: as_csv(Path("rows.csv")),
    "tsv": lambda: as_csv(Path("rows.tsv"), "\t"),
    "parquet": lambda: as_parquet(Path("rows.parquet")),
    "json lines": lambda: write(
        Path("rows.jsonl"), "".join(json.dumps({"text": text}) + "\n\n" for text in TEXTS)
    ),
    "plain": lambda: write(Path("rows.txt"), "\n".join(TEXTS)),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_predict_reads_each_format_and_gives_the_models_probabilities(run, folder, make):
    file = make()
    answer = run("predict", folder, file, "--batch", 4)
    column = {".csv": "Title", ".tsv": "Title", ".txt": None}.get(file.suffix, "text")
    note = f"{file.name}: text from column '{column}'\n" if column else ""
    assert (answer.code, answer.err) == (0, note)
    [header, *rows] = csv.reader(answer.out.splitlines())
    assert header == ["label", "probability", *(f"p({label})" for label in LABELS)]
    assert len(rows) == len(TEXTS)
    for row, expected in zip(rows, probabilities_of(folder, TEXTS), strict=True):
        assert row[0] == LABELS[expected.index(max(expected))]
        assert [float(row_value) for row_value in row[1:]] == pytest.approx(
            [max(expected), *expected], abs=2e-6
        )
    assert len({row[1] for row in rows}) > 20


def test_predict_reads_pairs_and_writes_json_lines(run, folder):
    rows = [{"one": text, "two": "दहा नऊ"} for text in TEXTS]
    write(Path("rows.jsonl"), "\n".join(map(json.dumps, rows)))
    options = ("--text", "one", "--text-pair", "two", "--out", "labels.jsonl")
    answer = run("predict", folder, "rows.jsonl", *options)
    assert (answer.code, answer.out) == (0, "Wrote the labels of 70 texts to labels.jsonl\n")
    found = [json.loads(line) for line in Path("labels.jsonl").read_text("utf-8").splitlines()]
    for row_value, expected in zip(
        found, probabilities_of(folder, TEXTS, ["दहा नऊ"] * 70), strict=True
    ):
        assert row_value["label"] == LABELS[expected.index(max(expected))]
        assert row_value["probability"] == max(row_value["probabilities"].values())
        assert list(row_value["probabilities"]) == list(LABELS)
        assert list(row_value["probabilities"].values()) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("trained_on_pairs", [True, False, None, "yes"])
def test_predict_refuses_rows_of_another_kind_than_the_model_was_trained_on(
    run, folder, tmp_path, trained_on_pairs
):
    saved = shutil.copytree(folder, tmp_path / "saved")
    config = json.loads((saved / "config.json").read_text("utf-8"))
    changed = config if trained_on_pairs is None else config | {"text_pairs": trained_on_pairs}
    write(saved / "config.json", json.dumps(changed))
    write(Path("rows.csv"), "one,two\nएक,दोन\nतीन,चार\n")
    single = run("predict", saved, "rows.csv", "--text", "one", "--out", "single.csv")
    pairs = ("--text", "one", "--text-pair", "two", "--out", "pairs.csv")
    paired = run("predict", saved, "rows.csv", *pairs)
    assert (single.code, paired.code) == {True: (2, 0), False: (0, 2)}.get(trained_on_pairs, (0, 0))
    assert Path("single.csv").exists() is (single.code == 0)
    assert Path("pairs.csv").exists() is (paired.code == 0)
    if trained_on_pairs is True:
        assert "trained on pairs of texts: give the second text of each row" in single.err
    if trained_on_pairs is False:
        assert "trained on single texts: leave the second ones out" in paired.err


def test_predict_format_option_wins_over_the_file_name(run, folder):
    make = FILES["plain"]
    lines = run("predict", folder, make(), "--format", "jsonl").out.splitlines()
    assert len([json.loads(line) for line in lines]) == 70
    run("predict", folder, make(), "--format", "csv", "--out", "labels.jsonl")
    assert Path("labels.jsonl").read_text("utf-8").startswith("label,probability,")


def test_predict_keeps_empty_lines(run, folder):
    write(Path("rows.txt"), "एक\n\nदोन\n")
    rows = list(csv.reader(run("predict", folder, "rows.txt").out.splitlines()))[1:]
    first, empty, last = probabilities_of(folder, ["एक", "", "दोन"])
    found = [[float(row_value) for row_value in row[2:]] for row in rows]
    assert found == [pytest.approx(row_value, abs=2e-6) for row_value in (first, empty, last)]


def test_predict_reads_standard_input(run, folder, monkeypatch):
    def answer(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return run("predict", folder, "-")

    rows = list(csv.reader(answer("एक\n\nदोन".encode()).out.splitlines()))[1:]
    expected = probabilities_of(folder, ["एक", "", "दोन"])
    found = [[float(value) for value in row[2:]] for row in rows]
    assert found == [pytest.approx(row, abs=2e-6) for row in expected]
    assert "standard input must be UTF-8" in answer(b"a\nb\xff\n").refusal()


def test_predict_takes_the_only_column(run, folder):
    write(Path("one.csv"), "पाठ\nएक\nदोन\n")
    answer = run("predict", folder, "one.csv")
    assert (len(answer.out.splitlines()), answer.err) == (3, "one.csv: text from column 'पाठ'\n")


def test_predict_does_not_shift_labels(run, folder):
    texts = [*TEXTS[:5], '"' + TEXTS[5], *TEXTS[6:30], TEXTS[30] + '"', *TEXTS[31:]]
    write(Path("rows.tsv"), "text\tid\n" + "".join(f"{text}\t0\n" for text in texts))
    answer = run("predict", folder, "rows.tsv")
    rows = list(csv.reader(answer.out.splitlines()))[1:]
    expected = probabilities_of(folder, texts)
    assert [[float(value) for value in row[2:]] for row in rows] == [
        pytest.approx(row, abs=2e-6) for row in expected
    ]
    assert "rows.tsv is read without quoting" in answer.err


def test_predict_refuses_to_lose_rows(folder):
    class Forgetful:
        labels = LABELS
        problem_type = SINGLE_LABEL

        def __call__(self, rows, batch):
            yield from (np.array([0.2, 0.3, 0.5]) for _ in itertools.islice(list(rows), 2))

    with pytest.raises(RuntimeError, match="3 rows were read and 2 labels written"):
        write_predictions(Forgetful(), [("a", None)] * 3, 2, "jsonl", io.StringIO())


def test_predictor_reads_only_a_few_batches_ahead(folder):
    read = []
    rows = ((text, None) for text in itertools.cycle(TEXTS) if not read.append(text))
    answers = open_predictor(folder, torch.device("cpu"))(rows, 2)
    for _ in range(200):
        next(answers)
    assert 200 <= len(read) <= 300


WRONG = {
    "no file": (["nowhere.csv"], "FILE must be a file with texts, nowhere.csv is none"),
    "no column": (["ids.csv"], "has no known text column, name one by --text"),
    "other column": (["rows.csv", "--text", "titel"], "has no column 'titel'"),
    "text of lines": (["rows.txt", "--text", "x"], "are for files with columns"),
    "ragged": (["ragged.csv"], "has 2 columns, line 3 has 1"),
    "twice": (["twice.csv"], "must name each column once"),
    "broken": (["broken.jsonl"], "must hold one JSON object a line, line 2"),
    "number": (["number.jsonl"], "must hold texts, line 1 has int '3'"),
    "lacking": (["lacking.jsonl"], "must hold texts, line 2 has nothing"),
    "no utf-8": (["latin.txt"], "must be UTF-8"),
    "no parquet": (["no.parquet"], "must be a Parquet file"),
    "semicolons": (["semicolons.csv"], "must have ',' between its columns, it has ';'"),
    "UTF-16": (["utf16.csv"], "line 1 has the byte 0xff at offset 0 (it looks like UTF-16)"),
    "several": (["several.csv"], "text columns 'title', 'content', name one by --text"),
    "no header": (["headless.csv"], "a file without a header needs one"),
    "merged": (["merged.csv"], "lines 3 to 5 that look like rows"),
    "a column of standard input": (["-", "--text", "x"], "for files with columns, - has none"),
    "empty": (["empty.txt"], "has no texts"),
    "header only": (["header.csv"], "has no texts"),
    "another format": (["rows.csv", "--out", "labels.xlsx"], "end in .csv or .jsonl"),
    "same file": (["rows.csv", "--out", "rows.csv"], "another file than that of the texts"),
    "pipe": (["rows.csv", "--out", "pipe"], "pipe is none: leave it out and use >"),
    "no folder": (["rows.csv", "--out", "no/out.csv"], "a folder that exists"),
    "format": (["rows.csv", "--format", "xml"], "unknown format 'xml'"),
}


@pytest.fixture
def files():
    as_csv(Path("rows.csv"))
    write(Path("rows.txt"), "एक\n")
    write(Path("ids.csv"), "a,b\n1,2\n")
    write(Path("ragged.csv"), "text,id\nएक,1\nदोन\n")
    write(Path("twice.csv"), "text,text\na,b\n")
    write(Path("broken.jsonl"), '{"text": "a"}\n{"text": \n')
    write(Path("number.jsonl"), '{"text": 3}\n')
    write(Path("lacking.jsonl"), '{"text": "a"}\n{"txt": "a"}\n')
    write(Path("no.parquet"), "PAR?")
    write(Path("empty.txt"), "")
    write(Path("header.csv"), "text\n")
    write(Path("semicolons.csv"), "id;title\n1;a\n")
    Path("utf16.csv").write_bytes("id,title\n1,a\n".encode("utf-16"))
    write(Path("several.csv"), "id,title,content\n1,a,b\n")
    write(Path("headless.csv"), f"{' '.join(['एक'] * 20)}\nदोन\n")
    write(Path("merged.csv"), 'id,text\n1,a\n2,"b\n3,c\n4,d"\n5,e\n')
    Path("latin.txt").write_bytes(b"caf\xe9\n")


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_predict_reports_wrong_input_in_one_line_and_writes_nothing(
    run, folder, files, arguments, message
):
    os.mkfifo("pipe")
    before = {path: path.is_file() and path.read_bytes() for path in Path().iterdir()}
    out = [] if "--out" in arguments else ["--out", "new.csv"]
    assert message in run("predict", folder, *arguments, *out).refusal()
    assert {path: path.is_file() and path.read_bytes() for path in Path().iterdir()} == before


def test_predict_writes_through_a_symbolic_link(run, folder, files):
    Path("link.csv").symlink_to("real.csv")
    assert run("predict", folder, "rows.csv", "--out", "link.csv").code == 0
    assert Path("link.csv").is_symlink()
    assert len(Path("real.csv").read_text().splitlines()) == 71


def test_predict_that_fails_late_leaves_the_older_file(run, folder):
    write(Path("rows.csv"), "text\n" + "एक\n" * 200 + '"torn\n')
    write(Path("out.csv"), "older")
    answer = run("predict", folder, "rows.csv", "--batch", 1, "--out", "out.csv")
    assert answer.code == 2
    assert "broken quotes" in answer.err
    assert Path("out.csv").read_text() == "older"
    assert sorted(path.name for path in Path().iterdir()) == ["out.csv", "rows.csv"]


def test_predict_refuses_a_model_without_a_trained_head(run, model, files):
    answer = run("predict", model, "rows.txt")
    assert (answer.code, answer.out) == (2, "")
    assert "holds no trained classifier (BertForMaskedLM)" in answer.err


def without_a_label(model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    del config["id2label"]["2"]
    (model_folder / "config.json").write_text(json.dumps(config))


def without_a_head(model_folder):
    kept = load_file(model_folder / "model.safetensors")
    del kept["classifier.weight"]
    save_file(kept, model_folder / "model.safetensors", metadata={"format": "pt"})


def with_several_numbers(model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps({**config, "problem_type": "regression"}))


def with_one_output(model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (model_folder / "config.json").write_text(json.dumps(config))


def with_another_tokenizer(model_folder):
    content = json.loads((model_folder / "tokenizer.json").read_text())
    content["model"]["vocab"][NUMBERS[0]] = 60_000
    (model_folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_a_label, "is not a complete classifier, 2 of its weights"),
        (without_a_head, "is not a complete classifier, 1 of its weights"),
        (with_another_tokenizer, "has a token number 60000"),
        (with_one_output, "has one output and does not say what it is"),
        (with_several_numbers, "predicts 3 numbers for each text, and only one can"),
    ],
)
def test_predict_refuses_an_incomplete_model(run, folder, files, spoil, message, tmp_path):
    model_folder = shutil.copytree(folder, tmp_path / "spoilt")
    spoil(model_folder)
    assert message in run("predict", model_folder, "rows.txt").refusal()


def save_tagger(folder, place, names):
    """Save a tagger of words with these tags."""
    shutil.copytree(folder, place)
    labels = dict(enumerate(names))
    model = AutoModelForTokenClassification.from_pretrained(
        place, id2label=labels, ignore_mismatched_sizes=True
    )
    model.save_pretrained(place)
    return place


def test_tags_are_read_by_their_names_in_any_order(folder, tmp_path):
    usual = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    table = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)  # a row for each token
    answers = []
    for at, order in enumerate([[0, 1, 2, 3, 4], [1, 3, 2, 4, 0], [4, 3, 2, 1, 0]]):
        names = [usual[place] for place in order]
        made = save_tagger(folder, tmp_path / f"tagger-{at}", names)
        outputs = table[:, order]
        predictor = make_predictor(made, lambda outputs=outputs: lambda t: outputs[t["input_ids"]])
        found = predictor([(text, None) for text in TEXTS], 8)
        answers.append([[each[:4] for each in row] for row in found])
    assert answers[1:] == answers[:1] * 2
    entities = [each for row in answers[0] for each in row]
    assert {kind for kind, *_ in entities} == {"LOC", "PER"}
    assert any(" " in text for _, text, *_ in entities)


@pytest.mark.parametrize("space", [" ", "\n", "\t", " \n\n ", "\u3000"])
def test_entities_do_not_depend_on_the_white_space_between_words(space):
    words = ["alpha", "Pune", "gamma", "Mumbai", "Pune"]
    trained = ByteLevelBPETokenizer(add_prefix_space=True)
    trained.train_from_iterator([" ".join(words)] * 50, 400, special_tokens=["<pad>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, pad_token="<pad>")
    places = [tokenizer.convert_tokens_to_ids(f"Ġ{name}") for name in ("Pune", "Mumbai")]
    known = len(tokenizer)

    def classify(tokens):
        return np.eye(3, dtype=np.float32)[np.isin(tokens["input_ids"], places).astype(int)] * 9

    tokenize = TextTokenizer(tokenizer, 60, "bpe", known)
    predictor = Predictor(("O", "B-LOC", "I-LOC"), classify, tokenize, PROBLEM_TYPES[TAGS])
    for text in (space.join(words), space + space.join(words) + space):
        [found] = predictor([(text, None)], 4)
        assert [(each.text, text[each.start : each.end]) for each in found] == [
            ("Pune", "Pune"), ("Mumbai", "Mumbai"), ("Pune", "Pune"),
        ]  # fmt: skip


def test_predict_reads_lists_of_words_and_refuses_what_is_none(run, folder):
    write(Path("rows.jsonl"), '{"text": ["एक", "दोन", null]}\n')
    assert run("predict", folder, "rows.jsonl").code == 0
    write(Path("rows.jsonl"), '{"text": ["एक", 5]}\n')
    assert "must hold texts, line 1 has int '5'" in run("predict", folder, "rows.jsonl").refusal()


def test_predict_reads_sentences_of_a_conll_file_and_of_lists_of_words(run, folder):
    write(Path("lines.txt"), "एक दोन\nतीन\n")
    expected = run("predict", folder, "lines.txt").out
    write(Path("rows.conll"), "एक B-X\nदोन O\n\nतीन O\n")
    write(Path("rows.jsonl"), '{"tokens": ["एक", "दोन"], "id": 1}\n{"tokens": ["तीन"], "id": 2}\n')
    for file in ("rows.conll", "rows.jsonl"):
        answer = run("predict", folder, file)
        assert (answer.code, answer.out) == (0, expected), answer.err
        assert answer.err == f"{file}: text from column 'tokens'\n"


@pytest.mark.parametrize("name", ["LABEL_1", "PER", "B-", "S-PER"])
def test_tagger_with_names_that_are_no_tags_is_refused(run, folder, tmp_path, name):
    model_folder = save_tagger(folder, tmp_path / "tagger", ["O", name])
    write(tmp_path / "rows.txt", "एक दोन\n")
    line = run("predict", model_folder, tmp_path / "rows.txt").refusal()
    assert f"labels such as O, B-PER and I-PER, it has '{name}'" in line


def test_token_without_an_embedding_is_refused_where_a_text_has_it(run, folder, tmp_path):
    """As in search and export: a tokenizer may have more tokens than the model."""
    model_folder = shutil.copytree(folder, tmp_path / "more")
    content = json.loads((model_folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["अधिक"] = 60_000
    (model_folder / "tokenizer.json").write_text(json.dumps(content))
    write(tmp_path / "known.txt", "एक दोन\n")
    write(tmp_path / "unknown.txt", "एक दोन\nएक अधिक\n")
    known = run("predict", model_folder, tmp_path / "known.txt")
    assert (known.code, known.out) == (0, run("predict", folder, tmp_path / "known.txt").out)
    line = run("predict", model_folder, tmp_path / "unknown.txt").refusal()
    assert "token number 60000" in line
    assert "more" in line


def test_tokenizer_truncates_at_the_models_limit(folder, tmp_path):
    model_folder = shutil.copytree(folder, tmp_path / "long")
    for name, key in [("", "max_position_embeddings"), ("tokenizer_", "model_max_length")]:
        file = model_folder / f"{name}config.json"
        content = json.loads(file.read_text()) | {key: 700}
        file.write_text(json.dumps(content))
    assert make_tokenizer(model_folder).longest == 700
    assert make_tokenizer(model_folder, 600).longest == 600
    del content["model_max_length"]
    file.write_text(json.dumps(content))
    assert make_tokenizer(model_folder).longest == 700


@pytest.mark.slow
def test_predict_ends_silently_when_the_pipe_is_closed(folder):
    write(Path("rows.txt"), "एक\n" * 20_000)
    command = [sys.executable, "-m", "autoprune", "predict", str(folder), "rows.txt"]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    assert done.stdout.readline().startswith(b"label,")
    done.stdout.close()
    assert done.stderr.read() == b""
    assert done.wait(60) == 0


def test_predict_out_of_memory_leaves_no_file(run, folder, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("planted")

    as_csv(Path("rows.csv"))
    monkeypatch.setattr(Classifier, "__call__", full)
    answer = run("predict", folder, "rows.csv", "--out", "labels.csv")
    assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1)
    assert answer.lines[0].startswith("autoprune: out of memory: give a smaller --batch")
    assert not list(Path().glob("*labels*"))


FORMULAS = ("=1+1", "-1", "@user", "+1", "\tx")


def test_csv_safe_keeps_labels_from_being_formulas(run, folder, tmp_path):
    odd = shutil.copytree(folder, tmp_path / "odd")
    config = json.loads((odd / "config.json").read_text())
    weights = load_file(odd / "model.safetensors")
    count = len(FORMULAS)
    weights["classifier.weight"] = torch.randn(count, weights["classifier.weight"].shape[1])
    weights["classifier.bias"] = torch.zeros(count)
    save_file(weights, odd / "model.safetensors", metadata={"format": "pt"})
    config["id2label"] = dict(enumerate(FORMULAS))
    config["label2id"] = {label: index for index, label in enumerate(FORMULAS)}
    (odd / "config.json").write_text(json.dumps(config))
    texts = write(tmp_path / "texts.txt", "\n".join(TEXTS))
    plain = run("predict", odd, texts)
    assert plain.code == 0, plain.err
    labels = [row["label"] for row in csv.DictReader(io.StringIO(plain.out))]
    assert {*labels} <= {*FORMULAS}
    safe = run("predict", odd, texts, "--csv-safe")
    assert [row["label"] for row in csv.DictReader(io.StringIO(safe.out))] == [
        f"'{label}" for label in labels
    ]
    line = run("predict", odd, texts, "--csv-safe", "--format", "jsonl").refusal()
    assert "--csv-safe is for CSV" in line


def test_path_with_escape_sequences_is_shown_escaped(run, folder, tmp_path):
    odd = tmp_path / "a\x1b[31mb"
    odd.mkdir()
    (odd / "config.json").write_text("{")
    line = run("predict", odd, write(tmp_path / "texts.txt", "एक\n")).refusal()
    assert r"a\x1b[31mb" in line and "\x1b" not in line
    texts = write(tmp_path / "texts.txt", "एक\n")
    answer = run("predict", folder, texts, "--out", odd / "out.csv")
    assert (answer.code, "\x1b" in answer.out) == (0, False)


TOO_LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "model", TOO_LONG),
        ("predict", TOO_LONG, "rows.txt"),
        ("predict", "model", "rows.txt", "--out", TOO_LONG),
        ("predict", "model", "rows.txt", "--out", f"{TOO_LONG}/out.csv"),
        ("serve", TOO_LONG),
        ("cost", TOO_LONG),
        ("report", "study", "--data-dir", TOO_LONG),
    ],
)
def test_path_that_no_file_system_takes_is_named_in_one_line(run, folder, files, arguments):
    Path("model").symlink_to(folder)
    assert TOO_LONG[:20] in run(*arguments).refusal()


def test_model_folder_that_may_not_be_read_is_named(run, folder, files, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    for arguments in (("predict", folder, "rows.txt"), ("serve", folder)):
        assert f"cannot read the folder '{folder}': Permission denied" in run(*arguments).refusal()
