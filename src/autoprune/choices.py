"""The names of the choices in this room, for help and completion without importing torch."""

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")

METHOD_NAMES = ("full", "lora", "head", "probe")

METRIC_NAMES = ("accuracy", "macro-f1", "weighted-f1", "mcc")

PROXY_NAMES = ("alignment", "leave-one-out")

SAMPLER_NAMES = ("gp", "random", "tpe", "brute-force")

PRUNER_NAMES = ("none", "median", "halving")
