"""Published: others' scores of the full models, to stand beside ours, never to be tested with."""

SOURCE = "arXiv 2404.18216, table 3"

# Per cent accuracy at full depth on the official splits, as published there.
PUBLISHED: dict[str, dict[str, float]] = {
    "MahaBERT": {"shc": 91.163, "lpc": 86.731, "ldc": 94.706},
    "MuRIL": {"shc": 90.112, "lpc": 86.582, "ldc": 93.020},
    "IndicBERT": {"shc": 89.388, "lpc": 85.222, "ldc": 92.627},
}
