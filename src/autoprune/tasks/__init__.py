"""Tasks: read, clean, split and tokenize labelled texts; the test split is kept apart."""
