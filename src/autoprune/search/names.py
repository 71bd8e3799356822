"""Names of samplers and pruners, known without loading Optuna (for shell completion)."""

SAMPLER_NAMES = ("gp", "random", "tpe", "brute-force")
PRUNER_NAMES = ("none", "median", "halving")
