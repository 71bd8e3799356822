"""Pre-training: a corpus becomes a model folder, by way of a work folder that outlives a stop."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from rich.console import Console
from rich.live import Live
from rich.text import Text
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_tokenizer
from autoprune.encoders.registry import ENCODERS, find_encoder
from autoprune.errors import AutopruneError
from autoprune.experiment.progress import ProgressDisplay, format_duration, graceful_shutdown
from autoprune.experiment.result import command_line
from autoprune.files import atomic_folder
from autoprune.interrupts import stop_requested
from autoprune.pretraining.card import PretrainingDetails, write_pretrained
from autoprune.pretraining.data import MASKED_SHARE, Corpus, scan_corpus
from autoprune.pretraining.model import EncoderShape, build_encoder, initialise_, warm_start_
from autoprune.pretraining.tokenizer import check_tokenizer, read_tokenizer
from autoprune.pretraining.training import (
    STACKED_AT,
    PretrainingSchedule,
    PretrainingState,
    StepResult,
    perplexity,
    pretraining_optimizer,
    shallow_encoder,
    stack_layers,
)
from autoprune.pretraining.workspace import (
    PreparedCorpus,
    Settings,
    begin_pretraining,
    check_same_settings,
    lock_workspace,
    prepare_corpus,
    read_prepared_corpus,
    remove_workspace,
    restore_state,
    work_folder,
)
from autoprune.training.devices import describe_device, fast_in_bfloat16, select_device
from autoprune.training.workers import available_cores

_KEPT = 0.98  # of the running mean of the loss, each step

_EVERY = 30.0  # seconds between lines where there is no terminal


class PretrainingProgress:
    """Shows loss, tokens a second and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._loss: float | None = None
        self._first: StepResult | None = None
        self._last: StepResult | None = None
        self._said = time.monotonic()

    def __enter__(self) -> "PretrainingProgress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._live.stop()
        if kind is None and self._last is not None:
            self._console.print(Text(self._line(self._last)), soft_wrap=True)

    def steps(self, step: StepResult) -> None:
        """Take in one more step."""
        self._first = self._first or step
        self._last = step
        mean = step.loss if self._loss is None else self._loss
        self._loss = _KEPT * mean + (1 - _KEPT) * step.loss
        if self._console.is_terminal:
            self._live.update(Text(self._line(step)))
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            self._console.print(Text(self._line(step)), soft_wrap=True)

    def _line(self, step: StepResult) -> str:
        assert self._first is not None
        seconds = step.seconds - self._first.seconds
        speed = (step.tokens - self._first.tokens) / seconds if seconds > 0 else 0.0
        left = step.seconds * (1 - step.done) / step.done if step.done < 1 else 0.0
        return (
            f"{min(step.done, 1):>5.1%}  loss {self._loss:.3f}  {speed:,.0f} tokens a second  "
            f"{step.tokens:,} tokens  {format_duration(left)} left"
        )


_JUDGED = 200_000  # tokens of texts kept apart that perplexity is reckoned on, at most


def pretrain_model(
    paths: Sequence[Path],
    out: Path,
    measured: EncoderShape,
    course: PretrainingSchedule,
    tokenizer: str | None,
    vocabulary: int,
    warm: bool,
    stack: bool,
    device_name: str,
) -> None:
    """Train the model that is asked for and write it to `out`; raises `AutopruneError`.

    Sets how many threads torch uses in this process: going on with as many gives the same bits.
    """
    torch.set_num_threads(available_cores())
    show, device, work = ProgressDisplay(), select_device(device_name), work_folder(out)
    corpus = scan_corpus(paths)
    given = None if tokenizer is None else _tokenizer(tokenizer)
    settings = _settings(corpus, measured, course, tokenizer, vocabulary, warm, stack)
    with lock_workspace(work):
        prepared = _prepared(corpus, given, vocabulary, settings, measured.tokens, work, show)
        state = _trained(prepared, measured, course, warm, stack, device, work, show)
        found, count = perplexity(
            state.model, prepared.apart, course.batch, _JUDGED, fast_in_bfloat16(device)
        )
        origin = PretrainingDetails(
            name=out.resolve().name,
            files=[path.name for path in paths],
            texts=corpus.texts,
            corpus_tokens=len(prepared.learned.stream.tokens),
            tokens_seen=state.step * course.batch * measured.tokens,
            tokens=measured.tokens,
            steps=state.step,
            batch=course.batch,
            learning_rate=course.learning_rate,
            masked=MASKED_SHARE,
            seed=course.seed,
            warm=warm,
            stacked_at=STACKED_AT if stack and measured.layers > 1 else None,
            tokenizer=tokenizer or f"WordPiece, {len(prepared.tokenizer):,} pieces, trained here",
            seconds=state.seconds,
            device=describe_device(device),
            perplexity=found,
            apart=count,
            command=command_line(sys.argv[1:]),
        )
        initialise_(state.model)
        with atomic_folder(out) as folder:
            write_pretrained(state.model.cpu(), prepared.tokenizer, origin, folder)
        remove_workspace(work)
    show.say(
        f"{out}: {measured.layers} layers, {state.model.num_parameters():,} parameters, "
        f"{origin.tokens_seen:,} tokens seen in {format_duration(state.seconds)}; perplexity {found:.1f} "
        f"of {count:,} hidden tokens in texts kept apart"
    )


def _prepared(
    corpus: Corpus,
    given: PreTrainedTokenizerFast | None,
    vocabulary: int,
    settings: Settings,
    length: int,
    work: Path,
    show: ProgressDisplay,
) -> PreparedCorpus:
    """Return what stands in the work folder, or make it; a refusal leaves no new folder behind."""
    folder = work / "prepared"
    begin_pretraining(work, settings)
    if not folder.exists():
        made = "encoding" if given else "training a tokenizer on and encoding"
        show.say(f"{made} {corpus.texts:,} texts …")
        try:
            prepare_corpus(corpus, given, vocabulary, folder)
        except AutopruneError:
            remove_workspace(work)
            raise
        except KeyboardInterrupt:
            show.say("stopped before the first step; the same command goes on")
            raise
    return read_prepared_corpus(folder, length)


def _trained(
    prepared: PreparedCorpus,
    measured: EncoderShape,
    course: PretrainingSchedule,
    warm: bool,
    stack: bool,
    device: torch.device,
    work: Path,
    show: ProgressDisplay,
) -> PretrainingState:
    """Return the training at its end, gone on with from its last checkpoint."""

    def fresh(layers: int) -> PretrainingState:
        model = build_encoder(replace(measured, layers=layers), prepared.tokenizer, course.seed)
        return PretrainingState(model.to(device), pretraining_optimizer(model))

    state = restore_state(work, fresh)
    if state is not None:
        show.say(f"going on after step {state.step:,}")
    else:
        state = fresh((shallow_encoder(measured) if stack else measured).layers)
        if warm:
            show.say("counting which tokens stand near each other …")
            special = prepared.tokenizer.all_special_ids
            warm_start_(state.model, prepared.learned.stream, special, course.seed)
    fast = fast_in_bfloat16(device)
    with graceful_shutdown(show.say), PretrainingProgress(show.console) as progress:
        show.say(
            f"{measured.layers} layers, {len(prepared.learned.stream.tokens):,} tokens in the "
            f"corpus, blocks of {measured.tokens}, on {describe_device(device)}"
        )
        try:
            if state.model.config.num_hidden_layers < measured.layers:
                for step in check_same_settings(
                    state, prepared.learned, course, fast, work, stop_requested, STACKED_AT
                ):
                    progress.steps(step)
                state = stack_layers(state, measured, prepared.tokenizer, course.seed)
            for step in check_same_settings(
                state, prepared.learned, course, fast, work, stop_requested
            ):
                progress.steps(step)
        except KeyboardInterrupt:
            show.say(
                f"stopped after step {state.step:,}, which is kept in {work}; the same command "
                "goes on"
            )
            raise
    return state


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    folder = Path(name)
    if name not in ENCODERS and folder.is_dir():  # which need hold no more than the tokenizer
        return read_tokenizer(folder)
    return check_tokenizer(load_tokenizer(fetch(find_encoder(name))), name)


def _settings(
    corpus: Corpus,
    measured: EncoderShape,
    course: PretrainingSchedule,
    tokenizer: str | None,
    vocabulary: int,
    warm: bool,
    stack: bool,
) -> Settings:
    """Return what must be the same when a training goes on, by the names that a user knows."""
    return {
        "the corpus": corpus.fingerprint,
        "--tokenizer": tokenizer,
        "--vocabulary": None if tokenizer else vocabulary,
        "--layers": measured.layers,
        "--hidden": measured.hidden,
        "--heads": measured.heads,
        "--inner": measured.inner,
        "--tokens": measured.tokens,
        "--batch": course.batch,
        "--minutes": None if course.seconds is None else course.seconds / 60,
        "--budget-tokens": course.budget_tokens,
        "--learning-rate": course.learning_rate,
        "--warm-embeddings": warm,
        "--stack": stack,
        "--seed": course.seed,
    }
