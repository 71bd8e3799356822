"""A task's texts and labels: registry, reading, cleaning, tokenising; the test split apart."""
