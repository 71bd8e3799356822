"""Training: budget, loop, metrics, checkpoints, worker processes."""
