"""Damaged data files and model folders: a command ends with 0, or with 2 and one line."""

import json
import random
import shutil

import pyarrow as pa
import pytest
from pyarrow import parquet
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from damage import SEEDS, damage, damage_bytes

pytestmark = pytest.mark.timeout(600)

ROWS = [(f"{'एक दोन' if i % 2 else 'तीन चार'} {i}, नऊ", f"{i % 2}") for i in range(40)]
OPTIONS = (
    *("--keep", 2, "--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--strategy", "top"),
    *("--workers", 1, "--allow-unknown-tokens"),
)
MODEL_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


def write_data(path):
    """Write the rows in the format that the suffix of `path` names."""
    texts, labels = zip(*ROWS, strict=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.table({"text": texts, "label": labels}), path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
        path.write_text("\n".join(lines) + "\n")
    else:
        separator, mark = ("\t", "") if path.suffix == ".tsv" else (",", '"')
        lines = [f"{mark}{text}{mark}{separator}{label}" for text, label in ROWS]
        path.write_text("\n".join([f"text{separator}label", *lines]) + "\n")


@pytest.fixture(scope="module")
def classifier(model, tmp_path_factory):
    """Return the folder of a tiny model with a head of two labels."""
    folder = tmp_path_factory.mktemp("classifier") / "classifier"
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


@pytest.fixture
def ends_well(run):
    """Return a function that runs a command, which must end with 0, or with 2 and one line."""

    def ends_well(report, *arguments):
        answer = run(*arguments)
        assert answer.code in (0, 2), (report, answer)
        assert "Traceback" not in answer.err, (report, answer)
        if answer.code == 2:
            assert answer.lines[-1].startswith("autoprune: "), (report, answer)
        assert "\x1b" not in answer.err + answer.out, (report, answer)
        return answer

    return ends_well


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_commands_on_a_damaged_data_file_end_in_one_line(
    ends_well, model, classifier, untrained, tmp_path, suffix, seed
):
    path = tmp_path / f"rows{suffix}"
    write_data(path)
    rng = random.Random(f"{suffix} {seed}")
    content, kinds = damage_bytes(path.read_bytes(), rng)
    path.write_bytes(content)
    report = f"seed {seed}: {suffix}, {kinds}"
    ends_well(report, "baseline", "--model", model, "--task", path, *OPTIONS)
    answer = ends_well(report, "predict", classifier, path, "--out", "out.jsonl")
    assert (tmp_path / "out.jsonl").exists() == (answer.code == 0), report


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MODEL_FILES)
def test_commands_on_a_damaged_model_end_in_one_line(
    ends_well, classifier, untrained, tmp_path, name, seed
):
    data, folder = tmp_path / "rows.csv", shutil.copytree(classifier, tmp_path / "damaged")
    write_data(data)
    rng = random.Random(f"{name} {seed}")
    whole = (folder / name).read_bytes()
    content, kinds = (damage if name == "config.json" and seed % 3 else damage_bytes)(whole, rng)
    (folder / name).write_bytes(content)
    report = f"seed {seed}: {name}, {kinds}"
    ends_well(report, "baseline", "--model", folder, "--task", data, *OPTIONS)
    ends_well(report, "predict", folder, data, "--out", "out.jsonl")


def test_undamaged_inputs_are_read(ends_well, classifier, untrained, tmp_path):
    """What the damaged ones are compared with: training is what stops the first command."""
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        path = tmp_path / f"rows{suffix}"
        write_data(path)
        answer = ends_well("", "baseline", "--model", classifier, "--task", path, *OPTIONS)
        assert "not trained here" in answer.err
        answer = ends_well("", "predict", classifier, path, "--out", f"{suffix}.jsonl")
        assert answer.code == 0, answer
