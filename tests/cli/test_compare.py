"""The compare command: what two studies recommend, on the same rows, or a refusal in one line."""

import json
import shutil
from pathlib import Path

import pytest

from autoprune.evaluation.study_files import read_study

NAME = "tiny-own-keep2"
STUDY = Path("studies") / NAME


def test_compare_tests_the_two_recommended_layouts(run, copy):
    shutil.copytree(STUDY, "studies/same")
    answer = run("compare", NAME, "studies/same")
    assert (answer.code, answer.err) == (0, "")
    first, second, message = answer.out.splitlines()
    comparison = read_study(STUDY).comparison
    row = comparison.row(comparison.best)
    assert first.split()[:2] == [NAME, row.layout.picture]
    assert second.split()[:2] == ["same", row.layout.picture]
    assert f"{100 * row.test_mean:.1f} %" in first
    assert message.startswith("Both studies recommend the same layout of the same model")


def test_compare_json_has_the_same_figures(run, copy):
    shutil.copytree(STUDY, "studies/same")
    values = json.loads(run("compare", NAME, "same", "--json").out)
    comparison = read_study(STUDY).comparison
    row = comparison.row(comparison.best)
    assert values["first"]["layout"] == values["second"]["layout"] == str(row.layout)
    assert values["first"]["test_mean"] == pytest.approx(row.test_mean)
    assert (values["difference"], values["p_value"]) == (0, 1)
    assert (values["seeds"], values["test_rows"]) == (list(comparison.seeds), comparison.test_rows)
    assert "there is no difference to test" in values["verdict"]


def test_compare_refuses_studies_with_other_test_rows(run, copy):
    fingerprint = read_study(STUDY).test.fingerprint
    other = shutil.copytree(STUDY, "studies/elsewhere")
    for name in ("study.json", "records.jsonl"):
        path = Path(other) / name
        path.write_text(
            path.read_text(encoding="utf-8").replace(fingerprint, "0" * 64), encoding="utf-8"
        )
    assert f"those of {NAME} and elsewhere differ" in run("compare", NAME, "elsewhere").refusal()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((NAME, NAME), "two different studies are compared, got tiny-own-keep2 twice"),
        ((NAME, "tiny-own-keep3"), "did you mean 'tiny-own-keep2'?"),
        ((NAME, "begun"), "no finished study in studies/begun"),
    ],
)
def test_compare_reports_wrong_input_in_one_line(run, copy, names, message):
    Path("studies/begun").mkdir()
    shutil.copy(STUDY / "journal.log", "studies/begun")
    assert message in run("compare", *names).refusal()
