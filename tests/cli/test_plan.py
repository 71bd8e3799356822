"""Plans: read as written, each mistake told in one line that says the rule."""

import tomllib
from pathlib import Path

import pytest

from autoprune.errors import AutopruneError
from autoprune.reproduction.plan import PlanBudget, find_plan, known_plans, read_plan

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


def test_a_plan_is_read_as_written(tmp_path):
    plan = read_plan(written(tmp_path, GOOD))
    assert plan.name == "mine"
    assert (plan.models, plan.multilingual) == (("mahabert-v2", "muril"), ("muril",))
    assert (plan.tasks, plan.keeps, plan.strategies) == (("shc", "ldc"), (6, 2), ("top", "middle"))
    assert (plan.rivals, plan.trials, plan.seeds) == ({6: ("mahabert-small",)}, 12, 2)
    assert (plan.seed, plan.margin) == (0, 0.5)
    assert plan.spending == {
        "shc": PlanBudget(epochs=2, learning_rate=5e-5),
        "ldc": PlanBudget(epochs=1, learning_rate=5e-5, tokens=256),
    }


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("trials =", "trails =", "unknown key in plan mine 'trails', did you mean 'trials'?"),
        ("keeps = [6, 2]", "", "plan mine must name its keeps: a list of whole numbers"),
        ("keeps = [6, 2]", "keeps = [6, '2']", "keeps in plan mine must be a list of whole num"),
        ("keeps = [6, 2]", "keeps = [6, 6]", "each once, got [6, 6]"),
        ("keeps = [6, 2]", "keeps = [true]", "got [True]"),
        ("keeps = [6, 2]", "keeps = []", "got []"),
        ('tasks = ["shc", "ldc"]', 'tasks = "shc"', "tasks in plan mine must be a list of names"),
        ('"top", "middle"', '"top", "midle"', "plan mine 'midle', did you mean 'middle'?"),
        ('multilingual = ["muril"]', 'multilingual = ["mural"]', "did you mean 'muril'?"),
        ("trials = 12", "trials = 0", "trials in plan mine must be a whole number from 1 on"),
        ("trials = 12", "trials = 1.5", "got 1.5"),
        ("seeds = 2", "seeds = 101", "a whole number from 1 to 100, got 101"),
        ("margin = 0.5", "margin = 0", "margin in plan mine must be a number of points above 0"),
        ("6 = [", "7 = [", "unknown key in plan mine, rivals '7'"),
        ('["mahabert-small"]', '"mahabert-small"', "6 in plan mine, rivals must be a list"),
        ("[budget]\nepochs", "[budget]\nepoch", "unknown key in plan mine, budget 'epoch'"),
        ("[budget.ldc]", "[budget.lcd]", "unknown key in plan mine, budget 'lcd', did you mean"),
        ("tokens = 256", "tokens = 3", "tokens in plan mine, budget.ldc must be a whole number"),
        ("5e-5", "5", "learning_rate in plan mine, budget must be a number between 0 and 1"),
        ("seeds = 2", "seeds = ", "a plan is a TOML file"),
        ("seeds = 2", "seeds = 2\nseeds = 3", "a plan is a TOML file"),
    ],
)
def test_a_mistake_is_one_line_that_says_the_rule(tmp_path, old, new, answer):
    assert old in GOOD
    with pytest.raises(AutopruneError) as raised:
        read_plan(written(tmp_path, GOOD.replace(old, new)))
    assert answer in str(raised.value)


def test_a_plan_that_is_no_text_or_has_a_name_that_is_no_folder(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AutopruneError, match="a plan is a TOML file"):
        read_plan(path)
    with pytest.raises(AutopruneError, match="letters, digits"):
        read_plan(written(tmp_path, GOOD, "a b"))


def test_plans_are_found_by_name_the_working_folders_first(tmp_path, monkeypatch):
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
def test_the_plans_that_come_with_the_package_are_right(name):
    plan = read_plan(known_plans()[name])
    assert plan.keeps == (6, 2)
    assert plan.strategies == ("top", "middle", "bottom")
    assert plan.seeds == 3


def test_the_paper_s_grid():
    plan = read_plan(known_plans()["paper"])
    assert (plan.models, plan.tasks) == (("mahabert-v2", "muril"), ("shc", "lpc", "ldc"))
    assert plan.rivals == {6: ("mahabert-small",), 2: ("mahabert-smaller",)}


def test_the_wheel_and_the_source_package_carry_the_plans():
    root = Path(__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]["force-include"]
    assert wheel == {"studies/plans": "autoprune/reproduction/plans"}
    assert "/studies/plans" in build["targets"]["sdist"]["include"]
