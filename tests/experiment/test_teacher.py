"""Teacher of a study: trained once, stored with the study, and refused where it cannot teach."""

import json
import re
import shutil

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.setup import build_experiment
from autoprune.tasks.task import CleaningReport, LabelledRows, Splits, TestSplit
from autoprune.tasks.text_lines import read_unlabelled
from tiny_models import NUMBERS

SHORT = ("--keep", 2, "--epochs", 1, "--full-epochs", 1, "--seeds", 2, "--strategy", "top")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return a file of texts without labels, of which one is repeated."""
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    lines = [f"एक दोन {number} तीन" for number in ("चार", "पाच", "सहा", "सात", "आठ")]
    path.write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def study(run, model, task, texts, tmp_path_factory):
    """Return the folder of a distilled search, and what it printed."""
    folder = tmp_path_factory.mktemp("distilled")
    options = ("--distill", "logits", "--unlabelled", texts, "--study", "d", "--trials", 3)
    arguments = ("search", "--model", model, "--task", task, *SHORT, *options, "--json")
    answer = run(*arguments, folder=folder)
    assert answer.code == 0, answer.err
    return folder, answer, arguments


def records_of(folder):
    lines = (folder / "studies/d/records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_study_says_what_it_distilled(study):
    folder, answer, _ = study
    found = answer.result["distillation"]
    assert found["kind"] == "logits"
    assert re.fullmatch(r"full tiny@sha256:\w+, seeds 1 2", found["teacher"])
    assert found["unlabelled"] == 5
    assert "5 of 6 texts" in answer.err
    assert "1 are repeated" in answer.err
    report = (folder / "reports/d.md").read_text()
    assert "learn the logits of the full model (mean of 2 seeds)" in report


def test_all_but_the_full_model_are_distilled_and_for_longer(study):
    folder, _, _ = study
    for record in records_of(folder):
        distillation = record["budget"].get("distillation")
        assert (distillation is None) == (record["origin"] == "full")
        if record["phase"] == "search":
            assert distillation["unlabelled"] == ""
    by_origin = {r["origin"]: r["budget"] for r in records_of(folder) if r["phase"] != "search"}
    pruned = by_origin.get("top") or by_origin["found"]
    assert by_origin["scratch"]["distillation"] == pruned["distillation"]
    assert pruned["head"] == by_origin["full"]["head"] == "fitted"
    assert "head" not in by_origin["scratch"]  # the states of random weights tell nothing
    assert pruned["steps"] == 4 * by_origin["full"]["steps"]
    assert pruned["checks"] == by_origin["full"]["checks"]


def test_finished_study_is_repeated_without_training(run, study):
    folder, answer, arguments = study
    before = (folder / "studies/d/records.jsonl").read_bytes()
    again = run(*arguments, folder=folder)
    assert again.code == 0, again.err
    assert again.result["comparison"] == answer.result["comparison"]
    assert (folder / "studies/d/records.jsonl").read_bytes() == before


def test_lost_teacher_is_trained_again_to_the_same_bits(run, study, tmp_path):
    folder, _, arguments = study
    shutil.copytree(folder / "studies", tmp_path / "studies")
    lost = tmp_path / "studies/d/teacher/seed-2.safetensors"
    before = load_file(lost)["logits"]
    lost.unlink()
    again = run(*arguments, folder=tmp_path)
    assert again.code == 0, again.err
    assert (load_file(lost)["logits"] == before).all()
    assert (tmp_path / "studies/d/records.jsonl").read_bytes() == (
        folder / "studies/d/records.jsonl"
    ).read_bytes()


@pytest.mark.parametrize("damage", [lambda array: array[:-1], lambda array: array * np.nan])
def test_damaged_teacher_is_trained_again(run, study, tmp_path, damage):
    folder, _, arguments = study
    shutil.copytree(folder / "studies", tmp_path / "studies")
    path = tmp_path / "studies/d/teacher/seed-1.safetensors"
    with safe_open(path, "np") as file:
        arrays, metadata = {"logits": file.get_tensor("logits")}, file.metadata()
    save_file({"logits": damage(arrays["logits"]).copy()}, path, metadata)
    again = run(*arguments, folder=tmp_path)
    assert again.code == 0, again.err
    assert (load_file(path)["logits"] == arrays["logits"]).all()


def test_export_is_distilled_too_and_needs_the_teacher(run, study, tmp_path):
    folder, _, _ = study
    shutil.copytree(folder / "studies", tmp_path / "studies")
    done = run("export", "d", "--out", "out", "--seeds", 1, "--force", folder=tmp_path)
    assert done.code == 0, done.err
    assert "distilled" in (tmp_path / "out/README.md").read_text()
    shutil.rmtree(tmp_path / "studies/d/teacher")
    refused = run("export", "d", "--out", "other", "--seeds", 1, "--force", folder=tmp_path)
    assert refused.code == 2
    assert "lacks what the teacher of this study says" in refused.err


def test_worker_needs_the_teacher(run, study, tmp_path):
    folder, _, _ = study
    shutil.copytree(folder / "studies", tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies/d/teacher")
    refused = run("worker", "d", folder=tmp_path)
    assert refused.code == 2
    assert "lacks what the teacher of this study says" in refused.err


@pytest.mark.slow
def test_worker_finds_unlabelled_texts_that_moved(run, study, texts, model, task, tmp_path):
    for path, name in ((model, "model"), (task, "own")):
        shutil.copytree(path, tmp_path / name)
    shutil.copy(texts, tmp_path / "old.txt")
    options = ("--distill", "logits", "--unlabelled", "old.txt", "--study", "d", "--trials", 2)
    begun = run("search", "--model", "model", "--task", "own", *SHORT, *options, folder=tmp_path)
    assert begun.code == 0, begun.err
    (tmp_path / "old.txt").rename(tmp_path / "new.txt")
    assert "old.txt" in run("worker", "d", folder=tmp_path).refusal()
    moved = run("worker", "d", "--unlabelled", "new.txt", folder=tmp_path)
    assert moved.code == 0, moved.err
    assert moved.lines[-1] == "study d: 2 of 2 trials finished"
    # another folder: what the command named is found where the study lies
    (tmp_path / "new.txt").rename(tmp_path / "old.txt")
    (tmp_path / "elsewhere").mkdir()
    exported = run(
        "export",
        "../studies/d",
        "--out",
        "m",
        "--seeds",
        1,
        "--force",
        folder=tmp_path / "elsewhere",
    )
    assert exported.code == 0, exported.err


@pytest.fixture(scope="module")
def classifier(run, study):
    """Return the folder of an exported model, which can teach."""
    folder, _, _ = study
    done = run(
        "export", "d", "--layout", "full", "--out", "t", "--seeds", 1, "--force", folder=folder
    )
    assert done.code == 0, done.err
    return folder / "t"


def test_classifier_of_the_user_teaches(run, model, task, classifier, tmp_path):
    options = ("--distill", "hidden", "--teacher", classifier, "--study", "d", "--json")
    answer = run("baseline", "--model", model, "--task", task, *SHORT, *options, folder=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.result["distillation"]["teacher"].startswith("t@sha256:")
    assert (tmp_path / "studies/d/teacher/given.safetensors").is_file()


def test_teacher_of_numbers_may_have_any_name_for_its_output(run, model, write, tmp_path):
    rows = [(" ".join(NUMBERS[i % 7 : i % 11 + 8]), i / 4) for i in range(77)]
    write(tmp_path / "own.csv", rows, header=("text", "score"))
    number = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=1, problem_type="regression"
    )
    number.save_pretrained(tmp_path / "t")
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "t")
    options = ("--distill", "logits", "--teacher", tmp_path / "t", "--study", "d")
    answer = run(
        "baseline", "--model", model, "--task", "own.csv", *SHORT, *options, folder=tmp_path
    )
    assert answer.code == 0, answer.err


def test_classifier_of_other_labels_is_refused(run, model, classifier, write, tmp_path):
    rows = [(f"एक दोन {word}", label) for word, label in zip("अआइईउऊएऐ", "xyxyxyxy", strict=True)]
    write(tmp_path / "own/train.csv", rows * 2)
    options = ("--distill", "logits", "--teacher", classifier)
    answer = run("baseline", "--model", model, "--task", "own", *SHORT, *options, folder=tmp_path)
    assert answer.code == 2
    assert "--teacher must have the 2 labels of the task, t lacks 'x', 'y' and has " in answer.err
    assert not (tmp_path / "studies").exists()


@pytest.mark.slow
def test_classifier_without_the_states_to_learn_is_refused_before_the_study(
    run, model, task, study, tmp_path
):
    folder, _, _ = study
    small = ("export", "d", "--layout", "top", "--out", tmp_path / "t2", "--seeds", 1, "--force")
    assert run(*small, folder=folder).code == 0
    options = ("--distill", "hidden", "--teacher", tmp_path / "t2")
    answer = run("baseline", "--model", model, "--task", task, *SHORT, *options, folder=tmp_path)
    assert "t2 has 2 and 16: give --distill logits" in answer.refusal()
    assert not (tmp_path / "studies").exists()


def test_other_distillation_is_named_by_its_options(run, study):
    folder, _, arguments = study
    other = run(*arguments, "--temperature", 4, folder=folder).refusal()
    assert "study d was begun with distillation logits of full tiny@sha256:" in other
    assert re.search(r"temperature 2, .*, got logits of full .* temperature 4, weight 0.7", other)


def test_teachers_of_other_models_or_rates_are_told_apart(model, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deeper = shutil.copytree(model, tmp_path / "deeper")

    def teacher(**options):
        values = {"model": str(model), "task": str(task), "keep": 2, "distill": "logits"} | options
        found = build_experiment(StudyConfig.from_options(**values), RunOptions()).distillation
        return found.teacher

    texts = [teacher(), teacher(model=str(deeper)), teacher(seeds=2)]
    texts.append(teacher(learning_rates=(1e-3, 1e-2)))
    assert len({*texts}) == len(texts)
    assert texts[0] == teacher()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--unlabelled", "none.txt"), "--unlabelled is for distillation"),
        (("--temperature", 3), "--temperature is for distillation"),
        (("--distill", "logits", "--temperature", 0), "temperatures must be"),
        (("--distill", "logits", "--temperature", "hot"), "--temperature takes a number"),
        (("--distill", "logits", "--distill-weight", 2), "distill_weights must be"),
        (("--distill", "logits", "--unlabelled", "none.txt"), "none.txt cannot be read"),
        (("--distill", "hidden", "--method", "head"), "--method head trains none"),
        (("--distill", "logit"), "did you mean 'logits'?"),
        (("--distill", "logits", "--teacher", "nobody"), "unknown model"),
        (("--head", "fit"), "did you mean 'fitted'?"),
    ],
)
def test_wrong_option_is_one_line(run, model, task, tmp_path, options, words):
    answer = run("baseline", "--model", model, "--task", task, *SHORT, *options, folder=tmp_path)
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1
    assert words in answer.err
    assert not (tmp_path / "studies").exists()


def test_rows_of_words_are_known_whatever_is_between_the_words(tmp_path):
    def rows(*texts):
        return LabelledRows(texts, tuple((0,) * len(text.split()) for text in texts), by_word=True)

    splits = Splits(("O",), rows("एक दोन"), rows("तीन चार"), (), "f")
    test = TestSplit(rows("पाच सहा"), (True,), CleaningReport("test", 1, 0, 0, 0, 0, 1), "f")
    path = tmp_path / "texts.txt"
    path.write_text("तीन  चार\nपाच\tसहा\nसात  आठ\n", encoding="utf-8")
    assert read_unlabelled(path, splits, test).texts == ("सात आठ",)


def test_rows_are_known_without_their_line_breaks(tmp_path):
    def rows(*texts):
        return LabelledRows(texts, (0,) * len(texts))

    splits = Splits(("a",), rows("एक\nदोन"), rows("तीन  चार"), (), "f")
    test = TestSplit(rows("पाच\r\nसहा"), (True,), CleaningReport("test", 1, 0, 0, 0, 0, 1), "f")
    path = tmp_path / "texts.txt"
    path.write_text("एक दोन\nतीन चार\nपाच सहा\nसात  आठ\n", encoding="utf-8")
    assert read_unlabelled(path, splits, test).texts == ("सात  आठ",)


def test_texts_of_the_task_are_not_learned_without_labels(run, model, task, tmp_path):
    source = next(path for path in sorted(task.rglob("*test*.csv")))
    lines = source.read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.rpartition(",")[0].strip('"') for line in lines]
    (tmp_path / "own.txt").write_text("\n".join(texts), encoding="utf-8")
    options = ("--distill", "logits", "--unlabelled", "own.txt")
    answer = run("baseline", "--model", model, "--task", task, *SHORT, *options, folder=tmp_path)
    assert answer.code == 2
    assert "has no text that is not a row of the task" in answer.err


def test_each_entrant_takes_the_best_temperature_on_validation(run, model, task, tmp_path):
    options = ("--distill", "logits", "--temperature", "1,4", "--study", "d", "--json")
    arguments = ("baseline", "--model", model, "--task", task, *SHORT, *options)
    answer = run(*arguments, folder=tmp_path)
    assert answer.code == 0, answer.err
    records = records_of(tmp_path)
    tried = {
        record["budget"]["distillation"]["temperature"]: record["scores"][0]["quality"]
        for record in records
        if record["phase"] == "tuning" and record["origin"] == "top"
    }
    assert set(tried) == {1.0, 4.0}
    chosen = next(r for r in records if r["phase"] == "comparison" and r["origin"] == "top")
    assert tried[chosen["budget"]["distillation"]["temperature"]] == max(tried.values())


@pytest.mark.slow
def test_worker_processes_give_the_same_scores(run, model, task, tmp_path):
    options = ("--distill", "hidden", "--study", "d", "--json")
    arguments = ("baseline", "--model", model, "--task", task, *SHORT, *options)
    tables = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        answer = run(*arguments, "--workers", workers, folder=folder)
        assert answer.code == 0, answer.err
        tables.append([row["test_mean"] for row in answer.result["comparison"]])
    assert tables[0] == tables[1]
