"""What was found out: records, comparison, statistics, report."""
