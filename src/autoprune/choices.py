"""Choices: the names of all alternatives, for help, completion and checks without torch."""

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")
METHOD_NAMES = ("full", "lora", "head", "probe")
METRIC_NAMES = ("accuracy", "macro-f1", "weighted-f1", "mcc")
PROBLEM_TYPE_NAMES = ("single_label_classification",)
PROXY_NAMES = ("alignment", "leave-one-out")
SAMPLER_NAMES = ("gp", "random", "tpe", "brute-force")
PRUNER_NAMES = ("none", "median", "halving")
