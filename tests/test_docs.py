"""Documents for contributors: the files, names and rooms that they mention exist."""

import re
from pathlib import Path

import pytest

import autoprune
from test_architecture import ROOMS

PACKAGE = Path(autoprune.__file__).parent
ROOT = PACKAGE.parents[1]
OF_A_USER = {"studies/", "reports/", "studies/NAME/", "cli/NAME.py"}
DOCUMENTS = ["CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md"]


def mentioned(document):
    """Return the texts in backticks, without those of code blocks, and the links."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text), re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_mention_files_that_exist(document):
    texts, links = mentioned(document)
    paths = {text for text in texts if re.fullmatch(r"[\w/]+(\.py|/)", text)} - OF_A_USER
    missing = [path for path in paths if not any((top / path).exists() for top in (PACKAGE, ROOT))]
    assert missing == []
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_mention_names_that_exist(document):
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    source += "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    names = [text for text in mentioned(document)[0] if re.fullmatch(r"[A-Za-z]\w*[A-Z_]\w+", text)]
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


def test_architecture_lists_the_rooms_in_their_order():
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("| room |")[2]
    rows = table.partition("```")[0].splitlines()[2:]
    rooms = [
        name.removesuffix("/").removesuffix(".py")
        for row in rows
        if row
        for name in re.findall(r"`([\w./]+)`", row.split("|")[1])
    ]
    assert rooms == ROOMS
