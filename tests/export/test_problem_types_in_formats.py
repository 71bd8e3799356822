"""Every problem type in every format: it answers as in torch, by the card's code and elsewhere.

Text Embeddings Inference and Infinity cannot be installed here: their rules for files, config and
inputs are followed line by line (backends/ort/src/lib.rs and router/src/lib.rs of the one,
transformer/utils_optimum.py of the other).
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import onnxruntime
import pytest
import tokenizers
from transformers import pipeline

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.registry import Encoder
from autoprune.export import model_card, reload
from autoprune.export.export import save_model
from autoprune.export.formats import MODEL_FORMATS, open_format
from autoprune.export.gate import GateRows, add_formats
from autoprune.tasks.task import LabelledRows
from autoprune.training.metrics import NO_WORD
from autoprune.training.problem_types import PROBLEM_TYPES
from tiny_models import NUMBERS, jitter_
from tiny_models import save_model as save_encoder

NAMES = {
    "single_label_classification": ("a", "b", "c"),
    "multi_label_classification": ("a", "b", "c"),
    "regression": ("score",),
    "token_classification": ("O", "B-X", "I-X", "B-Y", "I-Y"),
}
TEXTS = tuple(" ".join(NUMBERS[row % 6 : row % 6 + 1 + row % 4]) for row in range(24))
PAIRED = "regression"  # it has two texts here
FORMATS = [name for name in MODEL_FORMATS if name != "transformers"]
SLOW = {*NAMES} - {"token_classification"}  # like that one


def _labels(kind, rng):
    if kind == "regression":
        return rng.normal(size=len(TEXTS))
    if kind == "token_classification":
        words = np.array([len(text.split()) for text in TEXTS])
        tags = rng.integers(5, size=(len(TEXTS), words.max()))
        return np.where(np.arange(words.max()) < words[:, None], tags, NO_WORD)
    shape = (len(TEXTS), 3) if kind == "multi_label_classification" else len(TEXTS)
    return rng.integers(2 if kind == "multi_label_classification" else 3, size=shape)


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in NAMES],
)
def exported(request, tmp_path_factory):
    """Return the folder of a tiny model in all formats, its kind, texts and second texts."""
    kind = request.param
    place = tmp_path_factory.mktemp("kinds")
    folder = save_encoder("bert", place / "encoder", num_hidden_layers=2)
    checkpoint = read_checkpoint(Encoder("encoder", str(folder)), folder)
    model, tokenizer = load_classifier(checkpoint, NAMES[kind], 0, kind), load_tokenizer(checkpoint)
    jitter_(model, 0.2)
    tokenizer.model_max_length = 12
    save_model(model, tokenizer, place / "model")
    pairs = TEXTS[::-1] if kind == PAIRED else None
    problem_type = PROBLEM_TYPES[kind]
    rows = LabelledRows(TEXTS, (0,) * len(TEXTS), pairs, problem_type.by_word)
    labels = _labels(kind, np.random.default_rng(0))
    measured = GateRows(rows, rows, rows, labels, problem_type, problem_type.metrics[0], 1000)
    result = add_formats(
        place / "model", FORMATS, measured, lambda each: reload.format_logits(**each)
    )
    assert (list(result.notes), result.refused) == (FORMATS, ())
    return SimpleNamespace(folder=place / "model", kind=kind, pairs=pairs)


def shares(predictor, texts, pairs):
    """Return the probabilities of texts, or of their tokens, or their numbers."""
    logits = predictor.classifier(predictor.tokenize(texts, pairs))
    return predictor.problem_type.probabilities(logits)


@pytest.mark.parametrize("name", FORMATS)
def test_problem_type_in_a_format_answers_as_in_torch(exported, name):
    part = (TEXTS[:9], exported.pairs and exported.pairs[:9])
    torchs, found = (open_format(exported.folder, each)[0] for each in ("transformers", name))
    wanted = shares(torchs, *part)
    gaps = np.abs(shares(found, *part) - wanted)
    if MODEL_FORMATS[name].quantized:  # they are small beside what tells the rows apart
        assert gaps.mean() < wanted.std(axis=0).max() / 3
    else:
        assert gaps.max() < 1e-5
    rows = list(zip(TEXTS[:9], exported.pairs or [None] * 9, strict=False))
    if not MODEL_FORMATS[name].quantized:
        for one, other in zip(found(rows, 4), torchs(rows, 4), strict=True):
            if exported.kind == "token_classification":
                assert [each[:4] for each in one] == [each[:4] for each in other]
            else:
                assert one == pytest.approx(other, abs=1e-5)


def snippets(exported, on_hub=False):
    """Return language and code of what the card of the model shows, with a real text."""
    provenance = SimpleNamespace(
        name="org/model" if on_hub else "model",
        on_hub=on_hub,
        formats=tuple(MODEL_FORMATS),
        tokens=12,
        pairs=exported.pairs is not None,
        task=SimpleNamespace(problem_type=exported.kind),
    )
    text = "\n\n".join(model_card._use_section(provenance))
    found = re.findall(r"^```(python|js)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(language, code.replace('"…"', json.dumps(TEXTS[3]))) for language, code in found]


def flat(answer):
    """Return what a pipeline says of one text as a list, which may have another around it."""
    found = answer if isinstance(answer, list) else [answer]
    return found[0] if found and isinstance(found[0], list) else found


def run_python(code):
    """Run a snippet; return its logits, or the value of its last line."""
    *lines, last = code.splitlines()
    values = {}
    exec("\n".join([*lines, last if " = " in last else f"answer = {last}"]), values)
    return values.get("logits", values.get("answer"))


@pytest.mark.parametrize("on_hub", [False, True])
def test_card_code_runs_in_each_format_and_answers_as_predict(exported, on_hub, monkeypatch):
    monkeypatch.chdir(exported.folder.parent)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name: str(exported.folder))
    predictor = open_format(exported.folder, "transformers")[0]
    pair = None if exported.pairs is None else [TEXTS[3]]
    wanted = predictor.classifier(predictor.tokenize([TEXTS[3]], pair))
    [first, *others] = [code for language, code in snippets(exported, on_hub) if language != "js"]
    assert len(others) == len(FORMATS)
    for code in others:
        assert np.abs(run_python(code) - wanted).max() < 0.3
    answer = run_python(first.replace("org/model", "model"))
    [row] = predictor([(TEXTS[3], pair and pair[0])], 1)
    if exported.kind == "token_classification":
        assert [each["entity_group"] for each in answer] == [each.type for each in row]
        return
    scores = flat(answer)
    by_label = dict(zip(predictor.labels, row, strict=True))
    assert len(scores) == (3 if exported.kind == "multi_label_classification" else 1)
    for each in scores:
        assert each["score"] == pytest.approx(by_label[each["label"]], abs=1e-5)
    if exported.kind != "multi_label_classification":
        assert scores[0]["score"] == pytest.approx(max(row), abs=1e-5)


def test_card_has_javascript_where_transformers_js_has_a_pipeline(exported):
    code = [code for language, code in snippets(exported) if language == "js"]
    if exported.kind == "regression":  # it gives 1 for every number
        assert code == []
    else:
        assert len(code) == 3
        task = "token" if exported.kind == "token_classification" else "text"
        assert all(f'pipeline("{task}-classification", "model", {{ dtype' in each for each in code)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory):
    """Install transformers.js from the npm registry; skip the test where that is not possible."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("node")
    # Without scripts: one downloads a library for GPUs.
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "@huggingface/transformers@4"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"transformers.js cannot be installed: {done.stderr[-300:]}")
    return folder / "node_modules"


@pytest.mark.soak  # it needs the npm registry
def test_transformers_js_answers_as_transformers(exported, node_modules):
    above = exported.folder.parent
    code = [code for language, code in snippets(exported) if language == "js"]
    if not code:
        return
    tagged = exported.kind == "token_classification"
    classify = pipeline(
        f"{'token' if tagged else 'text'}-classification",
        str(exported.folder),
        device="cpu",
        **({"aggregation_strategy": "simple"} if tagged else {}),
        **({"top_k": None} if exported.kind == "multi_label_classification" else {}),
    )
    above.joinpath("node_modules").symlink_to(node_modules)
    name = "entity_group" if tagged else "label"
    seen = 0
    for snippet in code:
        *setup, last = snippet.splitlines()
        call = re.fullmatch(r"console\.log\(await (\w+)\((.*)\)\);", last)
        given = call[2].replace(json.dumps(TEXTS[3]), "text", 1)
        loop = f"for (const text of {json.dumps(TEXTS[:8])})"
        loop += f" console.log('=' + JSON.stringify(await {call[1]}({given})));"
        script = above / "run.mjs"
        script.write_text("\n".join([*setup, loop]), encoding="utf-8")
        done = subprocess.run(["node", script], cwd=above, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line[1:]) for line in done.stdout.splitlines() if line[0] == "="]
        assert len(answers) == 8
        for text, answer in zip(TEXTS, answers, strict=False):
            wanted = flat(classify(text))
            seen += len(answer)
            assert [each[name] for each in answer] == [each[name] for each in wanted]
            assert [each["score"] for each in answer] == pytest.approx(
                [each["score"] for each in wanted], abs=0.01
            )
    assert seen >= 6


def test_text_embeddings_inference_reads_the_folder(exported):
    folder = exported.folder
    if exported.kind == "token_classification":
        pytest.skip("it does not serve such models from ONNX")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert any(name.endswith("Classification") for name in config["architectures"])
    assert {*map(type, config["id2label"].values()), *map(type, config["label2id"])} == {str}
    assert {*map(type, config["label2id"].values())} == {int}
    for field in ("max_position_embeddings", "pad_token_id", "hidden_size", "num_hidden_layers"):
        assert type(config[field]) is int
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings.get("padding_side", "right") == "right"
    file = folder / "model.onnx"
    session = onnxruntime.InferenceSession(file if file.exists() else folder / "onnx/model.onnx")
    names = {part.name for part in session.get_inputs()}
    assert {"input_ids", "attention_mask"} <= names
    assert names <= {"input_ids", "attention_mask", "token_type_ids", "position_ids"}

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    rows = list(zip(TEXTS[:8], exported.pairs, strict=False)) if exported.pairs else TEXTS[:8]
    encoded = [tokenizer.encode(*row) if exported.pairs else tokenizer.encode(row) for row in rows]
    longest = max(map(len, encoded))
    inputs = {name: np.zeros((len(encoded), longest), dtype=np.int64) for name in names}
    inputs["input_ids"] += config["pad_token_id"]
    for row, each in enumerate(encoded):
        inputs["input_ids"][row, : len(each)] = each.ids
        inputs["attention_mask"][row, : len(each)] = 1
        if "token_type_ids" in names:
            inputs["token_type_ids"][row, : len(each)] = each.type_ids
    [logits] = session.run(["logits"], inputs)
    predictor = open_format(folder, "transformers")[0]
    tokens = predictor.tokenize(TEXTS[:8], exported.pairs and exported.pairs[:8])
    assert logits.dtype == np.float32
    assert logits == pytest.approx(predictor.classifier(tokens), abs=1e-4)


def test_infinity_finds_the_files_by_name(exported):
    there = [path for path in Path(exported.folder).glob("**/*") if path.match("**.onnx")]
    on_cpu = [path for path in there if "quantize" in path.name]
    on_gpu = [path for path in there if "model.onnx" in path.name]
    assert [path.name for path in on_cpu] == ["model_quantized.onnx"]
    assert [path.name for path in on_gpu] == ["model.onnx"]
