"""Every problem type as a user runs it: search, report, export to ONNX, pipeline, predictions."""

import json
import random
import re
from pathlib import Path

import pytest
from transformers import pipeline

from autoprune.training.problem_types import PROBLEM_TYPES
from made_labels import METRICS_BY_TYPE
from tiny_models import NUMBERS

FEW = (
    *("--keep", 2, "--trials", 2, "--epochs", 6, "--full-epochs", 10, "--seeds", 1, "--batch", 8),
    *("--learning-rate", 0.02, "--strategy", "top", "--strategy", "middle", "--workers", 1),
)


def texts(count):
    draw = random.Random(0)
    return [[draw.choice(NUMBERS) for _ in range(draw.randint(3, 8))] for _ in range(count)]


def _classes(words):
    return {"text": " ".join(words), "label": "first" if NUMBERS[0] in words else "last"}


def _sets(words):
    found = [name for name, word in zip("abc", NUMBERS, strict=False) if word in words]
    return {"text": " ".join(words), "labels": found}


def _pairs(words):
    half = len(words) // 2
    score = sum(word in NUMBERS[:3] for word in words) / len(words) * 5
    return {"first": " ".join(words[:half]), "second": " ".join(words[half:]), "score": score}


def _tags(words):
    tags = {NUMBERS[0]: "B-X", NUMBERS[1]: "B-Y", NUMBERS[2]: "I-Y"}
    return {"tokens": words, "ner_tags": [tags.get(word, "O") for word in words]}


TASKS = {
    "single_label_classification": (_classes, ()),
    "multi_label_classification": (_sets, ()),
    "regression": (_pairs, ("--text", "first", "--text-pair", "second", "--label", "score")),
    "token_classification": (_tags, ()),
}


def test_every_problem_type_is_run():
    assert set(TASKS) == set(PROBLEM_TYPES) == {name for name, _ in METRICS_BY_TYPE}


def _check_single(found, predicted, text):
    assert {each["label"] for each in found[0]} == {"first", "last"}
    assert predicted["label"] == found[0][0]["label"]


def _check_sets(found, predicted, text):
    scores = {each["label"]: each["score"] for each in found[0]}
    assert set(predicted["labels"]) == {name for name, score in scores.items() if score > 0.5}
    assert predicted["probabilities"] == pytest.approx(scores, abs=1e-5)


def _check_number(found, predicted, text):
    assert predicted == {"score": pytest.approx(found[0][0]["score"], abs=1e-5)}


def _check_entities(found, predicted, text):
    assert [each["entity_group"] for each in found[0]] == [
        each["type"] for each in predicted["entities"]
    ]
    for each in predicted["entities"]:
        assert text[each["start"] : each["end"]] == each["text"]


CHECKS = {
    "single_label_classification": _check_single,
    "multi_label_classification": _check_sets,
    "regression": _check_number,
    "token_classification": _check_entities,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
def test_problem_type_from_search_to_predictions(kind, run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, options = TASKS[kind]
    rows = "\n".join(json.dumps(make(words), ensure_ascii=False) for words in texts(240))
    Path("rows.jsonl").write_text(rows, encoding="utf-8")
    answer = run(
        *("search", "--model", model, "--task", "rows.jsonl", "--study", "s", "--json"),
        *(*FEW, *options),
    )
    assert answer.code == 0, answer.err
    compared = {row["origin"]: row["test_mean"] for row in answer.result["comparison"]}
    assert compared["full"] > compared["majority"] + 0.2
    assert (kind in answer.err) is (kind != "single_label_classification")
    page = Path("reports/s.html").read_text(encoding="utf-8")
    assert "Errors that only one model makes" in page

    exported = run(
        *("export", "s", "--layout", "top", "--seeds", 1, "--out", "out", "--force"),
        *("--format", "transformers,onnx"),
    )
    assert exported.code == 0, exported.err
    assert Path("out/onnx/model.onnx").is_file()
    text = " ".join(NUMBERS[:4])
    tagged = kind == "token_classification"
    assert f'pipeline("{"token" if tagged else "text"}-classification"' in exported.out
    Path("texts.csv").write_text(f"text,pair\n{text},{NUMBERS[2]}\n", encoding="utf-8")
    second = ("--text-pair", "pair") if kind == "regression" else ()
    predicted = run("predict", "out", "texts.csv", "--format", "jsonl", *second)
    assert predicted.code == 0, predicted.err
    other = run("predict", "out", "texts.csv", *(() if second else ("--text-pair", "pair")))
    assert (other.code, other.out) == (2, "")
    assert f"trained on {'pairs of' if second else 'single'} texts" in other.err
    if tagged:
        call = pipeline("token-classification", "out", aggregation_strategy="simple", device="cpu")
        found = [call(text)]
    else:
        call = pipeline("text-classification", "out", top_k=None, device="cpu")
        given = {"text": text, "text_pair": NUMBERS[2]} if second else text
        found = [call(given)] if second else call([given])
    CHECKS[kind](found, json.loads(predicted.out), text)


@pytest.mark.slow
def test_mean_squared_error_is_shown_as_a_positive_number(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, options = TASKS["regression"]
    rows = "\n".join(json.dumps(make(words), ensure_ascii=False) for words in texts(80))
    Path("rows.jsonl").write_text(rows, encoding="utf-8")
    given = ("--model", model, "--task", "rows.jsonl", *options, "--metric", "mse", "--batch", 8)
    size = ("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--trials", 1, "--workers", 1)
    search = run("search", *given, *size, "--keep", "2,3", "--max-drop", 5, "--study", "s")
    assert search.code == 0, search.err
    exported = run("export", "s-keep2", "--seeds", 1, "--out", "out", "--force")
    compared = run("compare", "s-keep2", "s-keep3")
    listed = run("studies")
    answers = (search, exported, compared, listed)
    assert [answer.code for answer in answers] == [0] * 4, [answer.err for answer in answers]
    shown = [f"{answer.out}{answer.err}" for answer in answers]
    shown += [path.read_text(encoding="utf-8") for path in Path("reports").glob("*.md")]
    shown.append(Path("out/README.md").read_text(encoding="utf-8"))
    shown.append(Path("studies/s-keep2/journal.log").read_text(encoding="utf-8"))
    for text in shown[:-1]:
        scores = "\n".join(line for line in text.splitlines() if "unknown tokens" not in line)
        assert not re.search(r"(?<!95) %|hundredths|points|(?<![\w.-])-\d+\.\d", scores), scores
        assert re.search(r"\b\d+\.\d{3}\b", text)
    assert re.search(r'"validation": ?"\d+\.\d{3}"', shown[-1])


LIKE_OTHERS = ("single_label_classification", "regression")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) if kind in LIKE_OTHERS else kind for kind in TASKS],
)
def test_problem_type_has_scores_of_layouts_and_costs(kind, run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, options = TASKS[kind]
    rows = "\n".join(json.dumps(make(words), ensure_ascii=False) for words in texts(80))
    Path("rows.jsonl").write_text(rows, encoding="utf-8")
    given = ("--model", model, "--task", "rows.jsonl", *options)
    answer = run("score", *given, "--keep", 2, "--epochs", 1, "--batch", 8, "--json")
    assert answer.code == 0, answer.err
    found = answer.result
    assert len(found["layouts"]) == 10
    assert all(0 < score["loss"] < 30 for score in found["layouts"])
    trials = ("--trials", 1, "--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--batch", 8)
    study = run("search", *given, "--keep", 2, "--study", "s", *trials, "--workers", 1, "--json")
    assert study.code == 0, study.err
    trained = {row["origin"]: row["parameters"] for row in study.result["comparison"]}
    answer = run("cost", "s", "--rounds", 6, "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    full, pruned = json.loads(answer.out)["models"]
    assert full["parameters"]["total"] == trained["full"]
    assert pruned["parameters"]["total"] == trained["top"]


BAD = {
    "metric": (("--metric", "spearman"), "--metric of single_label_classification is one of"),
    "separator": (
        ("--label-separator", "|", "--problem-type", "regression"),
        "--labels and --label-separator are for multi_label_classification",
    ),
    "one column": (("--labels", "a"), "--labels takes two or more columns"),
    "unknown": (("--problem-type", "ranking"), "unknown problem type 'ranking'"),
    "no tags": (("--problem-type", "token_classification"), "must have a tag for each word"),
    "no numbers": (("--problem-type", "regression"), "must hold numbers, line 1 has"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_do_not_fit_are_refused_in_one_line(case, run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(json.dumps(_classes(words)) for words in texts(30))
    Path("rows.jsonl").write_text(rows, encoding="utf-8")
    options, message = BAD[case]
    answer = run("search", "--model", model, "--task", "rows.jsonl", "--keep", 2, *options)
    assert message in answer.refusal()


def test_sentence_longer_than_the_model_is_refused(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = [*texts(30), [NUMBERS[0]] * 600]
    rows = "\n".join(json.dumps(_tags(words)) for words in long)
    Path("rows.jsonl").write_text(rows, encoding="utf-8")
    answer = run("search", "--model", model, "--task", "rows.jsonl", "--keep", 2)
    assert "a sentence has 602 tokens" in answer.refusal()
