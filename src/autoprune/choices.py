"""Choices: the names of all alternatives and the bounds of numbers, without torch.

Help, completion and checks read them.
"""

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")
FORMAT_NAMES = (
    "transformers",
    "onnx",
    "onnx-fp16",
    "onnx-int8",
    "openvino",
    "openvino-int8",
)
HEAD_NAMES = ("fitted", "drawn")
METHOD_NAMES = ("full", "lora", "head", "probe")
DISTILLATION_NAMES = ("none", "logits", "hidden")
METRIC_NAMES = (
    "accuracy", "macro-f1", "weighted-f1", "mcc", "micro-f1", "subset-accuracy",
    "entity-f1", "token-accuracy", "spearman", "pearson", "mse",
)  # fmt: skip
PROBLEM_TYPE_NAMES = (
    "single_label_classification", "multi_label_classification", "regression",
    "token_classification",
)  # fmt: skip
PROXY_NAMES = ("alignment", "leave-one-out")
SAMPLER_NAMES = ("gp", "random", "tpe", "brute-force")
PRUNER_NAMES = ("none", "median", "halving")

# The largest numbers that options and files may give. They are far above what is of use; without
# them a slip of the hand ends hours later, or for lack of memory.
MAX_EPOCHS = 10_000
MAX_BATCH = 65_536
MAX_TOKENS = 1_000_000
MAX_SEEDS = 100
MAX_TRIALS = 1_000_000
MAX_MINUTES = 5_256_000  # ten years
MAX_GPUS = 1024
