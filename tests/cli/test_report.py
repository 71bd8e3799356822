"""The report command: which files it writes, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

NAME = "tiny-own-keep2"
STUDY = Path("studies") / NAME


def second(name="other"):
    """Copy the study under another name and return its folder."""
    return shutil.copytree(STUDY, Path("studies") / name)


def test_report_takes_all_finished_studies_by_default(run, copy, task):
    shutil.rmtree("reports")
    answer = run("report")
    page = Path("reports") / f"{NAME}.html"
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [str(page.with_suffix(".md")), str(page)]
    text = page.read_text(encoding="utf-8")
    assert "tiny on own: 2 of 5 layers" in text
    assert "Importance of each layer" in text
    assert "Test texts that one model has wrong" in text


@pytest.mark.slow
def test_report_prints_only_its_files(start, copy):
    with start("report", NAME, folder=copy) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.split() == [f"reports/{NAME}.md", f"reports/{NAME}.html"]


def test_report_writes_the_same_markdown_as_the_search(run, searched, copy):
    before = Path("reports", f"{NAME}.md").read_text(encoding="utf-8")
    assert run("report", NAME).code == 0
    assert Path("reports", f"{NAME}.md").read_text(encoding="utf-8") == before


def test_report_writes_the_page_to_out(run, copy):
    answer = run("report", STUDY, "--out", "my/own.html")
    assert answer.out.split() == ["my/own.md", "my/own.html"]
    assert Path("my/own.html").stat().st_size > 1_000_000


def test_report_on_several_studies_is_one_page(run, copy):
    second()
    answer = run("report", NAME, "other", NAME)
    assert answer.out.split() == [
        f"reports/{NAME}.md",
        "reports/other.md",
        "reports/studies.html",
    ]
    assert "2 studies" in Path("reports/studies.html").read_text(encoding="utf-8")


def test_report_without_the_data_has_no_texts(run, copy):
    entry = json.loads((STUDY / "study.json").read_text())
    entry["config"]["data"]["data_dir"] = None
    entry["config"]["task"] = "gone/folder/of.csv"
    (STUDY / "study.json").write_text(json.dumps(entry))
    answer = run("report", NAME)
    assert answer.code == 0
    [line] = answer.lines
    assert line.startswith(f"the report on {NAME} shows no texts: ")
    assert "The texts are left out" in Path("reports", f"{NAME}.html").read_text(encoding="utf-8")


def test_report_with_other_rows_has_no_texts(run, copy):
    entry = json.loads((STUDY / "study.json").read_text())
    entry["config"]["data"]["keep_duplicates"] = True
    (STUDY / "study.json").write_text(json.dumps(entry))
    answer = run("report", NAME)
    assert answer.code == 0
    [line] = answer.lines
    assert "shows no texts: the test rows of study tiny-own-keep2 differ from those" in line


def test_report_with_a_broken_journal_has_no_importances(run, copy):
    (STUDY / "journal.log").write_text("no journal\n")
    answer = run("report", NAME)
    assert answer.code == 0
    [line] = answer.lines
    assert line.startswith(f"the report on {NAME} shows no importances: ")


def test_report_with_broken_costs_has_no_costs(run, copy):
    (STUDY / "cost.json").write_text("{}")
    answer = run("report", NAME)
    assert answer.code == 0
    [line] = answer.lines
    assert line.startswith(f"the report on {NAME} shows no measured cost: ")
    assert "not measured yet" in Path("reports", f"{NAME}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny-own-keep3"], "did you mean 'tiny-own-keep2'?"),
        (["begun"], "no finished study in"),
        ([NAME, "--out", "report.pdf"], "--out must name a file that ends in .html"),
        ([NAME, "--out", "reports/folder.html"], "cannot write reports/folder.html"),
        ([NAME, "--data-dir", "nowhere"], "--data-dir must be a folder"),
        ([NAME, f"elsewhere/{NAME}"], "need different names"),
    ],
)
def test_report_reports_wrong_input_in_one_line(run, copy, arguments, message):
    Path("studies/begun").mkdir()
    shutil.copy(STUDY / "journal.log", "studies/begun")
    Path("reports/folder.html").mkdir()
    shutil.copytree(STUDY, f"elsewhere/{NAME}")
    assert message in run("report", *arguments).refusal()


def test_report_without_studies_is_refused(run, tmp_path):
    assert "no finished study here" in run("report").refusal()


def test_report_opens_the_page_on_demand(run, copy, monkeypatch):
    seen = []
    monkeypatch.setattr("webbrowser.open", seen.append)
    run("report", NAME, "--open")
    assert seen == [Path("reports", f"{NAME}.html").resolve().as_uri()]


def test_report_in_the_repository_is_what_the_command_writes(run, tmp_path, monkeypatch):
    root, name = Path(__file__).parents[2], "mr-12-shc-keep6"
    shutil.copytree(root / "studies" / name, tmp_path / "studies" / name)
    monkeypatch.chdir(tmp_path)
    assert run("report", name).code == 0
    written = Path("reports", f"{name}.md").read_text(encoding="utf-8")
    assert written == (root / "reports" / f"{name}.md").read_text(encoding="utf-8")
