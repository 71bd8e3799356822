"""The packages that constraints.txt pins, with the day each version was released, in Markdown.

    python benchmarks/maintenance/dependencies.py pylock.toml > reports/dependencies.md

SECURITY.md says how to make the lock file, which has the registry's dates.
"""

import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any


def release_date(package: dict[str, Any]) -> date | None:
    """Return the day on which the first file of a package's version was uploaded."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    days = [file["upload-time"].date() for file in files if "upload-time" in file]
    return min(days, default=None)


def table(lock: dict[str, Any], today: date) -> str:
    """Return the packages as a Markdown table, those released last first."""
    rows = [
        (release_date(package), package["name"], package["version"]) for package in lock["packages"]
    ]
    rows.sort(key=lambda row: (-(row[0] or date.min).toordinal(), row[1]))
    lines = [
        "# Packages and their age",
        "",
        f"The {len(rows)} packages of [constraints.txt](../constraints.txt) on {today}, those "
        "released last first; made as `benchmarks/maintenance/dependencies.py` tells.",
        "",
        "| package | version | released | days ago |",
        "|---|---|---|---|",
    ]
    for day, name, version in rows:
        age = "" if day is None else str((today - day).days)
        lines.append(f"| {name} | {version} | {day or 'unknown'} | {age} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        print(table(tomllib.load(file), datetime.now(UTC).date()), end="")
