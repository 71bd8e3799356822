"""Choices of pre-training on equal time: plain, with warm embeddings, stacked, and with both.

    python benchmarks/pretraining/pretrain_choices.py CORPUS [--minutes 2] [--seeds 1]

Trains one encoder for each on the same texts, tokenizer and seeds, each for the same minutes of
the processor (so that other work on the machine has no effect), the counting for warm embeddings
among them, and prints the perplexity on held-out texts.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process's time is then that of its one thread

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from autoprune.pretraining.config import (
    EncoderShape,
    PretrainingSchedule,
    default_pretraining_rate,
    encoder_shape,
)
from autoprune.pretraining.data import scan_corpus
from autoprune.pretraining.model import build_encoder, warm_start_
from autoprune.pretraining.training import (
    STACKED_AT,
    PretrainingState,
    perplexity,
    pretraining_optimizer,
    stack_layers,
    train_masked,
)
from autoprune.pretraining.workspace import PreparedCorpus, prepare_corpus, read_prepared_corpus
from autoprune.training.devices import describe_device, fast_in_bfloat16

CHOICES = {  # warm embeddings, stacked layers
    "plain": (False, False),
    "warm": (True, False),
    "stacked": (False, True),
    "both": (True, True),
}
MAX_EVALUATION_TOKENS = 200_000  # tokens of held-out texts


def main() -> None:
    """Prepare the corpus once, train each choice, print a line for each."""
    arguments = _parse_arguments()
    cpu = torch.device("cpu")
    shape = encoder_shape(arguments.layers, arguments.hidden, None, None, 64)
    print(f"{describe_device(cpu)}, {arguments.minutes:g} minutes each", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        prepared_folder = Path(folder) / "prepared"
        prepare_corpus(scan_corpus([arguments.corpus]), None, 16_000, prepared_folder)
        prepared = read_prepared_corpus(prepared_folder, shape.tokens)
        for seed in range(arguments.seeds):
            schedule = PretrainingSchedule(
                32, default_pretraining_rate(arguments.hidden), seed, 60 * arguments.minutes, None
            )
            for name, (warm, stack) in CHOICES.items():
                state = train_encoder(prepared, shape, schedule, warm, stack)
                found, _ = perplexity(
                    state.model, prepared.held_out, 32, MAX_EVALUATION_TOKENS, fast_in_bfloat16(cpu)
                )
                seen = state.step * schedule.batch * shape.tokens
                print(f"seed {seed}  {name:8} perplexity {found:8.1f}  {seen:,} tokens", flush=True)


def train_encoder(
    prepared: PreparedCorpus,
    shape: EncoderShape,
    schedule: PretrainingSchedule,
    warm: bool,
    stack: bool,
) -> PretrainingState:
    """Train one encoder to the end of its schedule, in processor time."""
    first = replace(shape, layers=-(-shape.layers // 2)) if stack else shape
    model = build_encoder(first, prepared.tokenizer, schedule.seed)
    state = PretrainingState(model, pretraining_optimizer(model))
    began = time.process_time()
    if warm:
        special = prepared.tokenizer.all_special_ids
        warm_start_(model, prepared.train.stream, special, schedule.seed)
    state.seconds = time.process_time() - began
    fast = fast_in_bfloat16(model.device)
    if stack:
        _run(state, prepared, schedule, fast, STACKED_AT)
        state = stack_layers(state, shape, prepared.tokenizer, schedule.seed)
    _run(state, prepared, schedule, fast, 1.0)
    return state


def _run(
    state: PretrainingState,
    prepared: PreparedCorpus,
    schedule: PretrainingSchedule,
    fast: bool,
    end: float,
) -> None:
    for _ in train_masked(state, prepared.train, schedule, fast, end, time.process_time):
        pass


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=128)
    return parser.parse_args()


if __name__ == "__main__":
    main()
