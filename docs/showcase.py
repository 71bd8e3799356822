"""Make everything that the documents show, anew, from one run of the demo: `make showcase`.

Writes the transcript of docs/start/first-search.md, the table of README.md, the pictures of report
and dashboard, and the example report. Needs the `dev` extra with Chromium (`playwright install
chromium`).
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
STUDY = "demo-demo-keep6"
AUTOPRUNE = [sys.executable, "-m", "autoprune"]
SEARCH = ["search", "--model", "demo", "--task", "demo", "--keep", "6"]


def main() -> None:
    """Run the demo in an empty folder and copy what it gave."""
    folder = Path(tempfile.mkdtemp(prefix="showcase-"))
    searched = subprocess.run(
        [*AUTOPRUNE, *SEARCH],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    (folder / "search.txt").write_text(searched.stdout, encoding="utf-8")
    for command in (["cost", STUDY], ["report", STUDY]):
        subprocess.run([*AUTOPRUNE, *command], cwd=folder, check=True)
    copy(folder)


def copy(folder: Path) -> None:
    """Take transcript, report and pictures from a folder in which the demo ran."""
    printed = (folder / "search.txt").read_text(encoding="utf-8").rstrip().splitlines()
    shown = [f"$ autoprune {' '.join(SEARCH[:])}", *shorten(printed)]
    put_between_marks(ROOT / "docs/start/first-search.md", shown)
    put_between_marks(ROOT / "README.md", readme_table(printed))
    report = (folder / "reports" / f"{STUDY}.md").read_text(encoding="utf-8")
    (ROOT / "docs/example-report.md").write_text(report, encoding="utf-8")
    take_pictures(folder)


def put_between_marks(page: Path, lines: list[str]) -> None:
    """Put what the terminal showed into a page, in place of what is there."""
    block = re.compile(r"(<!-- showcase[^\n]*-->\n```text\n).*?(```\n<!-- end)", re.DOTALL)
    text = "\n".join(lines)
    old = page.read_text(encoding="utf-8")
    page.write_text(block.sub(lambda match: f"{match[1]}{text}\n{match[2]}", old), encoding="utf-8")


def shorten(lines: list[str]) -> list[str]:
    """Leave out the middle of the trials and of the comparison's runs."""
    kept = []
    for line in lines:
        number = re.match(r"(trial|run) +(\d+)/(\d+)", line)
        if number and 5 < int(number[2]) <= int(number[3]) - 2:
            if kept[-1] != "...":
                kept.append("...")
            continue
        kept.append(line.rstrip())
    return kept


def readme_table(lines: list[str]) -> list[str]:
    """Return the comparison with the columns that a README has room for, and the recommendation."""
    header = next(i for i, line in enumerate(lines) if re.match(r" *origin +layers", line))
    end = next(i for i in range(header, len(lines)) if lines[i].startswith("Recommended"))
    columns = [
        (match[0], match.start(), match.end())
        for match in re.finditer(r"95 % interval|\S+", lines[header])
    ]
    shown = ("origin", "layers", "test", "validation", "difference", "95 % interval", "p")
    rows = []
    for line in lines[header:end]:
        if re.match(r"[\s─]*$", line):
            continue
        if not line.startswith(" "):
            break
        cells = {}
        for i, (name, start, stop) in enumerate(columns):
            left = name in ("origin", "layers", "layout")
            low = start if left else (columns[i - 1][2] if i else 0)
            high = stop if not left else (columns[i + 1][1] if i + 1 < len(columns) else None)
            cells[name] = line[low:high].split("  ")[-1 if not left else 0].strip()
        rows.append([cells[name] for name in shown])
    widths = [max(len(row[i]) for row in rows) for i in range(len(shown))]
    table = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [*table, lines[end]]


def take_pictures(folder: Path) -> None:
    """Take the head of the report, and the study's page in the dashboard."""
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox"],
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5)
        page.goto((folder / "reports" / f"{STUDY}.html").resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=ROOT / "docs/images/report.png")
        server = subprocess.Popen(
            [*AUTOPRUNE, "dashboard", STUDY, "--no-browser", "--port", "8391"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout
            address = server.stdout.readline().split()[0]
            picture_of_dashboard(page, address)
        finally:
            server.terminate()
            server.wait()
            browser.close()


def picture_of_dashboard(page: Page, address: str) -> None:
    """Take the first study's page."""
    page.goto(f"{address.rstrip('/')}/studies/0")
    page.get_by_text("Hyperparameter Importance").first.wait_for(timeout=60_000)
    page.wait_for_timeout(3000)  # the plots are drawn one after another
    page.screenshot(path=ROOT / "docs/images/dashboard.png")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        copy(Path(sys.argv[1]))
    else:
        main()
