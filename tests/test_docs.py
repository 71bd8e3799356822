"""Documents: what they mention exists, their commands parse, their Python runs."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import typer

import autoprune
from autoprune import api
from autoprune.cli.app import app
from autoprune.experiment.config import SECTIONS, StudyConfig, read_toml
from autoprune.reproduction.plan import read_plan
from test_architecture import SUBPACKAGES
from tiny_models import NUMBERS, save_model

PACKAGE = Path(autoprune.__file__).parent
ROOT = PACKAGE.parents[1]
OF_A_USER = {"studies/", "reports/", "studies/NAME/", "cli/NAME.py"}
DOCUMENTS = ["CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md"]
PAGES = [
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
]
REPOSITORY = "https://github.com/autoprune/autoprune/"
COMMANDS = typer.main.get_command(app).commands


def mentioned(document):
    """Return the texts in backticks, without those of code blocks, and the links."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text), re.findall(r"\]\(([^)]+)\)", text)


def code_of(page, language):
    """Return the code blocks of a page in one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def with_code(language):
    return [page for page in PAGES if code_of(page, language)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_mention_files_that_exist(document):
    texts, _ = mentioned(document)
    paths = {text for text in texts if re.fullmatch(r"[\w/]+(\.py|/)", text)} - OF_A_USER
    missing = [path for path in paths if not any((top / path).exists() for top in (PACKAGE, ROOT))]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_mention_names_that_exist(document):
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    source += "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    names = [text for text in mentioned(document)[0] if re.fullmatch(r"[A-Za-z]\w*[A-Z_]\w+", text)]
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


def test_architecture_lists_the_rooms_in_their_order():
    table = (
        (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("| subpackage |")[2]
    )
    rows = table.partition("```")[0].splitlines()[2:]
    subpackages = [
        name.removesuffix("/").removesuffix(".py")
        for row in rows
        if row
        for name in re.findall(r"`([\w./]+)`", row.split("|")[1])
    ]
    assert subpackages == SUBPACKAGES


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_links_name_files_that_exist(page):
    missing = []
    for link in mentioned(page)[1]:
        target = re.sub(rf"^{re.escape(REPOSITORY)}(?:blob|tree)/main/", "/", link)
        target = re.sub(
            r"^https://raw.githubusercontent.com/autoprune/autoprune/main/", "/", target
        )
        path = target.partition("#")[0]
        if path.startswith("http") or not path:
            continue
        if not (ROOT / path[1:] if path[0] == "/" else (ROOT / page).parent / path).exists():
            missing.append(link)
    assert missing == []


def test_readme_has_absolute_links_and_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [link for link in mentioned("README.md")[1] if not link.startswith("https://")] == []
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1200


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert [page for page in pages if page not in nav] == []


@pytest.mark.parametrize("page", with_code("bash"))
def test_commands_in_documents_parse(page):
    lines = "".join(code_of(page, "bash")).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("autoprune ")]
    assert commands
    for _, first, *arguments in commands:
        if not first.startswith("--"):
            COMMANDS[first].make_context(first, arguments)  # raises where it would be refused


@pytest.mark.parametrize("page", with_code("toml"))
def test_configurations_in_documents_are_read(page, tmp_path):
    for block in code_of(page, "toml"):
        file = tmp_path / "file.toml"
        file.write_text(block, encoding="utf-8")
        if "\nkeeps =" in block:
            assert read_plan(file).keeps
        else:
            assert StudyConfig.from_dict(read_toml(file))


TINY = {"keep": 2, "trials": 2, "epochs": 1, "full_epochs": 1, "seeds": 1, "workers": 1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a folder with `reviews.csv`, a finished study and an exported model."""
    folder = tmp_path_factory.mktemp("documents")
    model = save_model("bert", folder / "tiny")
    rows = [
        (" ".join([NUMBERS[i % 3]] * 3 + [NUMBERS[i * 7 % len(NUMBERS)], f"r{i}"]), f"l{i % 3}")
        for i in range(90)
    ]
    pandas.DataFrame(rows, columns=["review", "stars"]).to_csv(folder / "reviews.csv", index=False)
    asked = {"model": str(model), "train": folder / "reviews.csv", "text": "review"}
    result = api.run_search(root=folder, **asked, label="stars", **TINY)
    options = api.ExportOptions(seeds=1, workers=1, force=True)
    api.export_model(result, folder / "my-model", options)
    return folder, model, result.name


@pytest.mark.parametrize(
    "page",
    [
        page if page == "README.md" else pytest.param(page, marks=pytest.mark.slow)
        for page in with_code("python")
    ],
)
def test_python_in_documents_runs(page, prepared, tmp_path, monkeypatch):
    folder, model, study = prepared
    for name in ("studies", "my-model"):
        shutil.copytree(folder / name, tmp_path / name)
    shutil.copy(folder / "reviews.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    search, export = api.run_search, api.export_model
    made = iter(range(100))
    monkeypatch.setitem(  # the same calls with a tiny model and budget
        vars(autoprune), "run_search", lambda **options: search(**options | TINY | {"model": model})
    )
    monkeypatch.setitem(
        vars(autoprune),
        "export_model",
        lambda result, out: export(
            result, f"{out}-{next(made)}", api.ExportOptions(seeds=1, workers=1, force=True)
        ),
    )
    names = {}
    for block in code_of(page, "python"):
        exec(compile(block.replace("STUDY", study), page, "exec"), names)


def load_hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks


def test_reference_has_the_defaults_0_and_1_and_no_setting_that_is_none():
    hooks = load_hooks()
    commands = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    assert "| `--parts` | Parts a batch is computed in, to save memory. | `1` |" in commands
    assert "| `--seed` | Seed of the search. | `0` |" in commands
    fields = set().union(StudyConfig.model_fields, *(s.model_fields for s in SECTIONS.values()))
    assert set(hooks.SETTINGS) <= fields


def test_reference_pages_say_what_the_code_says():
    hooks = load_hooks()
    for page in hooks.PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert hooks.fill(text) == text, f"{page.name} is old: python docs/hooks.py"


def test_reference_has_every_command_and_option():
    text = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    text = text.partition("<!-- end of commands -->")[0]
    sections = dict(re.findall(r"^## autoprune (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.M))
    assert sections.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        flags = {flag for each in command.params for flag in each.opts if flag.startswith("--")}
        assert flags <= set(re.findall(r"`(--[\w-]+)`", sections[name]))


def test_reference_has_every_setting_and_event():
    hooks = load_hooks()
    settings = set(re.findall(r"^\| `(\w+)`", hooks.configuration_reference(), re.MULTILINE))
    known = {name for section in SECTIONS.values() for name in section.model_fields}
    assert known <= settings
    names = re.findall(r"^\| `(\w+)`", hooks.function_reference(), re.MULTILINE)
    assert sorted(names) == sorted(autoprune.__all__)
    assert hooks.event_reference().count("`trial begun`") == 1
    assert "`predictions`" in hooks.record_reference()


def test_documents_are_built_without_a_warning(tmp_path):
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/reference/command-line/index.html").read_text(encoding="utf-8")
    assert "--learning-rates" in page
