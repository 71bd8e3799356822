"""Grid picture: plot the cells of a plan as a PNG, from the studies in its folder.

    python benchmarks/maintenance/grid_picture.py studies/mini reports/mini.png

Needs Chromium and the dev extra (playwright).
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from autoprune.evaluation.study_files import is_finished_study, read_study
from autoprune.reproduction.page import grid_plot
from autoprune.reproduction.paired_tests import cell_result

WIDTH = 900


def save_picture(folder: Path, path: Path) -> None:
    """Plot all finished cells below `folder`, by model and task, the most layers first."""
    studies = [read_study(path) for path in sorted(folder.iterdir()) if is_finished_study(path)]
    cells = sorted(map(cell_result, studies), key=lambda cell: (cell.model, cell.task, -cell.keep))
    figure = grid_plot(cells)
    height = figure.layout.height
    figure.update_layout(width=WIDTH, margin={"l": 16, "r": 24, "t": 24, "b": 16})
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": WIDTH + 16, "height": height + 16}, device_scale_factor=2
        )
        page.set_content(figure.to_html(include_plotlyjs=True), wait_until="load")
        page.screenshot(path=path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    save_picture(arguments.folder, arguments.picture)
