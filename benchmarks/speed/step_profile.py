"""Print where a training step's time goes, and how much faster than the plain model it is.

    python benchmarks/speed/step_profile.py [--hidden 384,768] [--layers 6,12] [--json FILE]

BERT of random weights with 7,142 tokens (the shape is all that counts), batches of 32 headlines of
16 to 48 tokens, one thread. Four variants take turns on the same batches, one step each: as
transformers and torch do it (*plain*), with faster dropout and attention (*operations*), with a
last layer for the first token alone (*last layer*), and with both. Medians, in the processor time
of this process. The second table is of *both*; matrix products are set against what one of
2,048 x 2,048 reaches alone.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification

from autoprune.evaluation.records import installed_versions
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training import devices
from autoprune.training import evaluator as evaluators
from autoprune.training.budget import Budget
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.loop import train

VOCABULARY, LABELS, BATCH, WARM_UP = 7142, 12, 32, 2
VARIANTS = {
    "plain": (False, False),
    "operations": (True, False),
    "last layer": (False, True),
    "both": (True, True),
}
KINDS = {
    "matrix products": ("mm", "addmm"),
    "attention's products": ("bmm", "baddbmm"),
    "random numbers": ("random_", "bernoulli_"),
    "GELU": ("gelu", "gelu_backward"),
    "softmax": ("_softmax", "_softmax_backward_data"),
    "layer norm": ("native_layer_norm", "native_layer_norm_backward"),
    "AdamW": ("_fused_adamw_",),
    "gradient clipping": ("linalg_vector_norm", "_foreach_norm", "_foreach_mul_"),
    "casts and copies": ("copy_", "_to_copy", "clone"),
    "embeddings": ("embedding_dense_backward", "index_select", "fill_"),
}


def main() -> None:
    """Measure each shape and print its two tables, or write them as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", default=[384, 768], type=numbers)
    parser.add_argument("--layers", default=[6, 12], type=numbers)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json", type=Path, help="append the results to this file")
    arguments = parser.parse_args()
    for hidden in arguments.hidden:
        for layers in arguments.layers:
            result = measure(hidden, layers, arguments.steps)
            show(result)
            if arguments.json:
                arguments.json.parent.mkdir(exist_ok=True)
                with arguments.json.open("a") as lines:
                    lines.write(json.dumps(result) + "\n")


def numbers(text: str) -> list[int]:
    """Read numbers between commas."""
    return [int(part) for part in text.split(",")]


def measure(hidden: int, layers: int, steps: int) -> dict[str, Any]:
    """Return the milliseconds of a step of each variant, and the shares of the last one's time."""
    evaluator = make_evaluator(hidden, 2 * steps)
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with ExitStack() as stack:
        runs = {name: start(evaluator, layers, name, stack) for name in VARIANTS}
        for step in range(WARM_UP + steps):
            for name, run in runs.items():
                started = time.process_time()
                run()
                if step >= WARM_UP:
                    times[name].append(time.process_time() - started)
        peaks = [peak() for _ in range(5)]
        with profile() as profiled:
            for _ in range(5):
                runs["both"]()
        with FlopCounterMode(display=False) as counter:
            runs["both"]()
    shares: Counter[str] = Counter()
    kinds = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}
    for event in profiled.key_averages():
        shares[kinds.get(event.key, "all others")] += event.self_cpu_time_total
    whole = shares.total()
    products = (shares["matrix products"] + shares["attention's products"]) / whole
    best = statistics.median(times["both"])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": devices.describe_device(torch.device("cpu")),
        "versions": installed_versions(),
        "hidden": hidden,
        "layers": layers,
        "milliseconds": {k: round(1000 * statistics.median(v), 1) for k, v in times.items()},
        "speed against plain": {
            name: round(
                statistics.median(a / b for a, b in zip(times["plain"], each, strict=True)), 3
            )
            for name, each in times.items()
        },
        "peak GF/s": round(max(peaks) / 1e9),
        "share of the peak": round(counter.get_total_flops() / best / max(peaks), 3),
        "share of the peak in products": round(
            counter.get_total_flops() / (best * products) / max(peaks), 3
        ),
        "shares of the time": {k: round(v / whole, 4) for k, v in shares.most_common()},
    }


def make_evaluator(hidden: int, batches: int) -> LayoutEvaluator:
    """Return the evaluator of a model of 12 layers on drawn rows."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(16, 49, BATCH * batches)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    ids = rng.integers(2, VOCABULARY, lengths.sum()).astype(np.int32)
    labels = rng.integers(0, LABELS, len(lengths))
    rows = EncodedSplit(ids, None, starts, lengths, labels, pad_id=0, pad_type=0, truncated=0)
    budget = Budget(steps=10_000, batch=BATCH, tokens=64)

    def load(seed: int) -> BertForSequenceClassification:
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            num_attention_heads=12,
            intermediate_size=4 * hidden,
            num_labels=LABELS,
        )
        torch.manual_seed(seed)
        return BertForSequenceClassification(config)

    return LayoutEvaluator(load, rows, rows, budget, torch.device("cpu"))


def start(
    evaluator: LayoutEvaluator, layers: int, variant: str, stack: ExitStack
) -> Callable[[], int]:
    """Return what runs the next step of `variant`."""
    operations, last_layer = VARIANTS[variant]
    state = evaluator._start(Layout(12, tuple(range(layers))), 0)
    with (
        nullcontext()
        if last_layer
        else mock.patch.object(evaluators, "first_token_only", lambda *_: nullcontext())
    ):
        rows, _ = stack.enter_context(evaluator._splits(state))
    steps = train(state, rows, evaluator.loss, evaluator.budget, 0, evaluator.device)
    return partial(_next, steps, operations)


def _next(steps: Iterator[int], operations: bool) -> int:
    with nullcontext() if operations else plain_operations():
        return next(steps)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Let torch's own functions run."""
    with mock.patch.object(devices, "FastOperations", nullcontext):
        yield


def peak() -> float:
    """Return the operations a second of a large matrix product in the format of the steps."""
    dtype = torch.bfloat16 if devices.fast_in_bfloat16(torch.device("cpu")) else torch.float32
    matrix = torch.ones(2048, 2048, dtype=dtype)
    started = time.process_time()
    torch.mm(matrix, matrix)
    return float(2 * 2048**3 / (time.process_time() - started))


def show(result: dict[str, Any]) -> None:
    """Print one shape's tables."""
    print(f"{result['date']}, {result['device']}, {result['versions']}")
    print(f"{result['layers']} layers x {result['hidden']}, batch {BATCH}, 16 to 48 tokens")
    for name, milliseconds in result["milliseconds"].items():
        print(f"{name:22} {milliseconds:8.1f} ms {result['speed against plain'][name]:6.2f} x")
    print(
        f"{100 * result['share of the peak']:.0f} % of the peak ({result['peak GF/s']} GF/s), "
        f"{100 * result['share of the peak in products']:.0f} % within the products"
    )
    for kind, share in result["shares of the time"].items():
        print(f"{kind:22} {100 * share:8.1f} %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
