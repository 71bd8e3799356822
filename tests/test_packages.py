"""The packages that the repository makes: what is in them, and what is said without one."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tiny_models import NUMBERS, save_model

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "demo" / "src" / "autoprune_demo"


@pytest.fixture
def no_demo(monkeypatch):
    """Hide the package of the demo, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "autoprune_demo", None)


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_package_without_the_demo_is_small_and_has_one_licence():
    files = [path for path in (ROOT / "src").rglob("*") if "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 3_000_000
    assert not [path for path in files if path.suffix in (".safetensors", ".csv")]
    assert project(ROOT)["license"] == "Apache-2.0"


def test_demo_has_the_version_of_the_package():
    assert project(ROOT / "demo")["version"] == project(ROOT)["version"]


def test_each_part_of_the_demo_tells_its_licence():
    for folder in (*DEMO.joinpath("models").iterdir(), *DEMO.joinpath("tasks").iterdir()):
        assert "## Licence" in (folder / "README.md").read_text(encoding="utf-8")


OWN = ("--task", "own.csv", "--keep", 2)

# What each extra is for, and a package of it that is hidden.
EXTRAS = {
    "dashboard": ("optuna_dashboard", ("dashboard",)),
    "hub-datasets": ("datasets", ("search", "--model", "tiny", "--task", "org/news", "--keep", 2)),
    "lora": ("peft", ("search", "--model", "tiny", *OWN, "--method", "lora")),
    "mlflow": ("mlflow", ("search", "--model", "tiny", *OWN, "--mlflow")),
    "onnx": ("onnxruntime", ("export", "name", "--out", "out", "--onnx")),
    "openvino": ("openvino", ("export", "name", "--out", "out", "--format", "openvino")),
    "postgresql": (
        "psycopg",
        ("search", "--model", "tiny", *OWN, "--storage", "postgresql+psycopg://a@127.0.0.1:1/x"),
    ),
    "ray": ("ray", ("search", "--model", "tiny", *OWN, "--ray", "auto", "--workers", 2)),
    "serve": ("uvicorn", ("serve", "tiny")),
}


@pytest.fixture
def own(tmp_path):
    """Make a tiny model and a file of labelled texts in the working folder."""
    save_model("bert", tmp_path / "tiny")
    rows = "".join(f"{NUMBERS[i % 10]} {NUMBERS[i // 10]},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "own.csv").write_text(f"text,label\n{rows}", encoding="utf-8")


@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_that_is_not_installed_is_one_line(run, own, tmp_path, monkeypatch, extra):
    assert extra in project(ROOT)["optional-dependencies"]
    package, arguments = EXTRAS[extra]
    if extra in ("dashboard", "onnx", "openvino"):
        (tmp_path / "studies/name").mkdir(parents=True)
        (tmp_path / "studies/name/journal.log").touch()
    monkeypatch.setitem(sys.modules, package, None)
    assert f"autoprune[{extra}]" in run(*arguments).refusal()


def test_search_without_the_dashboard_writes_no_notes(run, own, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    small = ("--trials", 2, "--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--strategy", "top")
    answer = run("search", "--model", "tiny", *OWN, *small, "--study", "s", "--json")
    assert answer.code == 0, answer.err
    assert "dashboard:note" not in Path("studies/s/journal.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("search", "--model", "demo", *OWN), "--model demo"),
        (("baseline", "--model", "tiny", "--task", "demo", "--keep", 2), "--task demo"),
    ],
)
def test_demo_that_is_not_installed_is_one_line(run, own, no_demo, arguments, option):
    line = run(*arguments).refusal()
    assert f"{option} needs the package autoprune-demo: pip install ./demo in the folder" in line


def test_workflows_call_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflows = [
        path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").iterdir()
    ]
    targets = set(re.findall(r"run: make ([\w-]+)", "\n".join(workflows)))
    assert targets == {"demo", "docs", "lint", "lowest", "package"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert any("run: .ci/run" in text for text in workflows)


def test_citation_has_the_version_of_the_package():
    assert f"version: {project(ROOT)['version']}\n" in (ROOT / "CITATION.cff").read_text()
