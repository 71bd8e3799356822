"""Fixtures of made-up records, entrants and studies: no model, no training, known numbers.

The conftest.py of a room that needs them imports them.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from autoprune.errors import TrialError
from autoprune.evaluation.costs import Costs, MeasuredCost
from autoprune.evaluation.entrants import Entrant, EntrantRun, MeasurementConditions
from autoprune.evaluation.racing import compare_entrants
from autoprune.evaluation.records import Record
from autoprune.evaluation.simple_models import SimpleModel
from autoprune.evaluation.statistics import MedianInterval
from autoprune.evaluation.study_files import FinishedStudy, StudyMetadata
from autoprune.layouts.layout import Layout, all_layouts
from autoprune.tasks.task import CleaningReport, LabelledRows, TestSplit
from autoprune.training.budget import Budget
from autoprune.training.metrics import NO_WORD, Score
from autoprune.training.problem_types import PROBLEM_TYPES
from made_labels import TAGS, make_labels

QUICK = Budget(steps=10)
FULL = Budget(steps=50, patience=3)


def scored(quality, split="validation", seed=1):
    return Score(quality, quality, quality / 2, 0.7, split, seed, 2.5)


@pytest.fixture
def score():
    return scored


@pytest.fixture
def trial():
    """Make a search record of a layout's text and its validation quality (None: failed)."""

    def make(layout, quality, **changes):
        fields = {
            "phase": "search",
            "origin": "gp",
            "layout": Layout.parse(layout),
            "start": "pretrained",
            "model": "demo@abc",
            "task": "demo",
            "metric": "accuracy",
            "budget": QUICK,
            "seed": 1,
            "scores": () if quality is None else (scored(quality),),
            "parameters": 1000,
            "fingerprints": {"train+validation": "f1"},
            "versions": {"torch": "2"},
            "device": "cpu",
            "finished": "2025-01-01T00:00:00+00:00",
        }
        return Record(**fields | changes)

    return make


@pytest.fixture
def split():
    """Twelve raw test rows of three labels; the last two are duplicates that cleaning removes."""
    labels = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 1)
    kept = (*(True for _ in range(10)), False, False)
    cleaned = CleaningReport("test", 13, 0, 1, 2, 0, 10)
    return TestSplit(LabelledRows(tuple("abcdefghijkl"), labels), kept, cleaned, "f2")


@pytest.fixture
def conditions():
    return MeasurementConditions(
        "demo", "accuracy", {"train+validation": "f1"}, {"torch": "2.13"}, "cpu"
    )


@pytest.fixture
def entrant(split):
    """Make an entrant that has the named rows wrong, by seed, and a validation quality."""

    def make(origin, layout, wrong, validation, calls=None, fails=(), **changes):
        def run(seed):
            if calls is not None:
                calls.append((origin, seed))
            if seed in fails:
                raise TrialError("loss is not a number")
            labels = np.array(split.rows.labels)
            rows = wrong[seed] if isinstance(wrong, dict) else wrong
            predicted = labels.copy()
            predicted[list(rows)] = (predicted[list(rows)] + 1) % 3
            return EntrantRun(scored(validation, seed=seed), np.eye(3, dtype=np.float32)[predicted])

        def score(seed):
            return run(seed).validation

        fields = {"start": "pretrained", "model": "demo@abc", "parameters": 7000, "budget": FULL}
        return Entrant(
            origin,
            Layout.parse(layout),
            begin=lambda seed, _: partial(run, seed),
            validate=lambda seed, _: partial(score, seed),
            **fields | changes,
        )

    return make


@pytest.fixture
def entrants(entrant):
    """Found 9/10 right on the cleaned rows, top 7/10, bottom 2/10, full 10/10, scratch 1/10."""
    return [
        entrant("found", "4:0,2", (0,), 0.81),
        entrant("top", "4:0-1", (1, 2, 3), 0.61),
        entrant("bottom", "4:2-3", range(8), 0.51),
        entrant("full", "4:0-3", (), 0.91),
        entrant("scratch", "4:0-1", range(9), 0.31, start="random", model="scratch@0"),
    ]


@pytest.fixture
def compare(split, conditions, tmp_path):
    """Compare entrants; their records go to `r.jsonl` in the test's folder."""
    usual = {"test": split, "conditions": conditions, "path": tmp_path / "r.jsonl"}

    def compare(entrants, seeds=(7, 8), **changes):
        return compare_entrants(entrants, seeds, **usual | changes)

    return compare


@pytest.fixture
def comparison(entrants, split, conditions, tmp_path):
    return compare_entrants(entrants, (7, 8), split, conditions, tmp_path / "records.jsonl")


@pytest.fixture
def setting():
    return StudyMetadata(
        model="demo",
        commit="abc",
        task="demo",
        labels=("sport", "health", "auto"),
        metric="accuracy",
        depth=4,
        keep=2,
        quick=QUICK,
        full=FULL,
        cleaned=(
            CleaningReport("train", 101, 1, 2, 3, 0, 95),
            CleaningReport("validation", 40, 0, 0, 4, 5, 31),
            CleaningReport("test", 13, 0, 1, 2, 0, 10),
        ),
        fingerprints={"train+validation": "f1", "test": "f2"},
        versions={"torch": "2.13.0"},
        device="cpu, 2 threads",
        command="autoprune search --model demo --task demo --keep 2",
        finished="2025-01-01T00:00:00+00:00",
    )


@pytest.fixture
def finished_study(setting, comparison, split, trial):
    """A study of two seeds for each layout of 4 layers, one of them stopped and one failed."""
    qualities = {"4:0-1": 0.61, "4:0,2": 0.81, "4:0,3": 0.7, "4:1-2": 0.5, "4:1,3": 0.55}
    trials = [
        *(trial(text, quality) for text, quality in qualities.items()),
        *(trial(text, quality + 0.01, seed=2) for text, quality in qualities.items()),
        trial("4:2-3", 0.4, origin="bottom"),
        trial("4:2-3", 0.41, seed=2, state="pruned"),
        trial("4:2-3", None, seed=3, state="failed", reason="loss is not a number"),
    ]
    return FinishedStudy(
        name="demo-demo-keep2",
        folder=Path("studies/demo-demo-keep2"),
        setting=setting,
        trials=tuple(trials),
        comparison=comparison,
        test=split,
        texts=True,
        found=Layout.parse("4:0,2"),
        mean=0.8,
        std=0.02,
        config={},
    )


LOGITS = {
    "single_label_classification": lambda predicted: np.eye(3)[predicted],
    "multi_label_classification": lambda predicted: 2.0 * predicted - 1,
    "regression": lambda predicted: predicted[:, None],
    "token_classification": lambda predicted: np.eye(len(TAGS))[np.maximum(predicted, 0)],
}
"""Logits that are predicted as the given labels."""


def study_by(kind, metric, folder, found=0.3):
    """Return a finished study of a problem type by a metric, with all that a report can show.

    The layout found has the share `found` of the rows wrong, top 0.5.
    """
    problem_type, rows = PROBLEM_TYPES[kind], 40
    labels, _ = make_labels(kind, rows)
    names = {"regression": ("score",), "token_classification": TAGS}.get(kind, tuple("abcd"))

    def score(share, seed, split="validation"):
        other, wrong = make_labels(kind, rows, 9)[1], np.random.default_rng(seed).random(rows)
        if kind == "token_classification":  # as many words as the labels have
            other = (labels + 1) % len(TAGS)
        predicted = np.where((wrong < share).reshape(-1, *[1] * (labels.ndim - 1)), other, labels)
        logits = LOGITS[kind](predicted).astype(np.float32)
        return logits, problem_type.score(logits, labels, metric, split, seed, 2.5)

    def entrant(origin, layout, share):
        def run(seed, _):
            logits, validation = score(share, seed)
            return lambda: EntrantRun(validation, logits)

        return Entrant(origin, Layout.parse(layout), "pretrained", "m@1", 7000, FULL, run, run)

    def simple(origin, share):
        logits, validation = score(share, 5)
        predicted = problem_type.predict(logits)
        if problem_type.by_word:
            predicted = np.where(labels == NO_WORD, NO_WORD, predicted)
        answers = _plain(predicted)
        return SimpleModel(origin, "always answers 'a'", validation.quality, answers, 9, 0.1)

    cleaned = tuple(
        CleaningReport(name, rows, 0, 0, 2, 0, rows - 2) for name in ("train", "validation", "test")
    )
    texts = LabelledRows(("t",) * rows, _plain(labels), by_word=problem_type.by_word)
    test = TestSplit(texts, (True,) * (rows - 2) + (False,) * 2, cleaned[2], "f2")
    conditions = MeasurementConditions("own", metric, {"rows": "f"}, {}, "cpu", problem_type.name)
    comparison = compare_entrants(
        [
            entrant("found", "4:0,2", found),
            entrant("top", "4:0-1", 0.5),
            entrant("full", "4:0-3", 0.1),
            entrant("scratch", "2:0-1", 0.8),
        ],
        (1, 2, 3),
        test,
        conditions,
        folder / "records.jsonl",
        simple=lambda: [simple("majority", 0.9), simple("tf-idf", 0.2)],
    )
    trials = tuple(
        Record(
            *("search", "gp", layout, "pretrained", "m@1", "own", metric, QUICK, seed),
            *((score(0.1 * (2 + number), seed)[1],), 1000, {"rows": "f"}, {}, "cpu", "2025-01-01"),
        )
        for seed in (1, 2)
        for number, layout in enumerate(all_layouts(4, 2))
    )
    setting = StudyMetadata(
        *("m", "1", "own", names, metric, 4, 2, QUICK, FULL, cleaned, {"rows": "f"}, {}),
        *("cpu", "autoprune search", "2025-01-01T00:00:00+00:00"),
        problem_type=kind,
    )
    layout = Layout.parse("4:0,2")
    return FinishedStudy(
        "s", Path("s"), setting, trials, comparison, test, False, layout, 0.8, 0.02, {}
    )


def _plain(labels):
    """Return labels as a split has them: numbers, or a tuple for each row."""
    if labels.ndim == 1:
        return tuple(labels.tolist())
    return tuple(tuple(row[row != NO_WORD].tolist()) for row in labels)


@pytest.fixture
def costs():
    """What the models of `finished_study` cost, with a rival, and an alarm."""

    def model(name, layout, milliseconds, peak):
        return MeasuredCost(
            name=name,
            layout=Layout.parse(layout),
            parameters=1_234_567,
            embeddings=234_567,
            bytes=12_500_000,
            peak_bytes=peak,
            latency=MedianInterval(milliseconds / 1000, milliseconds / 1100, milliseconds / 900),
            throughput=MedianInterval(
                4560 / milliseconds, 4000 / milliseconds, 5000 / milliseconds
            ),
            gain=MedianInterval(8 / milliseconds, 7 / milliseconds, 9 / milliseconds),
            flops=1.5e9,
        )

    return Costs(
        measured="2025-02-03T00:00:00+00:00",
        device="cpu, 2 threads, fp32",
        versions={"torch": "2.13"},
        batch=32,
        rounds=15,
        tokens=64,
        models=(
            model("full", "4:0-3", 8.0, 30_400_000),
            model("found", "4:0,2", 4.0, 20_400_000),
            model("small <b>|", "2:0-1", 3.0, None),
        ),
        alarms=("Little gain: 1.20 times.",),
        notes=("found is ●○●○ 4:0,2.",),
    )
