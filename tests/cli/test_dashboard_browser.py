"""The dashboard in a browser: two studies, their notes and plots, and no way to write."""

import json
import select
import shutil
import signal
from urllib.request import urlopen

import optuna
import pytest

from autoprune.reporting.dashboard_note import StudyDescription, first_note
from autoprune.search.dashboard import save_first_note
from autoprune.storage.storage import JOURNAL, open_storage
from autoprune.training.budget import Budget

NASTY = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2> **b** $x$"
STUDY = "tiny-own-keep2"
SECONDS = 120  # a page loads in two; a machine may be busy with other things


@pytest.fixture(scope="module")
def folder(searched, tmp_path_factory):
    """Return a copy of the searched folder, and a second study, with names that are markup."""
    folder = tmp_path_factory.mktemp("shown") / "searched"
    shutil.copytree(searched.folder, folder)
    storage = open_storage(None, folder / "studies" / "evil")
    optuna.create_study(storage=storage, study_name=NASTY, direction="maximize")
    budget = Budget(steps=10)
    study = StudyDescription(NASTY, NASTY, (NASTY, "b"), "accuracy", 12, 6, budget, budget)
    save_first_note(storage, NASTY, first_note(study))
    return folder


@pytest.fixture(scope="module")
def address(start, folder):
    """Serve the folder with the command itself; return the address that it prints."""
    server = start("dashboard", "--no-browser", "--port", 8491, folder=folder)
    assert select.select([server.stdout], [], [], SECONDS)[0], "the command prints its address"
    line = server.stdout.readline()
    assert line.endswith(" until Ctrl-C\n"), server.stderr.read()
    yield line.removesuffix(" until Ctrl-C\n")
    server.send_signal(signal.SIGINT)
    assert "Traceback" not in server.communicate(timeout=30)[1]


@pytest.fixture(scope="module")
def tab(chromium, address):
    """Return one tab for all pages; `problems` lists errors, and requests to other hosts."""
    own = (address.removesuffix("dashboard/"), "data:", "blob:", "about:")
    tab = chromium.new_page(viewport={"width": 1400, "height": 1200})
    tab.set_default_timeout(SECONDS * 1000)
    tab.problems = []

    def check_request(request):
        if not request.url.startswith(own):
            tab.problems.append(f"request {request.url}")

    tab.on("request", check_request)
    tab.on("console", lambda message: tab.problems.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: tab.problems.append(f"failed {error}"))
    tab.on("dialog", lambda dialog: tab.problems.append(f"dialog {dialog.message}"))
    yield tab
    tab.close()


@pytest.fixture
def show(tab, address):
    """Open a page below the dashboard in the tab."""

    def show(path=""):
        tab.goto("about:blank")
        tab.problems.clear()
        tab.goto(f"{address}{path}", wait_until="networkidle")
        return tab

    return show


def test_read_only_dashboard_hides_what_changes_studies(show):
    tab = show()
    tab.get_by_text(STUDY).first.wait_for()
    for name in ("Create", "delete study", "rename study"):
        button = tab.get_by_label(name) if name != "Create" else tab.get_by_text("Create")
        assert [each.is_visible() for each in button.all()] == [False] * button.count()
    assert tab.evaluate("document.head.innerHTML.includes('delete study')")


@pytest.fixture(scope="module")
def numbers(address):
    """Return the number of each study by its name."""
    with urlopen(f"{address.removesuffix('dashboard/')}api/studies") as answer:
        studies = json.load(answer)["study_summaries"]
    return {study["study_name"]: study["study_id"] for study in studies}


def test_dashboard_shows_two_studies_on_127_0_0_1(show, address):
    assert address.startswith("http://127.0.0.1:84")
    tab = show()
    tab.get_by_text(STUDY).wait_for()
    assert tab.get_by_text(NASTY).count() == 1
    assert tab.get_by_text("MAXIMIZE").count() == 2
    assert tab.problems == []


@pytest.mark.parametrize(
    ("name", "page"),
    [(STUDY, ""), (STUDY, "/analytics"), (STUDY, "/trials"), (STUDY, "/note"), (NASTY, "")],
)
def test_dashboard_pages_load_without_an_error(show, numbers, name, page):
    tab = show(f"studies/{numbers[name]}{page}")
    tab.get_by_text(f"{name} (id={numbers[name]})").wait_for()
    assert tab.problems == []
    assert tab.evaluate("typeof window.pwned") == "undefined"


def test_dashboard_note_is_shown_as_text(show, numbers):
    tab = show(f"studies/{numbers[NASTY]}/note")
    tab.get_by_text(f"layers of {NASTY} should be kept").wait_for()
    assert tab.locator("main img, main script").count() == 0
    tab = show(f"studies/{numbers[STUDY]}/note")
    for heading in ("What", "How", "Result"):
        tab.get_by_role("heading", name=heading, exact=True).wait_for()
    assert tab.locator("table tr", has_text="reference").count() == 1


def test_dashboard_draws_both_plots(show, numbers):
    tab = show(f"studies/{numbers[STUDY]}")
    for title in ("Layer effects on validation", "Layout map: 6 layouts, best on top"):
        plot = tab.locator(".js-plotly-plot", has_text=title)
        plot.wait_for()
        assert plot.locator(".trace path, .hm image").count() > 0


def test_dashboard_trial_has_its_result(show, numbers):
    tab = show(f"studies/{numbers[STUDY]}/trials?numbers=0")
    tab.get_by_text("at the end of its budget").wait_for()
    message = tab.locator("body").inner_text()
    for words in ("picture ●●○○○", "origin top", "validation ", "loss ", "seconds "):
        assert words in message


def test_dashboard_read_only_refuses_changes(show, numbers, folder):
    journals = [folder / "studies" / name / JOURNAL for name in (STUDY, "evil")]
    before = [journal.read_bytes() for journal in journals]
    tab = show(f"studies/{numbers[STUDY]}/note")
    code = """async ([method, path, body]) =>
        (await fetch(path, {method, body, headers: {'Content-Type': 'application/json'}})).status"""
    study = f"/api/studies/{numbers[STUDY]}"
    note = json.dumps({"version": 3, "body": "changed"})
    assert tab.evaluate(code, ["PUT", f"{study}/note", note]) == 405
    assert tab.evaluate(code, ["DELETE", study, "{}"]) == 405
    assert tab.evaluate(code, ["POST", "/api/studies", "{}"]) == 405
    assert [journal.read_bytes() for journal in journals] == before
