"""Seconds per step and peak memory at MahaBERT-v2's size, of Trainer and of autoprune.

    python benchmarks/speed/base_size.py [--tokens 16,512] [--touched 30000] [--json]

12 layers x 768, 197,285 tokens, random weights (the shape is all that counts here); 6 layers are
kept, the batch has 32 rows. Rows are drawn: `--tokens 16` like headlines (MahaNews SHC), 512 like
long documents cut at BERT's limit (LDC); together they use `--touched` different tokens. Trainer:
fp32, DataCollatorWithPadding; on a GPU bf16 for both. The sides run in turn, each in a new process,
`--rounds` times; medians. Peak memory is that of the process, or of the GPU.
"""

import argparse
import json
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import trainer_baseline
from subprocess_memory import run_in_subprocess

WIDTH, DEPTH, VOCABULARY, LABELS, BATCH, WARM_UP = 768, 12, 197_285, 12, 32, 2
KEPT = (0, 2, 4, 6, 8, 10)


def main() -> None:
    """Measure both sides at each length and print the table, or JSON."""
    arguments = _parse_arguments()
    sides = {"trainer": _run_trainer, "autoprune": _run_autoprune}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        device, _ = run_in_subprocess(_save, folder)
        for tokens in arguments.tokens:
            rounds: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
            for _ in range(arguments.rounds):
                for side, job in sides.items():
                    result, peak = run_in_subprocess(
                        job, folder, tokens, arguments.touched, arguments.steps
                    )
                    seconds, gpu_peak = result
                    rounds[side].append((seconds, (gpu_peak or peak) / 2**20))
                    print(tokens, side, rounds[side][-1], flush=True)
            medians = {
                side: [statistics.median(part) for part in zip(*pairs, strict=True)]
                for side, pairs in rounds.items()
            }
            results.append({"tokens": tokens, "seconds_and_mebibytes": medians})
    from autoprune.evaluation.records import installed_versions

    head = {"date": time.strftime("%Y-%m-%d"), "device": device, "versions": installed_versions()}
    if arguments.json:
        print(json.dumps(head | {"results": results}))
        return
    print(head)
    for entry in results:
        baseline, own = entry["seconds_and_mebibytes"].values()
        print(
            f"{entry['tokens']:4} tokens: trainer {baseline[0]:.2f} s a step, "
            f"{baseline[1]:.0f} MiB; autoprune {own[0]:.2f} s, {own[1]:.0f} MiB: "
            f"{own[0] / baseline[0]:.2f} x time, {own[1] / baseline[1]:.2f} x memory"
        )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tokens", type=lambda text: [int(part) for part in text.split(",")], default=[16, 512]
    )
    parser.add_argument("--touched", type=int, default=30_000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _save(folder: str) -> str:
    """Save the encoder with a tokenizer, which only pads; return the device in words."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from autoprune.encoders.hub import fetch
    from autoprune.encoders.loading import load_tokenizer
    from autoprune.encoders.registry import find_encoder
    from autoprune.training.devices import describe_device, select_device

    shape = BertConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=DEPTH)
    torch.manual_seed(0)
    BertForMaskedLM(shape).save_pretrained(folder)
    load_tokenizer(fetch(find_encoder("demo"), False)).save_pretrained(folder)
    return describe_device(select_device("auto"))


def _rows(tokens: int, touched: int, count: int) -> Any:
    """Draw rows: long ones are cut at the limit, short ones have half to one and a half times."""
    import numpy as np

    rng = np.random.default_rng(0)
    known = np.sort(rng.choice(np.arange(2, VOCABULARY), touched - 2, replace=False))
    low, high = (tokens, tokens) if tokens >= 512 else (tokens // 2, 3 * tokens // 2)
    lengths = rng.integers(low, high + 1, count)
    return known, [rng.choice(known, length) for length in lengths]


def _run_trainer(folder: str, tokens: int, touched: int, steps: int) -> tuple[float, int]:
    """Return the median seconds of a step, and the GPU's peak memory (0 without one)."""
    import torch
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    _, drawn = _rows(tokens, touched, BATCH * (WARM_UP + steps))
    rows = [{"input_ids": row, "labels": i % LABELS} for i, row in enumerate(drawn)]
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            model=trainer_baseline.prune(folder, KEPT, LABELS),
            args=trainer_baseline.training_arguments(
                out, num_train_epochs=1, per_device_train_batch_size=BATCH, bf16=gpu
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder)),
            callbacks=[Clock()],
        )
        trainer.train()
    kept = times[WARM_UP - 1 :]
    return statistics.median(b - a for a, b in pairwise(kept)), _gpu_memory()


def _run_autoprune(folder: str, tokens: int, touched: int, steps: int) -> tuple[float, int]:
    """Like `_run_trainer`, for the search's evaluator with the used part of the vocabulary."""
    from functools import partial

    import numpy as np

    from autoprune.encoders.loading import load_classifier
    from autoprune.encoders.registry import Encoder, EncoderFiles
    from autoprune.layouts.layout import Layout
    from autoprune.tasks.tokenization import EncodedSplit, remap_tokens
    from autoprune.training.budget import Budget
    from autoprune.training.devices import select_device
    from autoprune.training.evaluator import LayoutEvaluator

    known, drawn = _rows(tokens, touched, BATCH * (WARM_UP + steps))
    lengths = np.array([len(row) for row in drawn], dtype=np.int64)
    encoded = EncodedSplit(
        ids=np.concatenate(drawn).astype(np.int32),
        types=None,
        starts=np.concatenate([[0], lengths.cumsum()[:-1]]),
        lengths=lengths,
        labels=np.arange(len(drawn)) % LABELS,
        pad_id=0,
        pad_type=0,
        truncated=0,
    )
    encoded = remap_tokens(encoded, np.concatenate([[0, 1], known]))
    checkpoint = EncoderFiles(Encoder("base", folder), Path(folder), "random", DEPTH)
    names = [str(label) for label in range(LABELS)]
    budget = Budget(steps=steps, batch=BATCH, tokens=tokens)
    load = partial(load_classifier, checkpoint, names)
    evaluator = LayoutEvaluator(load, encoded, encoded, budget, select_device("auto"))
    return evaluator.seconds_per_step(Layout(DEPTH, KEPT), steps), _gpu_memory()


def _gpu_memory() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


if __name__ == "__main__":
    main()
