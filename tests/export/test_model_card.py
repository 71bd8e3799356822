"""Model card: the hub reads its YAML front matter, its numbers are right, its text is escaped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from autoprune.evaluation.entrants import Entrant, EntrantRun, MeasurementConditions
from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.export.base_model import BaseModel
from autoprune.export.model_card import Provenance, model_card
from autoprune.layouts.layout import Layout
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import CleaningReport, LabelledRows, Task, TestSplit
from autoprune.training.budget import Budget
from autoprune.training.metrics import Score

LABELS = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0)
EVIL = "</script><img src=x onerror=alert(1)>|`*[a](b)\n---\nlicense: evil\n# h"
BARE = BaseModel("t", "", "", "", (), "./t", "c")


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
    )


def test_card_front_matter_is_read_by_the_hub(study, provenance):
    data = ModelCard(model_card(study, provenance)).data
    assert (data.license, data.base_model, data.language) == ("cc-by-4.0", "org/tiny", ["mr", "hi"])
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert data.tags == ["autoprune", "layer-pruning"]
    figures = {(one.metric_type, one.metric_name): one.metric_value for one in data.eval_results}
    assert figures["accuracy", "Accuracy, cleaned test rows"] == 0.6234
    assert figures["f1", "Macro-F1, all test rows"] == 0.53
    assert {one.dataset_split for one in data.eval_results} == {"test"}
    assert {one.dataset_name for one in data.eval_results} == {"own"}
    assert data.to_dict()["autoprune"] == {"base": "org/tiny@main", "commit": "c0ffee"}


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
        "autoprune search --model tiny --task own --keep 2",
        "autoprune export s --out pruned",
        "| version of torch | 2.13.0 |",
        "3 labels: sport, health, auto.",
        "## Limits",
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


def test_card_shows_the_metric_of_the_study(study, provenance):
    setting = replace(study.setting, metric="mcc")
    scores = (replace(provenance.scores[0], quality=-0.125), *provenance.scores[1:])
    text = model_card(replace(study, setting=setting), replace(provenance, scores=scores))
    assert "| split | rows | accuracy in % | macro-F1 in % | mcc in % |" in text
    assert "| 10 | 61.0 | 51.0 | -12.5 |" in text


def test_card_with_an_unknown_license_and_base(study, provenance):
    data = ModelCard(model_card(study, replace(provenance, base=BARE))).data
    assert (data.license, data.base_model, data.language) == ("unknown", None, None)


def test_card_of_a_built_in_task_is_marathi_and_of_a_hub_task_links_it(study, provenance):
    bare = replace(provenance, base=BARE)
    assert ModelCard(model_card(study, replace(bare, task=find_task("shc")))).data.language == [
        "mr"
    ]
    linked = ModelCard(model_card(study, replace(bare, task=find_task("org/texts")))).data
    assert linked.datasets == ["org/texts"]
    assert linked.eval_results[0].dataset_type == "org/texts"
    linked = ModelCard(model_card(study, replace(bare, task=find_task("org/texts:mr")))).data
    assert (linked.datasets, linked.eval_results[0].dataset_config) == (["org/texts"], "mr")


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
