"""Pre-training run: from a corpus to a model folder. A stopped run is resumed by the same call."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.registry import ENCODERS, find_encoder
from autoprune.errors import AutopruneError
from autoprune.files import atomic_folder
from autoprune.interrupts import stop_requested
from autoprune.pretraining.card import PretrainingResult, write_pretrained
from autoprune.pretraining.config import PretrainingConfig
from autoprune.pretraining.data import Corpus, scan_corpus
from autoprune.pretraining.model import build_encoder, set_dropout_, warm_start_
from autoprune.pretraining.tokenizer import check_tokenizer, read_tokenizer
from autoprune.pretraining.training import (
    STACKED_AT,
    PretrainingState,
    StepResult,
    perplexity,
    pretraining_optimizer,
    stack_layers,
    train_masked,
)
from autoprune.pretraining.workspace import (
    PreparedCorpus,
    check_settings,
    lock_workspace,
    prepare_corpus,
    read_prepared_corpus,
    restore_state,
    save_checkpoints,
    work_folder,
)
from autoprune.training.devices import describe_device, fast_in_bfloat16, select_device

_EVALUATION_TOKENS = 200_000  # tokens of held-out texts, at most


class PretrainingProgress:
    """Progress of a run; this one shows nothing. Subclass it to show messages and steps."""

    def message(self, text: str) -> None:
        """Show one line."""

    @contextmanager
    def training(self) -> Iterator[Callable[[StepResult], None]]:
        """Return the function that is called with each step, for as long as steps are trained."""
        yield lambda _: None


def pretrain_model(config: PretrainingConfig, progress: PretrainingProgress) -> PretrainingResult:
    """Train a model and write it to `config.out`. Raises `AutopruneError`.

    A resumed run gives the same bits only with as many torch threads as before.
    """
    device, work = select_device(config.device), work_folder(config.out)
    corpus = scan_corpus(config.corpus)
    tokenizer = None if config.tokenizer is None else _load_tokenizer(config.tokenizer)
    with lock_workspace(work):
        prepared = _prepare(config, corpus, tokenizer, work, progress)
        state = _train(config, prepared, device, work, progress)
        bfloat16, batch = fast_in_bfloat16(device), config.schedule.batch
        quality, masked = perplexity(
            state.model, prepared.held_out, batch, _EVALUATION_TOKENS, bfloat16
        )
        result = PretrainingResult(
            config=config,
            texts=corpus.texts,
            corpus_tokens=len(prepared.train.stream.tokens),
            vocabulary=len(prepared.tokenizer),
            parameters=state.model.num_parameters(),
            steps=state.step,
            seconds=state.seconds,
            device=describe_device(device),
            perplexity=quality,
            held_out_tokens=masked,
        )
        set_dropout_(state.model)
        with atomic_folder(config.out) as folder:
            write_pretrained(state.model.cpu(), prepared.tokenizer, result, folder)
        shutil.rmtree(work, ignore_errors=True)
    return result


def _load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    folder = Path(name)
    if name not in ENCODERS and folder.is_dir():  # it may hold a tokenizer and no model
        return read_tokenizer(folder)
    return check_tokenizer(load_tokenizer(fetch(find_encoder(name))), name)


def _prepare(
    config: PretrainingConfig,
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast | None,
    work: Path,
    progress: PretrainingProgress,
) -> PreparedCorpus:
    """Return the prepared corpus in the work folder. A refused one leaves no work folder behind."""
    folder = work / "prepared"
    check_settings(work, config.settings(corpus.fingerprint))
    if not folder.exists():
        action = "encoding" if tokenizer else "training a tokenizer on and encoding"
        progress.message(f"{action} {corpus.texts:,} texts …")
        try:
            prepare_corpus(corpus, tokenizer, config.vocabulary, folder)
        except AutopruneError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        except KeyboardInterrupt:
            progress.message("stopped before the first step; the same command resumes")
            raise
    return read_prepared_corpus(folder, config.shape.tokens)


def _train(
    config: PretrainingConfig,
    prepared: PreparedCorpus,
    device: torch.device,
    work: Path,
    progress: PretrainingProgress,
) -> PretrainingState:
    """Return the finished training, resumed from its last checkpoint if there is one."""
    shape, schedule = config.shape, config.schedule

    def create(layers: int) -> PretrainingState:
        model = build_encoder(replace(shape, layers=layers), prepared.tokenizer, schedule.seed)
        return PretrainingState(model.to(device), pretraining_optimizer(model))

    def steps(state: PretrainingState, end: float) -> Iterator[StepResult]:
        trained = train_masked(state, prepared.train, schedule, fast_in_bfloat16(device), end)
        return save_checkpoints(trained, state, work, stop_requested)

    state = restore_state(work, create)
    if state is not None:
        progress.message(f"resuming after step {state.step:,}")
    else:
        state = create(-(-shape.layers // 2) if config.stack else shape.layers)
        if config.warm_embeddings:
            progress.message("counting which tokens stand near each other …")
            special = prepared.tokenizer.all_special_ids
            warm_start_(state.model, prepared.train.stream, special, schedule.seed)
    with progress.training() as show_step:
        progress.message(
            f"{shape.layers} layers, {len(prepared.train.stream.tokens):,} tokens in the corpus, "
            f"blocks of {shape.tokens}, on {describe_device(device)}"
        )
        try:
            if state.model.config.num_hidden_layers < shape.layers:
                for step in steps(state, STACKED_AT):
                    show_step(step)
                state = stack_layers(state, shape, prepared.tokenizer, schedule.seed)
            for step in steps(state, 1.0):
                show_step(step)
        except KeyboardInterrupt:
            progress.message(
                f"stopped after step {state.step:,}, which is kept in {work}; the same command "
                "resumes"
            )
            raise
    return state
