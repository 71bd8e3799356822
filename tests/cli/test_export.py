"""The export command: a folder that plain transformers loads, or a refusal without any file."""

import json
import re
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from autoprune.errors import ModelError, RemoteCodeError
from autoprune.evaluation.study_files import read_study
from autoprune.export import reload
from autoprune.export.export import save_model
from autoprune.export.formats import MODEL_FORMATS, predict_rows
from autoprune.export.gate import GateResult
from autoprune.export.verify import verify_export
from autoprune.tasks.task import LabelledRows

NAME = "tiny-own-keep2"
STUDY = Path("studies") / NAME
LABELS = ["खेळ", "देश", "राज्य"]


@pytest.fixture
def copy(copy):
    """Leave out the simple models: the tiny model learns nothing, and would be refused."""
    path = STUDY / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"simple": []}))
    return copy


@pytest.fixture
def reload_here(monkeypatch):
    """Reload in this process: a fresh one takes seconds, and has tests of its own."""
    monkeypatch.setattr(
        "autoprune.export.export.verify_export", partial(verify_export, reload=reload.reload_logits)
    )


def files_below(folder="."):
    return {path for path in Path(folder).rglob("*") if path.suffix not in (".lock", ".guard")}


def test_export_writes_a_model_that_transformers_loads(run, copy):
    answer = run("export", NAME, "--out", "my/model")
    assert answer.code == 0, answer.err
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in Path("my/model").iterdir()) == [
        *names,
        "tokenizer_config.json",
    ]
    assert [path.name for path in Path("my").iterdir()] == ["model"]

    model, report = AutoModelForSequenceClassification.from_pretrained(
        "my/model", output_loading_info=True
    )
    assert [name for name, keys in report.items() if keys] == []
    assert model.config.num_hidden_layers == 2
    assert sorted(model.config.id2label.values()) == LABELS
    classify = pipeline("text-classification", "my/model")
    assert classify("एक एक दोन एक")[0]["label"] in LABELS
    assert AutoTokenizer.from_pretrained("my/model").is_fast

    [first, verification, target, following] = answer.out.splitlines()
    comparison = read_study(STUDY).comparison
    origin = comparison.recommended
    layout = comparison.row(origin).layout
    assert first.startswith(f"{layout.picture} {layout} ({origin}), seed ")
    assert " on validation, " in first and " on the cleaned test rows, " in first
    assert verification.startswith(
        "Reloaded in a fresh process: 64 rows, largest difference of a logit "
    )
    assert target == "my/model: 0.0 MB, weights 0.0 MB."
    assert "autoprune predict my/model FILE" in following
    starting = [line for line in answer.lines if line.startswith("fine-tuning")]
    assert len(starting) == 1
    assert "on fresh seeds 1006, 1007, 1008: at most 16 steps a run" in starting[0]
    assert [line.split(":")[0] for line in answer.lines[-3:]] == [
        "seed 1006",
        "seed 1007",
        "seed 1008",
    ]
    card = Path("my/model/README.md").read_text(encoding="utf-8")
    assert "autoprune export tiny-own-keep2 --out model" in card
    assert layout.picture in card


def test_export_card_names_no_file_or_folder_of_the_user(run, copy, reload_here, model, task):
    Path("texts of mine.txt").write_text("एक दोन\n" * 30, encoding="utf-8")
    options = ("--seeds", 1, "--trim-vocabulary", "--corpus", Path("texts of mine.txt").absolute())
    folder = Path("deep/in/my-model").absolute()
    answer = run("export", STUDY.absolute(), "--out", folder, *options)
    assert answer.code == 0, answer.err
    card = (folder / "README.md").read_text(encoding="utf-8")
    private = (str(model), str(task), str(Path.cwd()), "texts of mine", "deep", "train.csv")
    assert [name for name in private if name in card] == []
    assert 'pipeline("text-classification", "my-model")' in card
    assert "search --model MODEL_FOLDER --task DATA_FOLDER --keep 2 --trials 6" in card
    assert f"export {NAME} --out my-model --seeds 1 --trim-vocabulary --corpus TEXTS.txt\n" in card
    assert [path for path in folder.glob("*.json") if str(model) in path.read_text()] == []


@pytest.mark.parametrize(
    ("options", "line", "languages"),
    [
        (
            (),
            "language: the card names none, several languages are written in the Devanagari",
            None,
        ),
        (("--language", "MR"), "language: mr, as given", ["mr"]),
        (("--language", "mr, gom"), "language: mr, gom, as given", ["mr", "gom"]),
    ],
)
def test_export_names_the_language_of_the_texts(run, copy, reload_here, options, line, languages):
    answer = run("export", NAME, "--out", "m", "--seeds", 1, *options)
    assert answer.code == 0, answer.err
    assert [found for found in answer.lines if found.startswith(line)] != []
    assert ModelCard.load("m/README.md").data.language == languages


def test_export_takes_the_only_language_of_the_base_model(run, copy, reload_here, model):
    card = model / "README.md"
    card.write_text("---\nlanguage: mr\n---\n")
    try:
        answer = run("export", NAME, "--out", "m", "--seeds", 1)
    finally:
        card.unlink()
    assert "language: mr, guessed: it is the base model's, and the texts are in the" in answer.err
    assert ModelCard.load("m/README.md").data.language == ["mr"]


def test_export_card_shows_the_confusions_of_the_exported_model(run, copy, reload_here):
    answer = run("export", NAME, "--out", "m", "--seeds", 1)
    card = Path("m/README.md").read_text(encoding="utf-8")
    table = card[card.index(r"| true \\ predicted |") :].split("\n\n")[0].splitlines()[2:]
    counts = np.array([[int(cell) for cell in row.split("|")[2:-1]] for row in table])
    kept = np.array(read_study(STUDY).test.kept)
    assert counts.sum() == kept.sum()
    assert f"{100 * counts.trace() / counts.sum():.1f} % on the cleaned test rows" in answer.out


@pytest.mark.parametrize(
    ("layout", "message", "layers"),
    [
        ("top", "●●○○○ 5:0-1 (top)", 2),
        ("alternate", "●○●○○ 5:0,2 (alternate)", 2),
        ("full", "●●●●● 5:0-4 (full)", 5),
        ("5:1,3-4", "○●○●● 5:1,3-4 (given)", 3),
    ],
)
def test_export_takes_other_layouts(run, copy, reload_here, layout, message, layers):
    answer = run("export", NAME, "--out", "model", "--layout", layout, "--seeds", 1)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(message)
    assert json.loads(Path("model/config.json").read_text())["num_hidden_layers"] == layers
    assert message.split()[0] in Path("model/README.md").read_text(encoding="utf-8")


def recommend(origin):
    """Change the records so that `origin` is best on validation, and all others are worse."""
    path = STUDY / "records.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        for score in entry["scores"]:
            score["quality"] = 0.9 if entry["origin"] == origin else 0.1
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_export_takes_the_recommended_layout_and_names_it_beside_another(run, copy, reload_here):
    other = "middle" if str(read_study(STUDY).found) != "5:0,4" else "top"
    recommend(other)
    layout = read_study(STUDY).comparison.row(other).layout
    answer = run("export", NAME, "--out", "found", "--seeds", 1, "--layout", "found")
    [line] = [line for line in answer.lines if "recommends" in line]
    assert line == (
        f"study {NAME} recommends {other} ({layout}), not this: leave --layout out to take it"
    )
    assert "(found)" in answer.out
    answer = run("export", NAME, "--out", "better", "--seeds", 1)
    assert [line for line in answer.lines if "recommends" in line] == []
    assert f"{layout} ({other})" in answer.out


def test_export_twice_gives_the_same_weights(run, copy, reload_here):
    for out in ("one", "two"):
        assert run("export", STUDY, "--out", out, "--seeds", 2).code == 0
    first, second = (load_file(f"{out}/model.safetensors") for out in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.keys() == second.keys()


def test_export_of_a_baseline_takes_the_recommended_layout(run, copy, reload_here):
    entry = json.loads((STUDY / "study.json").read_text())
    STUDY.joinpath("study.json").unlink()
    entrants = [entrant for entrant in entry["entrants"] if entrant["origin"] != "found"]
    whole = {**entry, "choice": None, "entrants": entrants}
    STUDY.joinpath("baseline.json").write_text(json.dumps(whole))
    studied = read_study(STUDY)
    best = studied.comparison.recommended
    answer = run("export", NAME, "--out", "model", "--seeds", 1)
    assert answer.code == 0, answer.err
    assert f"{studied.comparison.row(best).layout} ({best})" in answer.out
    refusal = run("export", NAME, "--out", "other", "--layout", "found")
    assert refusal.code == 2
    assert "is a baseline and has found nothing" in refusal.err


WRONG = {
    "study": (["tiny-own-keep3", "--out", "new"], ["did you mean 'tiny-own-keep2'?"]),
    "unfinished": (["begun", "--out", "new"], ["no finished study in studies/begun"]),
    "layout": ([NAME, "--out", "new", "--layout", "midle"], ["did you mean 'middle'?"]),
    "rival": ([NAME, "--out", "new", "--layout", "scratch"], ["unknown layout 'scratch'"]),
    "syntax": ([NAME, "--out", "new", "--layout", "0-2"], ["written like 12:0-3,8,11"]),
    "depth": ([NAME, "--out", "new", "--layout", "12:0-5"], ["12 layers", "tiny", "has 5"]),
    "full folder": ([NAME, "--out", "studies"], ["studies is not empty"]),
    "file": ([NAME, "--out", "file"], ["file is a file"]),
    "in a file": ([NAME, "--out", "file/new"], ["file is a file"]),
    "here": ([NAME, "--out", "."], [". is the working folder"]),
    "format": ([NAME, "--out", "new", "--format", "onnx,int8"], ["unknown format 'int8'"]),
    "drop": ([NAME, "--out", "new", "--max-quantization-drop", "-1"], ["--max-quantization-drop"]),
    "public": ([NAME, "--out", "new", "--public"], ["--public", "give --push"]),
    "corpus": ([NAME, "--out", "new", "--corpus", "file"], ["give --trim-vocabulary as well"]),
    "push": ([NAME, "--out", "new", "--push", "model"], ["--push takes a hub id", "'model'"]),
    "push up": ([NAME, "--out", "new", "--push", "../x"], ["--push takes a hub id"]),
    "seeds": ([NAME, "--out", "new", "--seeds", "0"], ["--seeds"]),
    "workers": ([NAME, "--out", "new", "--workers", "0"], ["--workers"]),
    "data": ([NAME, "--out", "new", "--data-dir", "nowhere"], ["--data-dir must be a folder"]),
    "no out": ([NAME], ["--out"]),
    "language": ([NAME, "--out", "new", "--language", "marathi"], ["--language takes codes"]),
    "no language": ([NAME, "--out", "new", "--language", ""], ["--language takes codes", "''"]),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_export_reports_wrong_input_in_one_line_and_writes_nothing(run, copy, arguments, words):
    Path("file").touch()
    Path("studies/begun").mkdir()
    shutil.copy(STUDY / "journal.log", "studies/begun")
    before = files_below()
    answer = run("export", *arguments)
    assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
    assert [word for word in words if word not in answer.lines[0]] == []
    assert files_below() == before


def test_export_finds_a_file_of_the_tokenizer_before_training(run, copy, monkeypatch):
    monkeypatch.setattr("autoprune.export.verify.ALLOWED_FILES", ("tokenizer_config.json",))
    monkeypatch.setattr("autoprune.export.export.train_best", lambda *_: 1 / 0)
    answer = run("export", NAME, "--out", "new")
    assert answer.code == 2 and not Path("new").exists()
    assert "the tokenizer of tiny needs tokenizer.json, a file that an export" in answer.lines[-1]


def test_export_finds_a_folder_that_cannot_be_made_before_training(run, copy):
    answer = run("export", NAME, "--out", "/proc/new/model")  # not even root may
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert "cannot make /proc/new/model: nothing can be written in /" in answer.err


@pytest.mark.parametrize(
    ("options", "target", "error", "message"),
    [
        (
            ["--trim-vocabulary"],
            "export.export.check_trimmable",
            ModelError("none"),
            "none",
        ),
        (["--format", "onnx"], "export.export._MAX_ONNX_PARAMETERS", None, "at most 2 GB"),
        (
            [],
            "experiment.study_export.reload_experiment",
            RemoteCodeError("it runs code"),
            "must load without any",
        ),
    ],
)
def test_export_refuses_the_impossible_before_training(
    run, copy, monkeypatch, options, target, error, message
):
    def refuse(*_):
        raise error

    monkeypatch.setattr(f"autoprune.{target}", refuse if error else 10)
    monkeypatch.setattr("autoprune.export.export._fine_tune", lambda *_: pytest.fail("trained"))
    answer = run("export", NAME, "--out", "made", *options)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not Path("made").exists()


def test_export_refuses_changed_data(run, copy):
    entry = json.loads((STUDY / "study.json").read_text())
    entry["config"]["data"]["keep_duplicates"] = True
    (STUDY / "study.json").write_text(json.dumps(entry))
    answer = run("export", NAME, "--out", "new")
    assert answer.code == 2
    assert "are not those that study" in answer.lines[-1]
    assert not Path("new").exists()


def test_export_that_fails_verification_leaves_nothing(run, copy, reload_here, monkeypatch):
    def spoiled(model, tokenizer, folder):
        model.classifier.bias.data[0] += 0.5
        save_model(model, tokenizer, folder)

    monkeypatch.setattr("autoprune.export.export.save_model", spoiled)
    before = files_below()
    answer = run("export", NAME, "--out", "new/model", "--seeds", 1)
    assert (answer.code, answer.out) == (2, "")
    assert "so it is not kept: a logit of row " in answer.lines[-1]
    assert "differs by 0.5" in answer.lines[-1]
    assert files_below() == before


@pytest.mark.slow
def test_export_interrupted_leaves_nothing(start, copy):
    before = files_below()
    with start("export", NAME, "--out", "new/model", "--seeds", 40, folder=".") as process:
        for line in process.stderr:
            if line.startswith("seed 1007"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip().endswith(
        "stopped: nothing was written to new/model; the same command begins again"
    )
    assert files_below() == before


def test_export_trims_the_vocabulary(run, copy, reload_here, tmp_path):
    Path("corpus.txt").write_text("एक दोन दहा\n" * 30, encoding="utf-8")
    run("export", NAME, "--out", "whole", "--seeds", 1)
    options = ("--seeds", 1, "--trim-vocabulary", "--corpus", "corpus.txt")
    answer = run("export", NAME, "--out", "cut", *options)
    assert answer.code == 0, answer.err
    whole, cut = (AutoTokenizer.from_pretrained(out) for out in ("whole", "cut"))
    assert len(cut) <= len(whole)
    assert "Vocabulary cut from 15 to " in answer.out
    assert "3 lines of the corpus left out for it" in answer.out


TEXTS = ("एक दोन एक", "तीन", "सात नऊ दहा")


@pytest.fixture(scope="module")
def all_formats(run, searched, tmp_path_factory):
    """Export the study's layout once in all formats; return the folder and the answer."""
    folder = tmp_path_factory.mktemp("formats")
    shutil.copytree(searched.folder, folder, dirs_exist_ok=True)
    formats = ("--format", ",".join(MODEL_FORMATS), "--max-quantization-drop", 100)
    options = ("--seeds", 1, "--trim-vocabulary", "--force", *formats)
    answer = run("export", NAME, "--out", "model", *options, folder=folder)
    assert answer.code == 0, answer.err
    return folder / "model", answer


@pytest.mark.slow
def test_export_in_all_formats_has_the_names_that_runtimes_look_for(all_formats):
    folder, answer = all_formats
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert names == [
        "README.md",
        "config.json",
        "model.safetensors",
        "onnx/model.onnx",
        "onnx/model_fp16.onnx",
        "onnx/model_quantized.onnx",
        "openvino/openvino_model.bin",
        "openvino/openvino_model.xml",
        "openvino/openvino_model_qint8_quantized.bin",
        "openvino/openvino_model_qint8_quantized.xml",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    lines = [line for line in answer.out.splitlines() if "on the cleaned test rows" in line]
    files = [format.file for format in MODEL_FORMATS.values()][1:]
    assert [line.split(":")[0] for line in lines[1:]] == files
    exact = [line for line in lines if "of torch's in a new process; accuracy" in line]
    assert [line.split(":")[0] for line in exact] == [files[0], files[3]]
    assert sum("on validation (95 % interval " in line for line in lines) == 3
    [chosen] = [line for line in lines if "(chosen on validation among 5 ways)" in line]
    assert "MB, dynamic, a scale per column, 7 bits (chosen" in chosen
    # Text Embeddings Inference takes onnx/model.onnx, Infinity an .onnx with "quantize" in it.
    assert [name for name in names if "quantize" in name and name.endswith(".onnx")] == [names[5]]
    config = json.loads((folder / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert sorted(config["id2label"].values()) == LABELS
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "local_files_only" not in config


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_FORMATS)
def test_export_in_each_format_gives_the_same_probabilities(run, all_formats, tmp_path, name):
    folder, _ = all_formats
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    rows = run("predict", folder, texts, "--format", "jsonl").out.splitlines()
    shares = np.array([list(json.loads(row)["probabilities"].values()) for row in rows])
    format = MODEL_FORMATS[name]
    rows = LabelledRows(TEXTS, (0,) * len(TEXTS))
    powers = np.exp(predict_rows(format.opener(folder / format.file), folder, rows))
    gap = np.abs(powers / powers.sum(-1, keepdims=True) - shares).max()
    assert gap < (0.02 if format.quantized else 1e-5)
    assert shares.std() > 0.01


@pytest.mark.slow
def test_export_card_has_a_snippet_for_each_format_that_runs(all_formats, tmp_path, monkeypatch):
    folder, _ = all_formats
    monkeypatch.chdir(folder.parent)
    card = (folder / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    assert len(snippets) == len(MODEL_FORMATS)
    logits = []
    for snippet in snippets:
        *lines, last = snippet.splitlines()
        values = {}
        exec("\n".join([*lines, last if " = " in last else f"answer = {last}"]), values)
        if "logits" in values:
            logits.append(values["logits"])
        else:
            assert values["answer"][0]["label"] in LABELS
    assert all(np.abs(each - logits[0]).max() < 0.05 for each in logits)
    assert [size.shape for size in logits] == [(1, 3)] * 5
    assert card.count("```js") == 3


def test_export_without_transformers_has_no_weights_of_torch(run, copy, reload_here, monkeypatch):
    def add(folder, names, rows):
        return GateResult({"onnx-int8": "small"}, ("onnx is refused: it is worse",))

    monkeypatch.setattr("autoprune.export.export.add_formats", add)
    opened = replace(MODEL_FORMATS["onnx-int8"], opener=lambda _: lambda tokens: np.eye(3)[:1])
    monkeypatch.setitem(MODEL_FORMATS, "onnx-int8", opened)
    monkeypatch.setattr(
        "autoprune.export.export.predict_rows", lambda _, folder, rows: np.zeros((len(rows), 3))
    )
    answer = run("export", NAME, "--out", "m", "--seeds", 1, "--format", "onnx,onnx-int8")
    assert (answer.code, answer.lines[-1]) == (2, "onnx is refused: it is worse")
    assert "small; accuracy on the cleaned test rows" in answer.out
    assert not list(Path("m").glob("*.safetensors"))
    card = Path("m/README.md").read_text(encoding="utf-8")
    assert "onnx/model_quantized.onnx" in card
    assert "onnx/model.onnx" not in card


def test_export_keeps_its_weights_where_every_format_is_refused(
    run, copy, reload_here, monkeypatch
):
    def add(folder, names, rows):
        return GateResult({}, ("onnx is refused: it is worse",))

    monkeypatch.setattr("autoprune.export.export.add_formats", add)
    monkeypatch.setattr("autoprune.export.push_to_hub.check_push_target", lambda *_: None)
    monkeypatch.setattr("autoprune.export.push_to_hub.push_model", lambda *_: 1 / 0)
    options = ("--seeds", 1, "--format", "onnx", "--push", "org/my-model")
    answer = run("export", NAME, "--out", "m", *options)
    assert answer.code == 2
    assert answer.lines[-2:] == [
        "onnx is refused: it is worse",
        "nothing is uploaded to org/my-model: export again without what is refused",
    ]
    assert "The weights of transformers are kept" in answer.out
    assert Path("m/model.safetensors").is_file()
    card = Path("m/README.md").read_text(encoding="utf-8")
    assert 'transformers.pipeline("text-classification"' in card


def test_export_pushes_to_the_hub(run, copy, reload_here, monkeypatch):
    seen = []

    def push(folder, name, private):
        seen.append((str(folder), name, private, Path(folder, "config.json").exists()))
        return f"https://hub/{name}"

    monkeypatch.setattr("autoprune.export.push_to_hub.push_model", push)
    monkeypatch.setattr("autoprune.export.push_to_hub.check_push_target", lambda *_: None)
    options = ("--seeds", 1, "--push", "org/my-model")
    assert "Pushed to https://hub/org/my-model" in run("export", NAME, "--out", "a", *options).out
    run("export", NAME, "--out", "b", *options, "--public")
    assert seen == [("a", "org/my-model", True, True), ("b", "org/my-model", False, True)]
    assert '"org/my-model"' in Path("a/README.md").read_text(encoding="utf-8")
