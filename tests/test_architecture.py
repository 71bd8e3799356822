"""The rooms: who may import whom, who may import what, and what stays out of sight."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import autoprune

ROOT = Path(autoprune.__file__).parent
ROOMS = [
    "errors",
    "choices",
    "files",
    "interrupts",
    "retry",
    "layouts",
    "encoders",
    "tasks",
    "storage",
    "training",
    "search",
    "evaluation",
    "reporting",
    "export",
    "experiment",
    "reproduction",
    "pretraining",
    "api",
    "cli",
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
# What `autoprune --help` must not import, to answer in less than half a second.
HEAVY = {"torch", "transformers", "optuna", "pandas", "sklearn", "scipy", "numpy", "pydantic"}
# Which rooms may import a package; what is not named here is the standard library's or forbidden.
THIRD_PARTY = {
    "numpy": {*ROOMS[ROOMS.index("encoders") :]},
    "torch": {"encoders", "tasks", "training", "export", "experiment", "pretraining", "cli"},
    "transformers": {"encoders", "tasks", "training", "export", "experiment", "pretraining", "cli"},
    "huggingface_hub": {"encoders", "tasks", "export", "pretraining"},
    "safetensors": {"encoders", "training", "export", "pretraining"},
    "tokenizers": {"encoders", "export", "pretraining"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "pyarrow": {"tasks"},
    "datasets": {"tasks"},
    "platformdirs": {"tasks"},
    "peft": {"training"},
    "tqdm": {"training"},
    "sklearn": {"tasks", "training", "search", "pretraining"},
    "scipy": {
        "encoders",
        "training",
        "search",
        "evaluation",
        "reporting",
        "export",
        "reproduction",
        "pretraining",
    },
    "optuna": {"storage", "search"},
    "optuna_dashboard": {"search"},
    "sqlalchemy": {"storage"},
    "psutil": {"encoders", "storage"},
    "filelock": {"files", "storage"},
    "psutil": {"storage"},
    "jinja2": {"reporting", "reproduction"},
    "plotly": {"reporting", "reproduction"},
    "mlflow": {"experiment"},
    "ray": {"training"},
    "pydantic": {"experiment", "reproduction"},
    "tomli_w": {"experiment"},
    "typer": {"cli", "experiment"},
    "rich": {"cli", "experiment"},
}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                inner = {f"{module}.{name.name}" for name in names}
                modules = {name for name in inner if name.removeprefix("autoprune.") in MODULES}
                found |= modules or {module}
    return found


def own_imports(path: Path) -> set[str]:
    mine = {name.removeprefix("autoprune.") for name in imports_of(path)}
    return {name for name in mine if name in MODULES}


def room_of(module: str) -> str:
    return module.split(".")[0].replace("__main__", "cli")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_a_room_imports_only_from_rooms_above(module):
    own = ROOMS.index(room_of(module))
    below = {name for name in own_imports(MODULES[module]) if ROOMS.index(room_of(name)) > own}
    assert not below


def test_modules_import_each_other_in_one_direction():
    graph = {
        name: own_imports(path) - {name} for name, path in MODULES.items() if name != "__init__"
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_third_parties_stay_in_their_rooms(module):
    packages = {name.split(".")[0] for name in imports_of(MODULES[module])}
    foreign = packages - set(sys.stdlib_module_names) - {"autoprune"}
    assert {p for p in foreign if room_of(module) not in THIRD_PARTY.get(p, set())} == set()


@pytest.mark.parametrize("room", ["encoders", "storage", "training", "search"])
def test_only_evidence_and_cli_can_reach_the_test_split(room):
    for module, path in MODULES.items():
        text = path.read_text() if room_of(module) == room else ""
        assert "read_test" not in text and "test_split" not in text, module


def test_the_command_line_answers_without_heavy_imports():
    code = f"import sys, autoprune.cli; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
