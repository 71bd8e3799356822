"""Model card: the hub reads its YAML front matter, its numbers are right, its text is escaped."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.evaluation.entrants import Entrant, EntrantRun, MeasurementConditions
from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.export.card_metadata import BaseModel, Provenance
from autoprune.export.model_card import model_card
from autoprune.layouts.layout import Layout
from autoprune.tasks.language import TaskLanguage
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import CleaningReport, LabelledRows, Task, TestSplit, label_array
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score
from made_labels import METRICS_BY_TYPE
from made_studies import study_by

LABELS = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0)
EVIL = "</script><img src=x onerror=alert(1)>|`*[a](b)\n---\nlicense: evil\n# h"
BARE = BaseModel("t", "", "", "", (), "", "c")
TAMIL = TaskLanguage(("ta",), "guessed from the Tamil script", "Tamil")


def entrant(origin, layout, wrong):
    said = np.array([(label + (row < wrong)) % 3 for row, label in enumerate(LABELS)])
    run = EntrantRun(
        Score(0.5, 0.5, 0.4, 0.7, "validation", 1, 2.5), np.eye(3, dtype=np.float32)[said]
    )
    parsed, budget = Layout.parse(layout), Budget(steps=50, patience=3)

    def begin(*_):
        return lambda: run

    return Entrant(origin, parsed, "pretrained", "m@1", 7000, budget, begin, begin)


@pytest.fixture
def study(tmp_path):
    """Return a finished study of made-up figures."""
    cleaned = tuple(
        CleaningReport(name, 11, 1, 0, 0, 0, 10) for name in ("train", "validation", "test")
    )
    test = TestSplit(LabelledRows(("",) * 10, LABELS), (True,) * 8 + (False,) * 2, cleaned[2], "f2")
    conditions = MeasurementConditions("own", "accuracy", {"rows": "f"}, {"torch": "2"}, "cpu")
    entrants = [
        entrant("found", "4:0,2", 1),
        entrant("top", "4:0-1", 3),
        entrant("full", "4:0-3", 0),
        entrant("scratch", "2:0-1", 9),
    ]
    setting = StudyMetadata(
        model="tiny",
        commit="abc",
        task="own",
        labels=("sport", "health", "auto"),
        metric="accuracy",
        depth=4,
        keep=2,
        quick=Budget(steps=10),
        full=Budget(steps=50, patience=3),
        cleaned=cleaned,
        fingerprints={"rows": "f"},
        versions={"torch": "2.13.0"},
        device="cpu",
        command="autoprune search --model tiny --task own --keep 2",
        finished="2025-01-01T00:00:00+00:00",
    )
    comparison = compare_entrants(entrants, (1, 2), test, conditions, tmp_path / "records.jsonl")
    found = Layout.parse("4:0,2")
    return FinishedStudy(
        "s", Path("s"), setting, (), comparison, test, False, found, 0.8, 0.02, {"seed": 0}
    )


@pytest.fixture
def provenance():
    return Provenance(
        name="org/pruned",
        base=BaseModel(
            "tiny", "org/tiny", "cc-by-4.0", "", ("mr", "hi"), "org/tiny@main", "c0ffee"
        ),
        task=Task("own", "files:own"),
        layout=Layout.parse("4:0,2"),
        origin="found",
        parameters=7000,
        scores=(
            Score(0.61, 0.61, 0.51, 0.7, "validation", 5, 2.5),
            Score(0.62345, 0.62345, 0.52, 0.7, "test", 5, 2.5),
            Score(0.63, 0.63, 0.53, 0.7, "test-raw", 5, 2.5),
        ),
        seeds=(4, 5),
        seconds=12.3,
        joules=None,
        device="cpu (x86, 1 thread, fp32)",
        tokens=64,
        budget=Budget(steps=300, learning_rate=5e-4),
        pairs=False,
        command="autoprune export s --out pruned",
        language=TAMIL,
        predictions=np.array([0, 1, 2, 0, 0, 2, 0, 0]),
    )


def test_card_front_matter_is_read_by_the_hub(study, provenance):
    data = ModelCard(model_card(study, provenance)).data
    assert (data.license, data.base_model, data.language) == ("cc-by-4.0", "org/tiny", ["ta"])
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert data.tags == ["autoprune", "layer-pruning"]
    figures = {(one.metric_type, one.metric_name): one.metric_value for one in data.eval_results}
    assert figures["accuracy", "Accuracy, cleaned test rows"] == 0.6234
    assert figures["f1", "Macro-F1, all test rows"] == 0.53
    assert {one.dataset_split for one in data.eval_results} == {"test"}
    assert {one.dataset_name for one in data.eval_results} == {"own"}
    assert data.to_dict()["autoprune"] == {
        "base": "org/tiny@main",
        "commit": "c0ffee",
        "study": "s",
    }


def test_card_has_what_a_user_must_know(study, provenance):
    text = model_card(study, provenance)
    for expected in (
        "●○●○",
        "4:0,2",
        'pipeline("text-classification", "org/pruned")("…", truncation=True)',
        "| test, cleaned | 8 | 62.3 | 52.0 |",
        "| test, raw | 10 | 63.0 | 53.0 |",
        "| validation, by which this run was chosen | 10 | 61.0 | 51.0 |",
        "| top | ●●○○ | 4:0-1 |",
        "Recommended: top (4:0-1)",
        "| train | 11 | 1 |",
        "Energy was not measured",
        "12 s of training",
        "the best on validation",
        "autoprune search --model MODEL_FOLDER --task DATA_FOLDER --keep 2",
        "autoprune export s --out pruned",
        "Names in capitals stand for files",
        "Data of the author, which autoprune read as the task own. Language: ta (guessed from the "
        "Tamil script).",
        "| version of torch | 2.13.0 |",
        "3 labels: sport, health, auto.",
        "## Limitations",
        "- It is weakest in: health (F1 50.0 % on 3 test rows).",
        "the first 64 tokens of a text. What follows them is not read.",
        "Most letters of its training texts are in the Tamil script.",
        "The license of the base model tiny: cc-by-4.0",
    ):
        assert expected in text, expected


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"joules": 7200.0}, "2.00 Wh by the counter of the processors"),
        ({"joules": 7200.0, "device": "NVIDIA X, bf16"}, "without the accelerator"),
        ({"seeds": (5,)}, "One run, seed 5, which the study had not used."),
        ({"origin": "top"}, "that of the fixed strategy top"),
        ({"origin": "given"}, "named by hand"),
        ({"origin": "full", "layout": Layout.full(4)}, "all of whose 4 layers were kept"),
        ({"notes": ("Vocabulary cut.",)}, "## Files\n\nVocabulary cut."),
        ({"pairs": True}, '({"text": "…", "text_pair": "…"}, truncation=True)'),
        ({"base": replace(BARE, name="tiny")}, "could not be read here: find out before"),
        (
            {"base": replace(BARE, license="other", license_link="https://x.org/l")},
            "other (https://x.org/l)",
        ),
    ],
)
def test_card_mentions_special_cases(study, provenance, changes, text):
    assert text not in model_card(study, provenance)
    assert text in model_card(study, replace(provenance, **changes))


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("kind", PROBLEM_TYPE_NAMES)
def test_card_has_javascript_only_where_it_gives_the_answer(study, provenance, kind, pairs):
    task = replace(provenance.task, problem_type=kind)
    card = model_card(study, replace(provenance, task=task, pairs=pairs, formats=("onnx-int8",)))
    assert ("transformers.js" in card) == (kind != "regression" and not pairs)


def test_card_says_what_is_classified(study, provenance):
    text = model_card(study, replace(provenance, pairs=True))
    assert "A classifier of pairs of texts: the encoder" in text
    assert "A classifier of texts: the encoder" in model_card(study, provenance)


def test_card_shows_the_metric_of_the_study(study, provenance):
    setting = replace(study.setting, metric="mcc")
    scores = (replace(provenance.scores[0], quality=-0.125), *provenance.scores[1:])
    text = model_card(replace(study, setting=setting), replace(provenance, scores=scores))
    assert "| split | rows | accuracy in % | macro-F1 in % | mcc in % |" in text
    assert "| 10 | 61.0 | 51.0 | -12.5 |" in text


def test_card_with_an_unknown_license_and_base(study, provenance):
    data = ModelCard(model_card(study, replace(provenance, base=BARE))).data
    assert (data.license, data.base_model) == ("unknown", None)
    assert data.to_dict()["autoprune"] == {"commit": "c", "study": "s"}


def test_card_names_the_data(study, provenance):
    def card(name, **changes):
        task = find_task(name)
        return ModelCard(model_card(study, replace(provenance, task=task, **changes)))

    official = card("shc")
    assert official.data.eval_results[0].dataset_name == "L3Cube-MahaNews SHC"
    assert (
        "L3Cube-MahaNews SHC, from https://github.com/l3cube-pune/MarathiNLP: task shc of autoprune"
        in official.text
    )
    assert "The headlines of autoprune-demo: task demo of autoprune." in card("demo").text
    linked = card("org/texts")
    assert linked.data.datasets == ["org/texts"]
    assert linked.data.eval_results[0].dataset_type == "org/texts"
    linked = card("org/texts:mr", language=TaskLanguage((), "the texts are in several scripts", ""))
    assert linked.data.datasets == ["org/texts"]
    assert linked.data.eval_results[0].dataset_config == "mr"
    assert "Data set org/texts, configuration mr of the hub: https://huggingface.co" in linked.text
    assert "Language: not known; the texts are in several scripts." in linked.text
    assert linked.data.language is None


def test_card_shows_the_errors_of_this_model(study, provenance):
    text = model_card(study, provenance)
    section = text[text.index("## Class by class") : text.index("## The study it comes from")]
    assert "| sport | 3 | 75.0 |" in section  # 2 * 3 / (3 + 5)
    assert "| health | 3 | 50.0 |" in section
    assert "| auto | 2 | 100.0 |" in section
    assert [line for line in section.splitlines() if line.startswith("| ")][-5:] == [
        r"| true \\ predicted | sport | health | auto |",
        "| --- | --- | --- | --- |",
        "| sport | 3 | 0 | 0 |",
        "| health | 2 | 1 | 0 |",
        "| auto | 0 | 0 | 2 |",
    ]


def test_card_shows_the_most_frequent_of_many_classes(study, provenance):
    names = tuple(f"c{number:02}" for number in range(14))
    setting = replace(study.setting, labels=names)
    labels = (*range(14), 13, 12, 3, 4, 5)
    rows = LabelledRows(("",) * len(labels), labels)
    test = replace(study.test, rows=rows, kept=(True,) * len(labels))
    predictions = np.array((*range(13), 0, 13, 12, 3, 4, 5))
    text = model_card(
        replace(study, setting=setting, test=test), replace(provenance, predictions=predictions)
    )
    assert "Shown are the 12 most frequent of 14 classes." in text
    assert "| c13 | 2 | 66.7 |" in text
    header = next(line for line in text.splitlines() if line.startswith(r"| true \\ predicted"))
    assert header.endswith("| c13 | others |")
    assert header.count("| c") == 12
    assert "c10" not in header and "c11" not in header
    assert "It is weakest in: c00 (F1 66.7 % on 1 test row), c13" in text


KINDS = {
    "multi_label_classification": (
        ((1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 0)),
        [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]],
        ("sport", "health", "auto"),
        ["## Label by label", "| health | 2 | 66.7 |", "| auto | 1 | 0.0 |", "weakest in: auto"],
    ),
    "regression": (
        (0.0, 1.0, 2.0, 3.0, 4.0),
        [0.5, 1.0, 2.0, 1.0, 4.25],
        ("score",),
        [
            "A model that gives numbers to texts: the encoder",
            "parameters and gives score. It was made",
            "## Range by range",
            "| 3 to 3 | 1 | 2.000 |",
            "| 4 to 4 | 1 | 0.250 |",
            "worst where the true ones are 3 to 3: off by 2.000 on average, on 1 test row.",
        ],
    ),
    "token_classification": (
        ((0, 1, 2), (3, 0), (1,), (0,)),
        [[0, 1, 2], [1, 0, -1], [1, -1, -1], [0, -1, -1]],
        ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
        ["## Entity type by entity type", "| PER | 2 | 80.0 |", "| LOC | 1 | 0.0 |"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_card_shows_the_errors_of_each_problem_type(study, provenance, kind):
    labels, predictions, names, expected = KINDS[kind]
    rows = LabelledRows(("",) * len(labels), labels)
    text = model_card(
        replace(
            study,
            setting=replace(study.setting, labels=names, problem_type=kind),
            test=replace(study.test, rows=rows, kept=(True,) * len(labels)),
        ),
        replace(provenance, predictions=np.array(predictions)),
    )
    assert [part for part in expected if part not in text] == []
    assert "Confusion matrix" not in text


@pytest.mark.parametrize(("kind", "metric"), METRICS_BY_TYPE)
def test_card_shows_each_metric_in_its_own_form(provenance, kind, metric, tmp_path):
    study = study_by(kind, metric, tmp_path)
    record = next(record for record in study.comparison.records if record.origin == "found")
    kept = [row for row, kept in zip(record.predictions, study.test.kept, strict=True) if kept]
    task = Task("own", "files:own", problem_type=kind, metric=metric)
    of_model = {"scores": record.scores, "predictions": label_array(kept), "task": task}
    text = model_card(study, replace(provenance, **of_model))
    data = ModelCard(text).data
    quality = record.score("test").quality
    for one in data.eval_results:
        assert one.metric_value >= 0
    cells = next(line for line in text.splitlines() if line.startswith("| test, cleaned | 38 |"))
    header = next(line for line in text.splitlines() if line.startswith("| split | rows |"))
    if metric == "mse":
        assert (header, cells) == (
            "| split | rows | mse |",
            f"| test, cleaned | 38 | {-quality:.3f} |",
        )
        assert {one.metric_value for one in data.eval_results} >= {round(-quality, 4)}
        assert not re.search(r"(?<!95) %|(?<![\w.-])-\d+\.\d", text)
    else:
        assert (
            f" {100 * quality:.1f} |" in cells and header.count(" in % |") == cells.count("|") - 3
        )


def test_card_names_no_file_or_folder_of_the_user(study, provenance):
    setting = replace(
        study.setting,
        command="autoprune search --model /home/me/tiny --task '/home/me/our data.csv' --keep 2 "
        "--unlabelled /home/me/more.txt --teacher ../taught --log-file /home/me/log "
        "--text 'title/body'",
        data_notes=(
            "rows from /home/me/our data.csv",
            "train: our data.csv is read without quoting, its quotes are part of the texts",
            "9 of 10 texts of /home/me/more.txt are used without labels",
            "text from column 'title/body', label from column 'label'",
        ),
        warnings=("see /home/me/our.csv",),
    )
    private = replace(provenance, command="autoprune export /home/me/studies/s --out /home/me/out")
    text = model_card(replace(study, setting=setting), private)
    leaks = ("/home", "me/", "our data", "our.csv", "more.txt", "taught", "../")
    assert [leak for leak in leaks if leak in text] == []
    assert (
        "autoprune search --model MODEL_FOLDER --task DATA.csv --keep 2 --unlabelled TEXTS.txt "
        "--teacher MODEL_FOLDER --log-file LOG.jsonl --text title/body" in text
    )
    assert "autoprune export s --out out" in text
    assert "9 of 10 texts of a file are used without labels" in text
    assert "text from column 'title/body', label from column 'label'" in text


def test_card_escapes_outside_text(study, provenance):
    setting = replace(study.setting, model=EVIL, labels=(EVIL, "b", "c"), command=EVIL)
    evil = replace(
        provenance,
        name=EVIL,
        base=BaseModel(EVIL, EVIL, EVIL, EVIL, (EVIL,), EVIL, EVIL),
        task=Task(EVIL, f"hub:{EVIL}"),
        device=EVIL,
        command=EVIL,
        notes=(EVIL,),
    )
    text = model_card(replace(study, setting=setting), evil)
    data = ModelCard(text).data
    assert data.license != "evil"
    assert data.pipeline_tag == "text-classification"
    body = text.split("\n---\n", 1)[1]
    outside = [part for place, part in enumerate(body.split("```")) if place % 2 == 0]
    assert [part for part in outside if "<img" in part or "</script" in part] == []
    assert [line for line in body.splitlines() if line.startswith(("---", "# h", "license:"))] == []
