"""The cost command: full, pruned and rivals are measured in turns; wrong input is refused."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from autoprune.cli.cost import OPTIONAL_COLUMNS
from autoprune.cli.tables import fit_columns
from autoprune.encoders.profiling import LayerTimes, speed_warnings
from autoprune.evaluation.study_files import read_study
from autoprune.experiment.config import RunOptions
from autoprune.experiment.study_store import reload_experiment
from autoprune.export.cost import measure_costs

NAME = "tiny-own-keep2"
FEW = ("--rounds", 6, "--batch", 4)


@pytest.fixture(scope="session")
def measured(run, searched, tmp_path_factory):
    """Measure the study's models once, in all that is measured, in a copy of its folder."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copytree(searched.folder, folder, dirs_exist_ok=True)
    return run("cost", NAME, *FEW, "--json", folder=folder)


@pytest.fixture
def quick(monkeypatch):
    """Spare the processes in which peak memory is measured."""
    monkeypatch.setattr("autoprune.export.cost.measure_peak_memory", lambda *_: 12_345_678)


@pytest.fixture
def exported(model, tmp_path):
    """Return the folder of a saved classifier of five layers."""
    folder = tmp_path / "mine"
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=3).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def test_cost_of_a_study_has_full_pruned_and_rivals(measured, searched):
    assert (measured.code, measured.err) == (0, "")
    found = json.loads(measured.out)
    best = read_study(searched.folder / "studies" / NAME).comparison.best
    names = [model_cost["name"] for model_cost in found["models"]]
    assert names == ["full", best, "small"]
    assert [model_cost["layers"] for model_cost in found["models"]] == [5, 2, 5]
    assert (found["batch"], found["rounds"], found["threads"]) == (4, 6, 1)
    assert found["device"].endswith("1 thread, fp32)")
    assert "scratch with 2 layers has its shape" in found["notes"][0]


def test_cost_of_a_study_has_every_figure(measured):
    full, pruned, rival = json.loads(measured.out)["models"]
    assert rival["parameters"] == full["parameters"]
    layer = (full["parameters"]["total"] - pruned["parameters"]["total"]) / 3
    assert layer == 4 * (16 * 16 + 16) + 2 * 16 * 24 + 24 + 16 + 4 * 16
    assert full["parameters"]["embeddings"] == pruned["parameters"]["embeddings"]
    assert full["bytes"] - pruned["bytes"] > 4 * 3 * layer
    assert 2 < full["flops"] / pruned["flops"] < 2.6  # the layers alone: 2.5
    assert full["gain"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    for model_cost in (full, pruned, rival):
        for key in ("latency", "throughput", "gain"):
            assert (
                0 < model_cost[key]["low"] <= model_cost[key]["median"] <= model_cost[key]["high"]
            )
        assert 0 <= model_cost["peak_bytes"] < 50e6  # of a tiny model nothing may be seen
        assert 0 <= model_cost["pace"]["outside"] < model_cost["pace"]["forward"]
        assert model_cost["pace"]["tokenising"] > 0


def test_cost_alarms_follow_from_the_figures(measured):
    found = json.loads(measured.out)
    full, pruned, _ = (LayerTimes(**model_cost["pace"]) for model_cost in found["models"])
    gain = found["models"][1]["gain"]["median"]
    assert tuple(found["alarms"]) == speed_warnings(full, pruned, 4, gain)


def test_cost_leaves_only_its_file_in_the_study(copy, run, quick, monkeypatch, tmp_path):
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(drafts))
    before = sorted(Path().rglob("*"))
    assert run("cost", NAME, *FEW).code == 0
    assert list(drafts.iterdir()) == []
    new = set(Path().rglob("*")) - set(before)
    assert new == {Path("studies") / NAME / "cost.json"}


def test_cost_is_shown_in_the_report(copy, run, quick):
    measured = json.loads(run("cost", NAME, *FEW, "--json").out)["models"]
    assert run("report", NAME).code == 0
    text = Path("reports", f"{NAME}.md").read_text(encoding="utf-8")
    table = text[text.index("texts a second") :]
    for model_cost in measured:
        latency = 1000 * model_cost["latency"]["median"]
        [row] = [
            line for line in table.splitlines() if line.startswith(f"| {model_cost['name']} |")
        ]
        assert f" {latency:.2f} (" in row
        assert f"{model_cost['throughput']['median']:,.0f} (" in row
    assert "scratch with 2 layers has its shape" in text
    page = Path("reports", f"{NAME}.html").read_text(encoding="utf-8")
    assert f"{1000 * measured[1]['latency']['median']:.2f} (" in page


def test_cost_that_cannot_be_stored_is_not_measured(copy, run, quick):
    (Path("studies") / NAME / "cost.json").mkdir()
    refusal = run("cost", NAME, *FEW).refusal()
    assert "cannot write studies/tiny-own-keep2/cost.json" in refusal


def test_cost_table_names_all_models_and_the_units(copy, run, quick):
    answer = run("cost", Path("studies") / NAME, *FEW)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith("Batches of 4, texts of at most ")
    assert "95 % intervals of 6 rounds in turn" in lines[0]
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert {"full", "small", "model"} <= rows.keys()
    assert "12 MB" in rows["full"]
    assert "1.00 (1.00–1.00)" in rows["full"]


def test_cost_of_a_folder_uses_the_demo_texts_by_default(exported, run, quick):
    answer = run("cost", exported, *FEW, "--json")
    found = json.loads(answer.out)
    [model_cost] = found["models"]
    assert (model_cost["name"], model_cost["layers"], found["alarms"]) == ("mine", 5, [])
    assert model_cost["bytes"] >= (exported / "model.safetensors").stat().st_size
    assert found["notes"] == [
        f"The base model is not shown: no card in {exported} names it; --against names one to "
        "compare with.",
        f"The texts are those of the built-in demo (no card in {exported} names its study): name "
        "your task with --task.",
    ]


@pytest.fixture(scope="module")
def exported_once(run, searched, tmp_path_factory):
    """Return the folder of the study after an export of it to `out`."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(searched.folder, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoprune.export.export.verify_export", lambda *_: 0.0)
        patch.setattr("autoprune.export.cost.measure_peak_memory", lambda *_: 12_345_678)
        answer = run("export", NAME, "--seeds", 1, "--out", "out", "--force", folder=folder)
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def export_of_study(exported_once, tmp_path, quick):
    """Return the folder of an export of the study, in a copy which is the working folder."""
    shutil.copytree(exported_once, tmp_path, dirs_exist_ok=True)
    return Path("out")


def test_cost_of_an_export_is_compared_with_its_base_model(export_of_study, task, run):
    answer = run("cost", "out", "--task", task, *FEW, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert [(model_cost["name"], model_cost["layers"]) for model_cost in found["models"]] == [
        ("tiny", 5),
        ("out", 2),
    ]
    assert found["notes"] == ["tiny is the base model of out, as its study says."]
    full, pruned = (LayerTimes(**model_cost["pace"]) for model_cost in found["models"])
    gain = found["models"][1]["gain"]["median"]
    assert tuple(found["alarms"]) == speed_warnings(full, pruned, 4, gain)


@pytest.fixture
def measured_texts(monkeypatch):
    """Return the texts that were measured, and the longest input."""
    seen = []

    def measure(subjects, rows, conditions):
        seen.append((rows.texts, conditions.tokens))
        return measure_costs(subjects, rows, conditions)

    monkeypatch.setattr("autoprune.experiment.cost.measure_costs", measure)
    return seen


def test_cost_of_an_export_measures_the_texts_of_its_study(export_of_study, run, measured_texts):
    notes = json.loads(run("cost", "out", *FEW, "--json").out)["notes"]
    assert notes[-1] == f"The texts are train rows of own, the task of study {NAME}."
    study = read_study(Path("studies") / NAME)
    [(texts, tokens)] = measured_texts
    assert texts == reload_experiment(study, RunOptions()).splits.train.texts
    assert tokens == study.setting.full.tokens


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("gone", f"study {NAME}, which it comes from, is not in studies here"),
        ("other", f"study {NAME} in studies is of another model"),
        ("damaged", "its study cannot be read: "),
        ("no data", f"those of study {NAME} cannot be read: "),
        ("evil", "its study cannot be read: a study's name is letters"),
        ("old", "no card in out names its study"),
    ],
)
def test_cost_of_an_export_without_its_study_says_why(
    export_of_study, run, measured_texts, change, why
):
    file, card = Path("studies") / NAME / "study.json", export_of_study / "README.md"
    entry, text = json.loads(file.read_text()), card.read_text(encoding="utf-8")
    if change == "gone":
        shutil.rmtree(file.parent)
    elif change == "other":
        text = text.replace("  commit: sha256:", "  commit: sha256:0")
    elif change == "damaged":
        entry = {"schema": 1}
    elif change == "no data":
        entry["config"]["task"] = "gone.csv"
    elif change == "evil":
        text = text.replace(f"  study: {NAME}", f"  study: ../studies/{NAME}")
    elif change == "old":
        text = text.replace(f"  study: {NAME}\n", "")
    if file.is_file():
        file.write_text(json.dumps(entry))
    card.write_text(text, encoding="utf-8")
    answer = run("cost", "out", *FEW, "--json")
    assert answer.code == 0, answer.err
    note = json.loads(answer.out)["notes"][-1]
    assert note.startswith(f"The texts are those of the built-in demo ({why}")
    assert note.endswith("): name your task with --task.")
    assert len(measured_texts[0][0]) == 180


def test_cost_without_any_texts_says_what_to_give(exported, run, monkeypatch):
    monkeypatch.setattr("autoprune.encoders.registry.find_spec", lambda _: None)
    refusal = run("cost", exported, *FEW).refusal()
    assert "there are no texts to measure (no card in " in refusal
    assert refusal.endswith(" names its study): name your task with --task")


def test_cost_of_an_export_without_its_base_model_is_shown(exported, run, quick):
    card = "---\nautoprune: {base: ./gone, commit: c}\n---\n"
    exported.joinpath("README.md").write_text(card)
    answer = run("cost", exported, *FEW)
    assert (answer.code, answer.err) == (0, "")
    [line] = [line for line in answer.out.splitlines() if "base model" in line]
    assert line.startswith("The base model is not shown: a model is a folder with config.json")
    assert line.endswith("'./gone'; --against names one to compare with.")
    assert "mine" in answer.out


def test_cost_base_model_may_have_the_name_of_the_export(exported, tmp_path, run, quick):
    shutil.copytree(exported, tmp_path / "other/mine")
    exported.joinpath("README.md").write_text("---\nautoprune: {base: ./other/mine}\n---\n")
    answer = run("cost", exported, *FEW, "--json")
    names = [model_cost["name"] for model_cost in json.loads(answer.out)["models"]]
    assert names == ["mine (base)", "mine"]


def test_cost_of_a_folder_takes_a_model_and_a_task(exported, model, task, run, quick):
    answer = run("cost", exported, "--against", model, "--task", task, *FEW, "--json")
    found = json.loads(answer.out)
    assert [model_cost["name"] for model_cost in found["models"]] == ["tiny", "mine"]
    assert found["notes"] == []


def test_cost_reads_a_task_whose_columns_are_named(exported, tmp_path, run, quick):
    rows = ["first,second,kind", *(f"एक {number},दोन,{number % 2}" for number in range(20))]
    file = tmp_path / "own.csv"
    file.write_text("\n".join(rows), encoding="utf-8")
    arguments = ("cost", exported, "--task", file, *FEW)
    assert "no known text column, name one by --text" in run(*arguments).refusal()
    columns = ("--text", "first", "--text-pair", "second", "--label", "kind")
    assert len(json.loads(run(*arguments, *columns, "--json").out)["models"]) == 1


def test_cost_two_models_of_one_name_are_labelled(exported, tmp_path, run, quick):
    other = shutil.copytree(exported, tmp_path / "other/mine")
    answer = run("cost", exported, "--against", other, *FEW, "--json")
    names = [model_cost["name"] for model_cost in json.loads(answer.out)["models"]]
    assert names == ["mine (against)", "mine"]


def test_cost_of_a_broken_onnx_file_is_refused(exported, run, quick):
    (exported / "model.onnx").write_bytes(b"no model")
    line = run("cost", exported, *FEW).refusal()
    assert "cannot open the model" in line and "model.onnx" in line


def test_cost_opens_all_formats_of_the_model_to_compare_with(exported, tmp_path, run, quick):
    other = shutil.copytree(exported, tmp_path / "other/mine")
    (other / "model.onnx").write_bytes(b"no model")
    line = run("cost", exported, "--against", other, *FEW).refusal()
    assert "cannot open the model" in line and "model.onnx" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny-own-kep2"], "did you mean 'tiny-own-keep2'?"),
        (["nowhere/at/all"], "no study 'nowhere/at/all'"),
        ([NAME, "--against", "demo"], "--against is for the folder of a model"),
        ([NAME, "--task", "demo"], "--task is for the folder of a model"),
        ([NAME, "--rounds", "5"], "Input should be greater than or equal to 6"),
        ([NAME, "--batch", "0"], "greater than or equal to 1"),
        ([NAME, "--threads", "0"], "greater than or equal to 1"),
        ([NAME, "--device", "cuda"], "device cuda is not on this machine"),
        ([NAME, "--device", "cude"], "did you mean 'cuda'?"),
        ([NAME, "--data-dir", "gone"], "--data-dir must be a folder"),
    ],
)
def test_cost_reports_wrong_input_in_one_line(copy, run, arguments, message):
    assert message in run("cost", *arguments).refusal()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "demoo"], "did you mean 'demo'?"),
        (["--against", "gone/at/all"], "found none at"),
        (["--task", "demoo"], "did you mean 'demo'?"),
        (["--text", "first"], "names of columns, such as --text, are for --task"),
        (["--task", "demo", "--label", "a", "--labels", "a,b"], "--labels takes the place of"),
    ],
)
def test_cost_reports_a_wrong_reference_or_task_in_one_line(exported, run, arguments, message):
    assert message in run("cost", exported, *arguments).refusal()


def test_cost_of_a_folder_without_weights_is_refused(exported, run):
    (exported / "model.safetensors").unlink()
    assert "model.safetensors" in run("cost", exported).refusal()


def test_cost_on_a_full_disk_is_reported(copy, run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    line = run("cost", NAME).refusal()
    assert "No space left on device" in line and "TMPDIR" in line


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_cost_table_on_a_narrow_console_keeps_essential_columns(width):
    headings = ["model", "layers", "parameters", "embeddings", "disk", "memory", "ms, one text"]
    headings += ["texts a second", "gain", "GFLOP a text"]
    columns = {heading: [heading] for heading in headings}
    shown = fit_columns(columns, width, dict.fromkeys(OPTIONAL_COLUMNS, 0))
    assert {"model", "ms, one text", "texts a second", "gain"} <= shown.keys()
    assert list(shown) == [heading for heading in headings if heading in shown]
    assert sum(len(heading) + 1 for heading in shown) + 1 <= max(width, 42)
