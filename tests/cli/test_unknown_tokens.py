"""Texts that a tokenizer cannot read: refused, allowed by an option, warned of for rivals."""

import pytest

from tiny_models import save_model

BRIEF = (
    *("--keep", 2, "--strategy", "top", "--epochs", 1, "--full-epochs", 1, "--seeds", 1),
    *("--workers", 1, "--json"),
)


@pytest.fixture
def latin(write, tmp_path):
    """Return a task in words that the tiny tokenizer does not know, with a few that it does."""
    rows = [(f"{'एक ' * (i % 3)}word{i} and{i}", f"{i % 2}") for i in range(40)]
    write(tmp_path / "latin" / "train.csv", rows)
    return "latin"


def test_model_that_does_not_know_most_tokens_is_refused(run, model, latin, tmp_path):
    for command in ("search", "baseline"):
        answer = run(command, "--model", model, "--task", latin, *BRIEF)
        assert answer.code == 2
        assert "the tokenizer of tiny does not know 6" in answer.err
        assert answer.err.endswith("or give --allow-unknown-tokens to go on\n")
    assert not (tmp_path / "studies").exists()


def test_unknown_tokens_are_allowed_with_a_warning_everywhere(run, model, latin, tmp_path):
    answer = run("baseline", "--model", model, "--task", latin, *BRIEF, "--allow-unknown-tokens")
    assert answer.code == 0, answer.err
    [unknown, equal] = answer.result["warnings"][:2]
    assert unknown.startswith("the tokenizer of tiny does not know 6")
    assert "with different labels, which cannot be learned)" in equal
    assert f"warning: {unknown}" in answer.err
    report = (tmp_path / "reports/tiny-latin-keep2-baseline.md").read_text()
    assert "does not know 6" in report
    assert "unknown tokens" in report


def test_rival_that_cannot_read_the_texts_is_warned_of_by_name(run, model, task, tmp_path):
    save_model("bert", tmp_path / "foreign", num_hidden_layers=2)
    path = tmp_path / "foreign/tokenizer.json"
    text = path.read_text(encoding="utf-8")
    for word in ("एक", "दोन", "तीन", "चार", "पाच", "सहा"):
        text = text.replace(f'"{word}"', f'"x{word}"')
    path.write_text(text, encoding="utf-8")
    answer = run(
        *("baseline", "--model", model, "--task", task, "--rival", tmp_path / "foreign"), *BRIEF
    )
    assert answer.code == 0, answer.err
    assert "warning: the tokenizer of foreign does not know" in answer.err
    assert "the tokenizer of tiny" not in answer.err
