"""The packages that the repository makes: what is in them, and what is said without one."""

import sys
import tomllib
from pathlib import Path

import pytest

from tiny_models import save_model

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


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("search", "--model", "demo", "--task", "own.csv", "--keep", 2), "--model demo"),
        (("baseline", "--model", "tiny", "--task", "demo", "--keep", 2), "--task demo"),
    ],
)
def test_demo_that_is_not_installed_is_one_line(run, no_demo, tmp_path, arguments, option):
    save_model("bert", tmp_path / "tiny")
    (tmp_path / "own.csv").write_text(
        "text,label\n" + "".join(f"एक {i},{'ab'[i % 2]}\n" for i in range(60))
    )
    line = run(*arguments).refusal()
    assert f'{option} needs a package that is not installed: pip install "autoprune-demo"' in line
