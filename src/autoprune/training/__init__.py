"""Training: budget, training loop, evaluator, problem types, metrics, checkpoints, process pool."""
