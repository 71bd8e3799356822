"""The packages: each is pinned, and the table of their age has them all."""

import re
import runpy
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = """
[[packages]]
name = "older"
version = "1.0"
sdist = { url = "https://x/older-1.0.tar.gz", upload-time = 2024-02-03T23:00:00Z }
wheels = [{ url = "https://x/older-1.0.whl", upload-time = 2024-02-05T00:00:00Z }]

[[packages]]
name = "newer"
version = "2.0"
wheels = [{ url = "https://x/newer-2.0.whl", upload-time = 2024-03-01T12:00:00Z }]

[[packages]]
name = "undated"
version = "3.0"
"""


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_table_has_the_first_day_of_each_version():
    table = runpy.run_path(str(ROOT / "benchmarks" / "maintenance" / "dependencies.py"))["table"]
    text = table(tomllib.loads(LOCK), date(2024, 3, 4))
    assert text.splitlines()[-3:] == [
        "| newer | 2.0 | 2024-03-01 | 3 |",
        "| older | 1.0 | 2024-02-03 | 30 |",
        "| undated | 3.0 | unknown |  |",
    ]


def test_each_pinned_package_stands_in_the_table():
    """Where it fails: make the table again, as SECURITY.md tells."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    rows = (ROOT / "reports" / "dependencies.md").read_text().splitlines()[6:]
    told = dict(row.strip("| ").split(" | ")[:2] for row in rows)
    assert told == {plain(name): version for name, version in pinned.items()}


def test_each_package_that_is_asked_for_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]
    names = {plain(re.match(r"[\w.-]+", one)[0]) for one in asked} - {"autoprune"}
    pinned = {plain(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    assert names - pinned == set()
