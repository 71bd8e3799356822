"""Seconds per step and peak memory at MahaBERT-v2's size, of Trainer and of autoprune.

    python benchmarks/speed/base_size.py [--tokens 16,512] [--touched 30000] [--json]

12 layers x 768, 197,285 tokens, random weights (the shape is all that counts here); 6 layers are
kept, the batch has 32 rows. Rows are drawn: `--tokens 16` like headlines (MahaNews SHC), 512 like
long documents cut at BERT's limit (LDC); together a task touches `--touched` different tokens.
Trainer: fp32, DataCollatorWithPadding; on a GPU bf16 for both. Each side in a fresh process, in
turn, `--rounds` times; medians. Peak memory is the process's high-water mark, or the GPU's.
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
from subprocess_memory import apart

WIDTH, DEPTH, VOCABULARY, LABELS, BATCH, WARM_UP = 768, 12, 197_285, 12, 32, 2
KEPT = (0, 2, 4, 6, 8, 10)


def main() -> None:
    """Measure both sides at each length and print the table, or JSON."""
    asked = _arguments()
    sides = {"trainer": _trainer, "autoprune": _ours}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        device, _ = apart(_save, folder)
        for tokens in asked.tokens:
            seen: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
            for _ in range(asked.rounds):
                for side, job in sides.items():
                    found, high = apart(job, folder, tokens, asked.touched, asked.steps)
                    seconds, on_device = found
                    seen[side].append((seconds, (on_device or high) / 2**20))
                    print(tokens, side, seen[side][-1], flush=True)
            medians = {
                side: [statistics.median(part) for part in zip(*pairs, strict=True)]
                for side, pairs in seen.items()
            }
            results.append({"tokens": tokens, "seconds_and_mebibytes": medians})
    from autoprune.evaluation.records import installed_versions

    head = {"date": time.strftime("%Y-%m-%d"), "device": device, "versions": installed_versions()}
    if asked.json:
        print(json.dumps(head | {"results": results}))
        return
    print(head)
    for one in results:
        theirs, mine = one["seconds_and_mebibytes"].values()
        print(
            f"{one['tokens']:4} tokens: trainer {theirs[0]:.2f} s a step, {theirs[1]:.0f} MiB; "
            f"autoprune {mine[0]:.2f} s, {mine[1]:.0f} MiB: "
            f"{mine[0] / theirs[0]:.2f} x time, {mine[1] / theirs[1]:.2f} x memory"
        )


def _arguments() -> argparse.Namespace:
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


def _trainer(folder: str, tokens: int, touched: int, steps: int) -> tuple[float, int]:
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
            model=trainer_baseline.pruned(folder, KEPT, LABELS),
            args=trainer_baseline.settings(
                out, num_train_epochs=1, per_device_train_batch_size=BATCH, bf16=gpu
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder)),
            callbacks=[Clock()],
        )
        trainer.train()
    kept = times[WARM_UP - 1 :]
    return statistics.median(b - a for a, b in pairwise(kept)), _on_gpu()


def _ours(folder: str, tokens: int, touched: int, steps: int) -> tuple[float, int]:
    """As `_trainer`: the search's bench, with the rows of the vocabulary that the task touches."""
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
    bench = LayoutEvaluator(load, encoded, encoded, budget, select_device("auto"))
    return bench.seconds_per_step(Layout(DEPTH, KEPT), steps), _on_gpu()


def _on_gpu() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


if __name__ == "__main__":
    main()
