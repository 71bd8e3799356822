"""The work folder: where a training is kept until its model is whole; one command at a time."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from autoprune.errors import DataError, OptionError
from autoprune.pretraining.data import Corpus, read_stream, read_texts, token_kinds, write_stream
from autoprune.pretraining.tokenizer import read_tokenizer, train_tokenizer
from autoprune.pretraining.training import (
    PretrainingSchedule,
    PretrainingState,
    StepResult,
    TokenBlocks,
    train_masked,
)

STATE_FILE = 2  # the last one, and one before it for where that is broken

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


def save_state(state: PretrainingState, folder: Path) -> None:
    """Write the checkpoint of `state`, whole or not at all, and drop the oldest ones."""
    tensors = {}
    for name, weight in state.model.named_parameters():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            if weight in state.optimizer.state:
                tensors[f"{moment}/{name}"] = state.optimizer.state[weight][moment]
    path = folder / f"step-{state.step:010}.safetensors"
    draft = path.with_suffix(".part")
    told = {
        "step": str(state.step),
        "seconds": repr(state.seconds),
        "layers": str(state.model.config.num_hidden_layers),
    }
    save_file({name: one.contiguous() for name, one in tensors.items()}, draft, told)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    for old in _newest(folder)[STATE_FILE:]:
        old.unlink()


def restore_state(
    folder: Path, fresh: Callable[[int], PretrainingState]
) -> PretrainingState | None:
    """Return the training of the newest whole checkpoint in `folder`, None where there is none.

    `fresh` makes one of a number of layers. A checkpoint that cannot be read is passed over.
    """
    for path in _newest(folder):
        with contextlib.suppress(SafetensorError, OSError, KeyError, ValueError):
            return _read(path, fresh)
    return None


def _read(path: Path, fresh: Callable[[int], PretrainingState]) -> PretrainingState:
    with safe_open(path, framework="pt") as file:
        told, names = file.metadata(), list(file.keys())
        found = {name: file.get_tensor(name) for name in names}
    state = fresh(int(told["layers"]))
    for name, weight in state.model.named_parameters():
        with torch.no_grad():
            weight.copy_(found[f"weight/{name}"])
        if f"step/{name}" in found:
            state.optimizer.state[weight] = {
                moment: found[f"{moment}/{name}"].to(weight.device) for moment in _MOMENTS
            }
    state.step, state.seconds = int(told["step"]), float(told["seconds"])
    return state


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


MAX_UNKNOWN = 0.5  # share of the tokens

_LEARNED, _APART = "learned", "apart"


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCorpus:
    """The tokenizer, and the texts to learn from and to judge by."""

    tokenizer: PreTrainedTokenizerFast
    learned: TokenBlocks
    apart: TokenBlocks


def prepare_corpus(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast | None, vocabulary: int, folder: Path
) -> None:
    """Write tokenizer and streams to the new folder `folder`, which appears whole.

    Without a `tokenizer` one of `vocabulary` pieces is trained, on the texts learned from alone.
    Raises `DataError` for a corpus that the tokenizer hardly knows.
    """
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    if tokenizer is None:
        tokenizer = train_tokenizer(read_texts(corpus, apart=False), vocabulary)
    tokenizer.save_pretrained(draft)
    for name in (_LEARNED, _APART):
        write_stream(read_texts(corpus, apart=name == _APART), tokenizer, draft / name)
        _check_known(draft / name, tokenizer)
    draft.rename(folder)


def read_prepared_corpus(folder: Path, length: int) -> PreparedCorpus:
    """Read what `prepare_corpus` wrote; `length` is that of a block."""
    tokenizer = read_tokenizer(folder)
    kinds = token_kinds(len(tokenizer), tokenizer.all_special_ids, tokenizer.mask_token_id)
    learned, apart = (
        TokenBlocks(read_stream(folder / name), length, tokenizer.cls_token_id, kinds)
        for name in (_LEARNED, _APART)
    )
    return PreparedCorpus(tokenizer, learned, apart)


def _check_known(path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = read_stream(path).tokens
    unknown = float(np.mean(tokens == tokenizer.unk_token_id))
    if unknown > MAX_UNKNOWN:
        raise DataError(
            f"the tokenizer must know the corpus, {unknown:.0%} of its tokens are unknown: take "
            "another --tokenizer, or leave it out to have one trained"
        )


SAVE_INTERVAL = 60.0  # seconds between checkpoints at least

_PATIENCE = 50  # times what a checkpoint takes: so at most 2 % of the time goes into them

_SETTINGS = "settings.json"

Settings = Mapping[str, str | int | float | bool | None]


def work_folder(out: Path) -> Path:
    """Return where the training of the model `out` is kept, beside it.

    >>> work_folder(Path("models/mr-6")).name
    '.mr-6.pretraining'
    """
    place = out.resolve()
    return place.with_name(f".{place.name}.pretraining")


@contextmanager
def lock_workspace(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; raises `OptionError` where that cannot be done.

    The system lets go of it when the process ends, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / ".lock", timeout=0)
        held.acquire()
    except Timeout:
        raise OptionError(
            f"another command trains in {folder}: wait for its end, or give another --out"
        ) from None
    except OSError as error:
        raise OptionError(f"cannot train in {folder}: {error.strerror or error}") from None
    try:
        yield
    finally:
        held.release()


def begin_pretraining(folder: Path, settings: Settings) -> None:
    """Note what the training is begun with, or check that it is the same.

    Raises `OptionError` that names the first difference.
    """
    path = folder / _SETTINGS
    if not path.exists():
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        draft.replace(path)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if before.get(name) != value:
            raise OptionError(
                f"a training goes on with what it was begun with, {name} was {before.get(name)} "
                f"and is {value}: give the same again, or begin anew by removing {folder}"
            )


def check_same_settings(
    state: PretrainingState,
    texts: TokenBlocks,
    course: PretrainingSchedule,
    bfloat16: bool,
    folder: Path,
    stop: Callable[[], bool],
    end: float = 1.0,
    every: float = SAVE_INTERVAL,
) -> Iterator[StepResult]:
    """Train until the share `end` of the course, with checkpoints in `folder`; yield each step.

    When `stop` says so a checkpoint is written and `KeyboardInterrupt` raised.
    """
    saved, pause = time.monotonic(), every
    for step in train_masked(state, texts, course, bfloat16, end):
        yield step
        if stop():
            save_state(state, folder)
            raise KeyboardInterrupt
        if time.monotonic() - saved >= pause:
            began = time.monotonic()
            save_state(state, folder)
            saved = time.monotonic()
            pause = max(every, _PATIENCE * (saved - began))
    save_state(state, folder)


def remove_workspace(folder: Path) -> None:
    """Remove the work folder and all in it."""
    shutil.rmtree(folder, ignore_errors=True)
