"""Pre-training run: from a corpus to a model folder. A stopped run is resumed by the same call."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from autoprune.encoders.config import read_config
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import (
    check_tokens,
    load_masked_model,
    load_tokenizer,
    max_input_length,
    vocabulary_size,
)
from autoprune.encoders.pruning import check_layout, keep_layers, used_token_ids
from autoprune.encoders.registry import ENCODERS, EncoderFiles, find_encoder
from autoprune.errors import AutopruneError, ModelError, RemoteCodeError, format_count
from autoprune.export.card_metadata import read_base_model
from autoprune.files import atomic_folder
from autoprune.pretraining.card import PretrainingResult, write_pretrained
from autoprune.pretraining.config import EncoderShape, GivenEncoder, PretrainingConfig
from autoprune.pretraining.data import Corpus, check_tokenizer, read_tokenizer, scan_corpus
from autoprune.pretraining.model import (
    build_encoder,
    keep_token_rows_,
    restore_token_rows_,
    warm_start_,
)
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
    has_checkpoint,
    lock_workspace,
    measure_once,
    prepare_corpus,
    read_prepared_corpus,
    restore_state,
    save_checkpoints,
    work_folder,
)
from autoprune.processes import stop_requested
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
    base, config = _load_base(config)
    tokenizer = base.tokenizer if base else _load_tokenizer(config.tokenizer)
    corpus = scan_corpus(config.corpus)
    with lock_workspace(work):
        prepared = _prepare(config, corpus, base, tokenizer, work, progress)
        measure = partial(
            perplexity,
            held_out=prepared.held_out,
            batch=config.schedule.batch,
            most=_EVALUATION_TOKENS,
            bfloat16=fast_in_bfloat16(device),
        )
        before = None
        if base is not None:
            before = measure_once(work, lambda: measure(base.load().to(device))[0])
            if before is not None:
                progress.message(
                    f"perplexity {before:,.1f} in held-out texts before training"
                    + (", with a new head" if base.new_head else "")
                )
        state = _train(config, base, prepared, device, work, progress)
        model = state.model if base is None else base.restore(state, prepared)
        quality, masked = measure(model)
        result = PretrainingResult(
            config=config,
            texts=corpus.texts,
            corpus_tokens=len(prepared.train.stream.tokens),
            vocabulary=len(prepared.tokenizer),
            layers=model.config.num_hidden_layers,
            parameters=model.num_parameters(),
            steps=state.step,
            seconds=state.seconds,
            device=describe_device(device),
            perplexity=quality,
            held_out_tokens=masked,
            perplexity_before=before,
            base=read_base_model(base.checkpoint, base.given.model) if base else None,
            new_head=base is not None and base.new_head,
        )
        with atomic_folder(config.out) as folder:
            write_pretrained(model.cpu(), prepared.tokenizer, result, folder)
        shutil.rmtree(work, ignore_errors=True)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """The model that is trained further; `new_head` tells whether its head is drawn from `seed`."""

    given: GivenEncoder
    checkpoint: EncoderFiles
    tokenizer: PreTrainedTokenizerFast
    seed: int
    new_head: bool

    def load(self) -> PreTrainedModel:
        """Return the model with the layers that are kept and its head."""
        model, _ = load_masked_model(self.checkpoint, self.seed)
        if self.given.layout is not None:
            keep_layers(model, self.given.layout)
        return model

    def begin(self, prepared: PreparedCorpus, device: torch.device) -> PretrainingState:
        """Return a training of the tokens in the corpus; other tokens keep their embeddings."""
        model, kept = self.load(), self._kept(prepared)
        keep_token_rows_(model, kept)
        rows = np.zeros(kept[-1] + 1, dtype=np.int64)
        rows[kept] = np.arange(len(kept))
        return PretrainingState(model.to(device), pretraining_optimizer(model), rows=rows)

    def restore(self, state: PretrainingState, prepared: PreparedCorpus) -> PreTrainedModel:
        """Return the trained model with all tokens."""
        model = self.load().to(state.model.device)
        restore_token_rows_(model, state.model, self._kept(prepared))
        return model

    def _kept(self, prepared: PreparedCorpus) -> NDArray[np.int64]:
        config = read_config(self.checkpoint.folder, trust_remote_code=False)
        pad = max(config.pad_token_id or 0, self.tokenizer.pad_token_id)
        return used_token_ids(pad, prepared.used)


def _load_base(config: PretrainingConfig) -> tuple[_Base | None, PretrainingConfig]:
    """Return the model to train further, if any, and the config with blocks that fit it."""
    given = config.encoder
    if not isinstance(given, GivenEncoder):
        return None, config
    checkpoint = _fetch(given.model)
    tokenizer = check_tokenizer(load_tokenizer(checkpoint), given.model)
    given = replace(given, tokens=max_input_length(checkpoint, given.tokens))
    seed = config.schedule.seed
    model, is_new = load_masked_model(checkpoint, seed)  # a wrong model is refused at once
    if given.layout is not None:
        check_layout(model, given.layout)
    base = _Base(given, checkpoint, tokenizer, seed, is_new)
    return base, replace(config, encoder=given)


def _load_tokenizer(name: str | None) -> PreTrainedTokenizerFast | None:
    if name is None:
        return None
    folder = Path(name)
    if name not in ENCODERS and folder.is_dir():  # it may hold a tokenizer and no model
        return read_tokenizer(folder)
    return check_tokenizer(load_tokenizer(_fetch(name)), name)


def _fetch(name: str) -> EncoderFiles:
    try:
        return fetch(find_encoder(name))
    except RemoteCodeError as error:
        raise ModelError(
            f"{name} runs its own code, which pretrain does not do: choose another model"
        ) from error


def _prepare(
    config: PretrainingConfig,
    corpus: Corpus,
    base: _Base | None,
    tokenizer: PreTrainedTokenizerFast | None,
    work: Path,
    progress: PretrainingProgress,
) -> PreparedCorpus:
    """Return the prepared corpus in the work folder.

    A refused one leaves no work folder behind, unless steps of the training are in it.
    """
    folder = work / "prepared"
    model = base.checkpoint.versioned if base else None
    check_settings(work, config.settings(corpus.fingerprint, model))
    try:
        if not folder.exists():
            action = "encoding" if tokenizer else "training a tokenizer on and encoding"
            progress.message(f"{action} {format_count(corpus.texts, 'text')} …")
            prepare_corpus(corpus, tokenizer, config.vocabulary, folder)
        prepared = read_prepared_corpus(
            folder, config.encoder.tokens, base.tokenizer if base else None
        )
        if base is not None:
            known = vocabulary_size(base.checkpoint)
            check_tokens(base.checkpoint.encoder, known, int(prepared.used[-1]))
    except AutopruneError:
        if not has_checkpoint(work):
            shutil.rmtree(work, ignore_errors=True)
        raise
    except KeyboardInterrupt:
        progress.message("stopped before the first step; the same command resumes")
        raise
    return prepared


def _train(
    config: PretrainingConfig,
    base: _Base | None,
    prepared: PreparedCorpus,
    device: torch.device,
    work: Path,
    progress: PretrainingProgress,
) -> PretrainingState:
    """Return the finished training, resumed from its last checkpoint if there is one."""
    encoder, schedule = config.encoder, config.schedule

    def create(layers: int) -> PretrainingState:
        if isinstance(encoder, GivenEncoder):
            assert base is not None
            return base.begin(prepared, device)
        model = build_encoder(replace(encoder, layers=layers), prepared.tokenizer, schedule.seed)
        return PretrainingState(model.to(device), pretraining_optimizer(model))

    def steps(state: PretrainingState, end: float) -> Iterator[StepResult]:
        trained = train_masked(state, prepared.train, schedule, fast_in_bfloat16(device), end)
        return save_checkpoints(trained, state, work, stop_requested, progress.message)

    state = restore_state(work, create)
    if state is not None:
        progress.message(f"resuming after step {state.step:,}")
    elif isinstance(encoder, GivenEncoder):
        state = create(0)
    else:
        state = create(-(-encoder.layers // 2) if config.stack else encoder.layers)
        if config.warm_embeddings:
            progress.message("counting which tokens stand near each other …")
            special = prepared.tokenizer.all_special_ids
            warm_start_(state.model, prepared.train.stream, special, schedule.seed)
    layers = state.model.config.num_hidden_layers
    with progress.training() as show_step:
        progress.message(
            f"{layers if isinstance(encoder, GivenEncoder) else encoder.layers} layers, "
            f"{len(prepared.train.stream.tokens):,} tokens in the corpus, "
            f"blocks of {encoder.tokens}, on {describe_device(device)}"
        )
        try:
            if isinstance(encoder, EncoderShape) and layers < encoder.layers:
                for step in steps(state, STACKED_AT):
                    show_step(step)
                state = stack_layers(state, encoder, prepared.tokenizer, schedule.seed)
            for step in steps(state, 1.0):
                show_step(step)
        except KeyboardInterrupt:
            progress.message(
                f"stopped after step {state.step:,}, which is kept in {work}; the same command "
                "resumes"
            )
            raise
    return state
