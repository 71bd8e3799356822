"""Plans: read as written; each mistake is one line that names the key and the rule."""

import re
import tomllib
from pathlib import Path

import pytest

from autoprune.errors import AutopruneError
from autoprune.experiment.config import BudgetConfig, DataConfig, DistillationConfig
from autoprune.reproduction.plan import find_plan, known_plans, read_plan

GOOD = """
models = ["mahabert-v2", "muril"]
multilingual = ["muril"]
tasks = ["shc", "ldc"]
keeps = [6, 2]
strategies = ["top", "middle"]
trials = 12
seeds = 2
margin = 0.5
[rivals]
6 = ["mahabert-small"]
[budget]
epochs = 2
learning_rate = 5e-5
[budget.ldc]
tokens = 256
epochs = 1
"""


def written(folder, text, name="mine"):
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_plan_is_read_as_written(tmp_path):
    plan = read_plan(written(tmp_path, GOOD))
    assert plan.name == "mine"
    assert (plan.models, plan.multilingual) == (("mahabert-v2", "muril"), ("muril",))
    assert (plan.tasks, plan.keeps, plan.strategies) == (("shc", "ldc"), (6, 2), ("top", "middle"))
    assert (plan.rivals, plan.trials, plan.seeds) == ({6: ("mahabert-small",)}, 12, 2)
    assert (plan.seed, plan.margin) == (0, 0.5)
    assert plan.budgets == {
        "shc": BudgetConfig(epochs=2, learning_rate=5e-5),
        "ldc": BudgetConfig(epochs=1, learning_rate=5e-5, tokens=256),
    }


def test_plan_says_how_the_rows_of_a_task_are_read(tmp_path):
    text = GOOD + '\n[data.ldc]\nlabel = "kind"\n'
    assert read_plan(written(tmp_path, text)).data == {"ldc": DataConfig(label="kind")}
    for wrong, answer in {
        '[data.ldc]\nlable = "kind"': "plan mine: unknown setting 'lable', did you mean 'label'?",
        '[data.lcd]\nlabel = "kind"': "key in plan mine, data 'lcd'",
        '[data.ldc]\ndata_dir = "here"': "plan mine says how rows are read; where they are, --data",
    }.items():
        with pytest.raises(AutopruneError, match=re.escape(answer)):
            read_plan(written(tmp_path, f"{GOOD}\n{wrong}\n"))


def test_plan_distils_all_its_cells(tmp_path):
    text = GOOD + '\n[distillation]\ndistill = "logits"\nunlabelled = "texts.txt"\n'
    plan = read_plan(written(tmp_path, text))
    assert plan.distillation == DistillationConfig(distill="logits", unlabelled="texts.txt")
    assert read_plan(written(tmp_path, GOOD)).distillation.distill == "none"
    with pytest.raises(AutopruneError, match="plan mine: unknown kind of distillation 'logit'"):
        read_plan(written(tmp_path, text.replace("logits", "logit")))


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("trials =", "trails =", "unknown key in plan mine 'trails', did you mean 'trials'?"),
        ("keeps = [6, 2]", "", "plan mine must name its keeps"),
        ("keeps = [6, 2]", "keeps = [6, '2']", "plan mine: keeps must be"),
        ("keeps = [6, 2]", "keeps = [6, 6]", "one or more different values, got [6, 6]"),
        ("keeps = [6, 2]", "keeps = [true]", "valid integer, got True"),
        ("keeps = [6, 2]", "keeps = []", "got []"),
        ('tasks = ["shc", "ldc"]', 'tasks = "shc"', "plan mine: tasks must be"),
        (
            '"top", "middle"',
            '"top", "midle"',
            "plan mine: unknown strategy 'midle', did you mean 'middle'?",
        ),
        ('multilingual = ["muril"]', 'multilingual = ["mural"]', "did you mean 'muril'?"),
        (
            "trials = 12",
            "trials = 0",
            "plan mine: trials must be greater than or equal to 1, got 0",
        ),
        ("trials = 12", "trials = 1.5", "got 1.5"),
        ("seeds = 2", "seeds = 101", "seeds must be less than or equal to 100, got 101"),
        ("margin = 0.5", "margin = 0", "plan mine: margin must be greater than 0, got 0"),
        ("6 = [", "7 = [", "unknown key in plan mine, rivals '7'"),
        ('["mahabert-small"]', '"mahabert-small"', "plan mine: rivals must be"),
        ("[budget]\nepochs", "[budget]\nepoch", "unknown key in plan mine, budget 'epoch'"),
        ("[budget.ldc]", "[budget.lcd]", "unknown key in plan mine, budget 'lcd', did you mean"),
        (
            "tokens = 256",
            "tokens = 3",
            "plan mine, budget.ldc: tokens must be greater than or equal to 4",
        ),
        ("5e-5", "5", "plan mine, budget: learning_rate must be less than 1, got 5"),
        ("seeds = 2", "seeds = ", "a plan is a TOML file"),
        ("seeds = 2", "seeds = 2\nseeds = 3", "a plan is a TOML file"),
    ],
)
def test_plan_with_a_mistake_is_refused_with_the_rule(tmp_path, old, new, answer):
    assert old in GOOD
    with pytest.raises(AutopruneError) as raised:
        read_plan(written(tmp_path, GOOD.replace(old, new)))
    assert answer in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_plan_that_is_no_text_or_whose_name_is_no_folder_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AutopruneError, match="a plan is a TOML file"):
        read_plan(path)
    with pytest.raises(AutopruneError, match="letters, digits"):
        read_plan(written(tmp_path, GOOD, "a b"))


def test_find_plan_prefers_the_working_folder(tmp_path, monkeypatch):
    assert set(known_plans()) >= {"demo", "mini", "paper"}
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "studies/plans"
    place.mkdir(parents=True)
    written(place, GOOD, "paper")
    assert find_plan("paper") == Path("studies/plans/paper.toml")
    assert find_plan("studies/plans/paper.toml") == Path("studies/plans/paper.toml")
    assert find_plan("mini").resolve() != place / "mini.toml"
    with pytest.raises(AutopruneError, match="unknown plan 'papper', did you mean 'paper'"):
        find_plan("papper")
    with pytest.raises(AutopruneError, match=r"there is none at no/such\.toml"):
        find_plan("no/such.toml")


@pytest.mark.parametrize("name", ["demo", "mini", "paper"])
def test_plans_of_the_package_are_valid(name):
    plan = read_plan(known_plans()[name])
    assert plan.keeps == (6, 2)
    assert plan.strategies == ("top", "middle", "bottom")
    assert plan.seeds == 3


def test_plan_of_the_paper_has_its_grid():
    plan = read_plan(known_plans()["paper"])
    assert (plan.models, plan.tasks) == (("mahabert-v2", "muril"), ("shc", "lpc", "ldc"))
    assert plan.rivals == {6: ("mahabert-small",), 2: ("mahabert-smaller",)}


def test_wheel_has_the_plans_whose_models_users_can_get():
    root = Path(__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]["force-include"]
    names = ("demo.toml", "paper.toml")
    assert wheel == {
        f"studies/plans/{name}": f"autoprune/reproduction/plans/{name}" for name in names
    }
    assert "/studies/plans" in build["targets"]["sdist"]["include"]
