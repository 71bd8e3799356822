"""Search: the Optuna study, samplers, pruners, the Gaussian process."""
