"""Evaluation: records, the comparison on the test split, statistics, the verdict."""
