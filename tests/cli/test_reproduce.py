"""The reproduce command on a small plan: studies, claims, resuming, dry run, mistakes."""

import json
import shutil
import signal
from types import SimpleNamespace

import pytest

from autoprune.reproduction.claims import judge_claims
from autoprune.storage.locks import lock_study_folder
from tiny_models import save_model

CELLS = ["tiny-own-keep3", "tiny-own-keep2"]


@pytest.fixture(scope="module")
def models(model, tmp_path_factory):
    """Return a folder with the tiny model and a smaller rival."""
    folder = tmp_path_factory.mktemp("plan-models")
    shutil.copytree(model, folder / "tiny")
    save_model("bert", folder / "small", num_hidden_layers=2)
    return folder


@pytest.fixture(scope="module")
def plan(task, tmp_path_factory):
    """Return a plan of two cells that takes seconds."""
    path = tmp_path_factory.mktemp("plans") / "little.toml"
    path.write_text(
        f"""
        models = ["tiny"]
        tasks = ["{task}"]
        keeps = [3, 2]
        strategies = ["top", "middle"]
        trials = 3
        seeds = 2
        [rivals]
        2 = ["small"]
        [budget]
        epochs = 1
        full_epochs = 2
        batch = 16
        learning_rate = 0.02
        learning_rates = [0.02, 0.005]
        """,
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def command(plan, models):
    return ["reproduce", plan, "--models-dir", models, "--workers", 1]


@pytest.fixture(scope="module")
def reproduced(run, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduced")
    answer = run(*command, folder=folder)
    assert answer.code == 0, answer.err
    return SimpleNamespace(folder=folder, answer=answer)


@pytest.fixture
def copied(reproduced, tmp_path):
    return shutil.copytree(reproduced.folder, tmp_path, dirs_exist_ok=True)


def records(folder, cell):
    text = (folder / "studies/little" / cell / "records.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_reproduce_writes_a_study_and_a_report_for_each_cell(reproduced):
    for cell in CELLS:
        study = json.loads((reproduced.folder / "studies/little" / cell / "study.json").read_text())
        assert study["config"]["keep"] == int(cell[-1])
        assert (reproduced.folder / "reports/little" / f"{cell}.md").is_file()
    assert not (reproduced.folder / "studies/little/little").exists()


def test_reproduce_shows_progress_by_cell(reproduced):
    err = reproduced.answer.err
    assert "plan little: 2 cells, 0 done, 2 to do, at most" in err
    assert err.index("cell 1/2: tiny on") < err.index("cell 2/2: tiny on")


def test_reproduce_trains_the_full_model_once_for_both_cells(reproduced):
    three, two = (
        [record for record in records(reproduced.folder, cell) if record["origin"] == "full"]
        for cell in CELLS
    )
    assert [record["phase"] for record in three] == ["tuning"] * 2 + ["comparison"] * 2
    assert three == two


def test_reproduce_compares_a_rival_only_with_its_number_of_layers(reproduced):
    assert {record["origin"] for record in records(reproduced.folder, CELLS[0])} & {
        "small"
    } == set()
    assert {record["origin"] for record in records(reproduced.folder, CELLS[1])} >= {
        "small",
        "scratch",
    }


def test_reproduce_prints_a_verdict_for_each_cell_and_a_summary(reproduced):
    lines = reproduced.answer.out.splitlines()
    assert lines[-1].startswith("2 of 2 cells finished. Claims: ")
    assert lines[-1].endswith("Report: reports/little.md   page: reports/little.html")
    start = next(index for index, line in enumerate(lines) if "What each cell says" in line)
    rows = [
        line.split("keep")[1].split()[1:] for line in lines[start:] if "tiny, own, keep" in line
    ]
    rows = rows[:2]  # a reason below the table may name a cell too
    assert [len(row) for row in rows] == [7, 7]
    words = {"supported", "contradicted", "undecided", "untested"}
    assert {word for row in rows for word in row} <= words
    text = (reproduced.folder / "reports/little.md").read_text()
    assert "- comparable means at most 1.0 points below\n" in text
    assert (
        "| b1 | Pruned models consistently beat small models pre-trained from scratch | reco"
        in text
    )
    assert "MahaBERT | 91.163 | 86.731 | 94.706" in text
    assert "others' figures, not ours" in text


def test_reproduce_again_runs_nothing_and_prints_the_same(run, command, copied):
    before = {path: path.read_bytes() for path in copied.rglob("*.jsonl")}
    again = run(*command)
    assert again.err.splitlines() == ["plan little: 2 cells, 2 done, 0 to do"]
    first = (copied / "reports/little.md").read_text()
    assert {path: path.read_bytes() for path in copied.rglob("*.jsonl")} == before
    assert run(*command).out == again.out
    assert (copied / "reports/little.md").read_text() == first


def test_reproduce_json_is_one_object(run, command, reproduced, copied):
    result = run(*command, "--json").result
    claims = {claim["letter"]: claim for claim in result["claims"]}
    assert list(claims) == ["a", "b1", "b2", "c", "d", "e", "f"]
    assert claims["e"]["verdict"] == "untested"
    assert [cell["cell"] for cell in result["cells"]] == ["tiny, own, keep 3", "tiny, own, keep 2"]
    study = json.loads((copied / "studies/little" / CELLS[1] / "study.json").read_text())
    tests = [row for row in study["entrants"] if row["origin"] == "small"]
    assert tests and [test["second"] for test in claims["b1"]["findings"]] == ["small"]


@pytest.mark.slow
def test_reproduce_killed_in_the_second_cell_resumes_with_the_same_result(
    run, start, command, tmp_path, reproduced
):
    with start(*command, folder=tmp_path) as process:
        seen = 0
        for line in process.stderr:
            seen += line.startswith("cell 2/2")
            if seen and line.startswith("trial   2/3"):
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    kept = records(tmp_path, CELLS[1])
    again = run(*command)
    assert "plan little: 2 cells, 1 done, 1 to do" in again.err
    assert again.out == reproduced.answer.out
    assert records(tmp_path, CELLS[1])[: len(kept)] == kept


def test_reproduce_dry_run_estimates_the_time_and_writes_nothing(run, command, tmp_path):
    answer = run(*command, "--dry-run")
    assert (answer.code, list(tmp_path.iterdir())) == (0, [])
    assert "Plan little: 0 cells done, 2 to do, at most" in answer.out
    found = run(*command, "--dry-run", "--json", "--only", "*/*/2").result
    [cell] = found["to_do"].values()
    # found, top, middle, scratch, small and full, two seeds and two rates each
    assert (cell["trials"], cell["runs"]) == (3, 24)
    assert 0 < cell["seconds_per_step"] < cell["seconds"]
    assert list(tmp_path.iterdir()) == []


def test_reproduce_of_other_seeds_is_not_done(run, command, plan, copied):
    other = copied / "little.toml"
    other.write_text(f"seed = 50\n{plan.read_text(encoding='utf-8')}", encoding="utf-8")
    assert "Plan little: 2 cells done, 0 to do" in run(*command, "--dry-run").out
    found = run("reproduce", other, *command[2:], "--dry-run").out
    assert "Plan little: 0 cells done, 2 to do" in found


def test_reproduce_of_another_grid_of_distillation_is_not_done(run, models, task, tmp_path):
    plan = tmp_path / "taught.toml"
    text = f"""
        models = ["tiny"]
        tasks = ["{task}"]
        keeps = [2]
        strategies = ["top", "middle"]
        trials = 1
        seeds = 2
        [budget]
        epochs = 1
        full_epochs = 1
        batch = 16
        learning_rate = 0.02
        [distillation]
        distill = "logits"
        """
    plan.write_text(text, encoding="utf-8")
    command = ["reproduce", plan, "--models-dir", models, "--workers", 1]
    assert run(*command).code == 0
    report = (tmp_path / "reports/taught.md").read_text(encoding="utf-8")
    assert "the same data and steps, 4 times as many where they are distilled" in report
    assert "1 cell done, 0 to do" in run(*command, "--dry-run").out
    plan.write_text(text + "temperatures = [2, 4]", encoding="utf-8")
    assert "0 cells done, 1 to do" in run(*command, "--dry-run").out


def test_reproduce_only_runs_the_selected_cells_and_lists_the_others(run, command, tmp_path, task):
    answer = run(*command, "--only", f"tiny/{task}/2")
    assert [path.name for path in (tmp_path / "studies/little").iterdir()] == [CELLS[1]]
    assert answer.out.splitlines()[-1].startswith("1 of 2 cells finished.")
    assert f"Not finished: tiny on {task}, keep 3" in answer.out
    assert "--only takes MODEL/TASK/KEEP" in run(*command, "--only", "tiny/own/9").lines[-1]


@pytest.mark.slow
def test_reproduce_skips_a_cell_that_another_process_works_on(run, command, tmp_path, task):
    with lock_study_folder(tmp_path / "studies/little" / CELLS[0]):
        answer = run(*command)
    assert answer.code == 0
    assert f"tiny on {task}, keep 3: another process is at work on it" in answer.err
    assert answer.out.splitlines()[-1].startswith("1 of 2 cells finished.")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["lttle"], "unknown plan 'lttle'"),
        (["no.toml"], "there is none at no.toml"),
        (["mini", "--models-dir", "nowhere"], "--models-dir (or AUTOPRUNE_MODELS_DIR) must be"),
        (["mini"], "unknown model 'mr-12'"),
    ],
)
def test_reproduce_with_a_mistake_prints_one_line(run, tmp_path, arguments, answer):
    assert answer in run("reproduce", *arguments).refusal()
    assert list(tmp_path.iterdir()) == []


def test_reproduce_chooses_each_learning_rate_by_validation(reproduced, run, models):
    for cell in CELLS:
        folder = reproduced.folder / "studies" / "little" / cell
        study = json.loads((folder / "study.json").read_text())
        records = [json.loads(line) for line in (folder / "records.jsonl").open()]
        best = {}
        for record in records:
            if record["phase"] == "tuning":
                assert record["seed"] == 0 and not record["predictions"]
                rate, score = record["budget"]["learning_rate"], record["scores"][0]
                key = record["model"], record["start"], record["layout"]
                best.setdefault(key, []).append((score["quality"], -rate))
        for entrant in study["entrants"]:
            tried = best[entrant["model"], entrant["start"], entrant["layout"]]
            assert sorted(-rate for _, rate in tried) == [0.005, 0.02]
            assert entrant["learning_rate"] == -max(tried)[1]
    report = (reproduced.folder / "reports/little.md").read_text()
    assert "was chosen by validation" in report and "0.005, 0.02" in report


def test_reproduce_dry_run_counts_runs_at_rates_not_yet_chosen(
    reproduced, run, plan, models, tmp_path
):
    shutil.copytree(reproduced.folder / "studies", tmp_path / "studies")
    more = tmp_path / plan.name
    more.write_text(plan.read_text().replace("[0.02, 0.005]", "[0.02, 0.005, 0.001]"))
    command = ("reproduce", more, "--models-dir", models, "--workers", 1, "--dry-run", "--json")
    [cell] = run(*command, "--only", "*/*/2", folder=tmp_path).result["to_do"].values()
    # six entrants lack one tuning run, of those that share a layout some lack all three; and any
    # of the twelve runs on fresh seeds may be at another rate now
    assert cell["trials"] == 0
    assert 18 <= cell["runs"] <= 24


def test_multilingual_model_may_be_named_by_its_path(
    run, models, plan, reproduced, tmp_path, monkeypatch
):
    shutil.copytree(reproduced.folder, tmp_path, dirs_exist_ok=True)
    path = f'["{models}/tiny"]'
    text = plan.read_text().replace('["tiny"]', f"{path}\nmultilingual = {path}")
    (tmp_path / "little.toml").write_text(text)
    given = []

    def judge(cells, multilingual, margin):
        given.append(({cell.model for cell in cells}, set(multilingual)))
        return judge_claims(cells, multilingual, margin)

    monkeypatch.setattr("autoprune.reproduction.run.judge_claims", judge)
    answer = run("reproduce", "little.toml", "--models-dir", models, "--workers", 1)
    assert answer.code == 0, answer.err
    assert given == [({"tiny"}, {"tiny"})]
