"""One thread per test process: tiny models are an order of magnitude slower on several."""

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# Test modules are imported one by one (importmode=importlib), so what they share is put in reach.
sys.path.insert(0, str(Path(__file__).parent))
from hub_server import HubServer

torch.set_num_threads(1)

# The same examples in each run, so that a change alone makes a test fail; for others:
# AUTOPRUNE_NEW_EXAMPLES=1.
settings.register_profile("repeatable", derandomize="AUTOPRUNE_NEW_EXAMPLES" not in os.environ)
settings.load_profile("repeatable")

pytest_plugins = ["storage_fixtures", "study_fixtures"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
NO_BROWSER = "no Chromium on this machine, so no page was looked at: apt-get install chromium"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return one test process more than there are cores: many tests wait for a command."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that need a browser where there is none."""
    if CHROMIUM is not None:
        return
    without = [item for item in items if "chromium" in getattr(item, "fixturenames", ())]
    if without:
        items[:] = [item for item in items if item not in without]
        config.hook.pytest_deselected(items=without)


def pytest_terminal_summary(terminalreporter):
    """Say at the end that the browser tests did not run."""
    if CHROMIUM is None:
        terminalreporter.write_line(f"the browser tests were left out: {NO_BROWSER}")


@pytest.fixture(scope="module")
def chromium():
    """Return Debian's Chromium under playwright's control."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium, tmp_path):
    """Open a page's HTML in a browser tab; its `events` list every request, message and error."""
    opened = []

    def browse(html, width=1400, theme="light"):
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        tab = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
        opened.append(tab)
        tab.events = []
        tab.on("request", lambda request: tab.events.append(f"request {request.url}"))
        tab.on("console", lambda message: tab.events.append(f"console {message.text}"))
        tab.on("pageerror", lambda error: tab.events.append(f"error {error}"))
        tab.on("dialog", lambda dialog: tab.events.append(f"dialog {dialog.message}"))
        tab.goto(file.as_uri())
        tab.wait_for_selector(f"html[data-drawn={theme}]", state="attached")
        return tab

    yield browse
    for tab in opened:
        tab.close()


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """Run each test in a folder of its own, with caches of its own and no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("AUTOPRUNE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("AUTOPRUNE_DATA_DIR", raising=False)
    monkeypatch.delenv("AUTOPRUNE_STORAGE", raising=False)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Serve a hub on this machine, and have this process use it, with an empty cache."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with HubServer() as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        close_session()
        yield server
        close_session()
