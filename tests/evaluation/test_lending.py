"""Lending: runs of models without a layout of their own serve the next study, once."""

from autoprune.evaluation.records import append, lend, read

COMPLETE = {"phase": "comparison", "state": "complete"}


def test_only_what_no_layout_sets_apart_is_lent(tmp_path, trial):
    lender, borrower = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for seed, origin in enumerate(("found", "top", "full", "scratch", "small")):
        append(lender, trial("12:0-5", 0.5, **COMPLETE, origin=origin, seed=seed))
    append(lender, trial("12:0-11", 0.5, phase="comparison", state="failed", origin="full", seed=9))
    append(lender, trial("12:0-11", 0.5, phase="search", origin="full", seed=10))
    assert lend([lender], borrower) == 2
    assert [record.origin for record in read(borrower)] == ["full", "small"]
    assert lend([lender, lender], borrower) == 0
    assert lend([tmp_path / "none.jsonl"], borrower) == 0
