"""Lending: runs of models without a layout of their own serve the next study, once."""

from autoprune.evaluation.records import append_record, read_records, reuse_shared_runs

COMPLETE = {"phase": "comparison", "state": "complete"}


def test_only_what_no_layout_sets_apart_is_lent(tmp_path, trial):
    lender, borrower = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for seed, origin in enumerate(("found", "top", "full", "scratch", "small")):
        append_record(lender, trial("12:0-5", 0.5, **COMPLETE, origin=origin, seed=seed))
    append_record(
        lender, trial("12:0-11", 0.5, phase="comparison", state="failed", origin="full", seed=9)
    )
    append_record(lender, trial("12:0-11", 0.5, phase="search", origin="full", seed=10))
    assert reuse_shared_runs([lender], borrower) == 2
    assert [record.origin for record in read_records(borrower)] == ["full", "small"]
    assert reuse_shared_runs([lender, lender], borrower) == 0
    assert reuse_shared_runs([tmp_path / "none.jsonl"], borrower) == 0
