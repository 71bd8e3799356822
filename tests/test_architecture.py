"""The subpackages: who may import whom, who may import what, and what stays out of sight."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import autoprune
from autoprune.cli.app import app

ROOT = Path(autoprune.__file__).parent
SUBPACKAGES = [
    "errors",
    "choices",
    "files",
    "terminal",
    "processes",
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
# Which subpackages may import a package; what is not named is the standard library's or forbidden.
THIRD_PARTY = {
    "numpy": {*SUBPACKAGES[SUBPACKAGES.index("encoders") :]},
    "torch": {"encoders", "tasks", "training", "export", "experiment", "pretraining", "cli"},
    "transformers": {"encoders", "tasks", "training", "export", "experiment", "pretraining", "cli"},
    "huggingface_hub": {"encoders", "tasks", "export", "pretraining"},
    "safetensors": {"encoders", "training", "export", "pretraining"},
    "sentencepiece": {"encoders"},
    "tokenizers": {"encoders", "export", "pretraining"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "openvino": {"export"},
    "nncf": {"export"},
    "starlette": {"export"},
    "uvicorn": {"export"},
    "pyarrow": {"tasks"},
    "datasets": {"tasks"},
    "platformdirs": {"tasks"},
    "peft": {"training"},
    "tqdm": {"training"},
    "sklearn": {"tasks", "training", "search", "evaluation", "pretraining"},
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
    "jinja2": {"reporting", "reproduction"},
    "plotly": {"reporting", "reproduction"},
    "mlflow": {"experiment"},
    "ray": {"training"},
    "pydantic": {"experiment", "reproduction"},
    "tomli_w": {"experiment"},
    "pandas": {"experiment"},
    "typer": {"cli", "experiment"},
    "rich": {"terminal", "cli", "experiment"},
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


def subpackage_of(module: str) -> str:
    return module.split(".")[0].replace("__main__", "cli")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_a_subpackage_imports_only_from_those_above(module):
    own = SUBPACKAGES.index(subpackage_of(module))
    below = {
        name
        for name in own_imports(MODULES[module])
        if SUBPACKAGES.index(subpackage_of(name)) > own
    }
    assert not below


def test_modules_import_each_other_in_one_direction():
    graph = {
        name: own_imports(path) - {name} for name, path in MODULES.items() if name != "__init__"
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_third_parties_stay_in_their_subpackages(module):
    packages = {name.split(".")[0] for name in imports_of(MODULES[module])}
    foreign = packages - set(sys.stdlib_module_names) - {"autoprune"}
    assert {p for p in foreign if subpackage_of(module) not in THIRD_PARTY.get(p, set())} == set()


@pytest.mark.parametrize("subpackage", ["encoders", "storage", "training", "search"])
def test_test_split_is_out_of_reach_of_the_search(subpackage):
    for module, path in MODULES.items():
        text = path.read_text() if subpackage_of(module) == subpackage else ""
        assert "read_test" not in text and "test_split" not in text, module


def test_the_command_line_answers_without_heavy_imports():
    code = f"import sys, autoprune.cli; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_finished_studies_are_read_without_torch():
    names = "autoprune.experiment.study_store, autoprune.evaluation.study_comparison"
    code = f"import sys, {names}; print({{'torch', 'transformers', 'sklearn'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# A command has the name of what it does; each program has a main.
COMMANDS = {command.callback.__name__ for command in app.registered_commands} | {"main"}


def public_names(module):
    """Return the functions, classes and constants that a module defines for others."""
    for node in ast.parse(MODULES[module].read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_public_name_is_defined_once():
    counts = Counter(
        name
        for module in MODULES
        for name in public_names(module)
        if not name.startswith("_") and not (subpackage_of(module) == "cli" and name in COMMANDS)
    )
    assert [name for name, count in counts.items() if count > 1] == []


# What is imported: not the command line, nor export/reload.py, which is a program.
LIBRARY = [name for name in MODULES if subpackage_of(name) != "cli" and name != "export.reload"]


def functions(module):
    """Return the functions and methods of a module."""
    nodes = ast.walk(ast.parse(MODULES[module].read_text()))
    return [node for node in nodes if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("module", [*LIBRARY, "export.reload"])
def test_function_takes_at_most_seven_parameters(module):
    for function in functions(module):
        arguments = function.args
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        count = len(names) + len(arguments.kwonlyargs) - (names[:1] in (["self"], ["cls"]))
        assert count <= 7, f"{function.name} takes {count}: make a dataclass"


# What takes settings by name makes them a StudyConfig at once.
BY_NAME = {("api", "run_search"), ("api", "run_baseline"), ("experiment.config", "from_options")}


@pytest.mark.parametrize("module", MODULES)
def test_no_options_travel_as_a_dict(module):
    for function in functions(module):
        keywords = function.args.kwarg
        if keywords is None or (module, function.name) in BY_NAME or module == "cli.arguments":
            continue
        hint = ast.unparse(keywords.annotation) if keywords.annotation else "Any"
        forwards = function.name == "forward"  # of a torch module, whose callers decide
        assert hint != "Any" or forwards, f"{function.name} takes **{keywords.arg}"


@pytest.mark.parametrize("module", LIBRARY)
def test_library_subpackage_does_not_print_exit_or_read_arguments(module):
    tree = ast.parse(MODULES[module].read_text())
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    forbidden = {"print", "input", "sys.argv", "sys.exit", "typer.echo", "typer.Exit"}
    if module not in PROCESSES:
        forbidden |= {"os._exit"}
    if module not in {*PROCESSES, "training.devices"}:
        forbidden.add("torch.set_num_threads")
    if module not in DISPLAYS:
        forbidden.add("Console")
    assert used & forbidden == set()


# They start processes of their own; training.devices sets threads in a block that sets them back.
PROCESSES = {"training.workers", "training.ray_workers", "encoders.profiling"}
DISPLAYS = {"experiment.progress", "terminal"}  # an object that the caller hands in


@pytest.mark.parametrize("module", LIBRARY)
def test_library_subpackage_names_no_folder_of_studies(module):
    named = [
        node.args[0].value
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Path"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    assert not {"studies", "reports"} & set(named)


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_module_docstring_begins_with_its_term(module):
    first = ast.get_docstring(ast.parse(MODULES[module].read_text())).splitlines()[0]
    is_subpackage = MODULES[module].name == "__init__.py"
    assert is_subpackage or re.match(r"[A-Z][\w ,.()'-]*: \w", first), first


def test_modules_are_neither_fragments_nor_heaps():
    sizes = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: size for name, size in sizes.items() if size > 450} == {}
    importers = Counter(name for path in MODULES.values() for name in own_imports(path))
    fragments = [
        name
        for name, size in sizes.items()
        if size < 40 and importers[name] == 1 and MODULES[name].name != "__init__.py"
    ]
    assert [name for name in fragments if subpackage_of(name) != "cli"] == []


@pytest.mark.parametrize(
    ("word", "module"),
    [
        ("heartbeat", "storage.heartbeat"),
        ("retry", "retry"),
        ("acquisition", "search.gp_sampler"),
        ("early stopping", "training.evaluator"),
        ("resume", "training.checkpoint"),
        ("objective", "search.study"),
        ("scheduler", "training.loop"),
        ("gradient accumulation", "training.loop"),
        ("process pool", "training.workers"),
    ],
)
def test_word_of_the_field_leads_to_its_file(word, module):
    assert word in MODULES[module].read_text().lower()


@pytest.mark.parametrize("module", [name for name in MODULES if name != "terminal"])
def test_only_safe_consoles_write_to_a_terminal(module):
    """Names from outside may hold escape sequences: `terminal` and `cli.options` escape them."""
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Call)
    ]
    assert "Console" not in calls
    assert module in ("cli.options", "cli.app") or not {"typer.echo", "print"} & {*calls}
