"""Work folder of a pre-training: lock, settings, prepared corpus and checkpoints, until the end.

A training that was stopped or killed is resumed from here.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import no_grad
from transformers import PreTrainedTokenizerFast

from autoprune.errors import DataError, OptionError, first_line
from autoprune.files import atomic_file, atomic_folder, lock_folder, write_atomic
from autoprune.pretraining.config import Settings
from autoprune.pretraining.data import (
    Corpus,
    TokenBlocks,
    TokenKinds,
    read_stream,
    read_texts,
    read_tokenizer,
    train_tokenizer,
    write_stream,
)
from autoprune.pretraining.training import PretrainingState, StepResult

MAX_CHECKPOINTS = 2  # the last one, and the one before it in case the last cannot be read

MAX_UNKNOWN = 0.5  # share of the tokens of a corpus that its tokenizer may not know

SAVE_INTERVAL = 60.0  # seconds between checkpoints, or more

_SAVE_SHARE = 50  # the interval is at least so many times the duration of writing: at most 2 %

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # the state of AdamW for each weight

_READ_TOGETHER = 1 << 20  # tokens

_SETTINGS_FILE = "settings.json"

_QUALITY_FILE = "before.json"

_TRAIN, _HELD_OUT = "learned", "apart"  # file names of the streams


def work_folder(out: Path) -> Path:
    """Return the folder beside the model folder `out` in which its training is kept.

    >>> work_folder(Path("models/mr-6")).name
    '.mr-6.pretraining'
    """
    path = out.resolve()
    return path.with_name(f".{path.name}.pretraining")


def lock_workspace(folder: Path) -> AbstractContextManager[object]:
    """Create and lock the folder, as `lock_folder`; raises `OptionError` where it is not possible.

    Leaving the `with` block of what it returns releases the lock.
    """
    try:
        return lock_folder(folder, timeout=0)
    except TimeoutError:
        raise OptionError(
            f"another command trains in {folder}: wait for its end, or give another --out"
        ) from None
    except OSError as error:
        raise OptionError(f"cannot train in {folder}: {error.strerror or error}") from None


def check_settings(folder: Path, settings: Settings) -> None:
    """Write the settings of a new training, or check that a resumed one has the same.

    Raises `OptionError` that names the first difference.
    """
    path = folder / _SETTINGS_FILE
    if not path.exists():
        write_atomic(path, json.dumps(settings, indent=1))
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise OptionError(f"{path} is damaged: remove {folder} to begin anew") from None
    for name, value in settings.items():
        if before.get(name) != value:
            raise OptionError(
                f"a training is resumed with the settings it began with, {name} was "
                f"{before.get(name)} and is {value}: give the same again, or remove {folder} to "
                "begin anew"
            )


def measure_once(folder: Path, measure: Callable[[], float | None]) -> float | None:
    """Return what `measure` returns before the first step, also to a training that is resumed."""
    path = folder / _QUALITY_FILE
    if not path.exists():
        write_atomic(path, json.dumps(measure()))
    found: float | None = json.loads(path.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCorpus:
    """The tokenizer, and the corpus in its tokens: for training, and held out from it.

    `used` are the tokens in the corpus and in each block, ascending.
    """

    tokenizer: PreTrainedTokenizerFast
    train: TokenBlocks
    held_out: TokenBlocks
    used: NDArray[np.int64]


def prepare_corpus(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast | None, vocabulary: int, folder: Path
) -> None:
    """Write tokenizer and streams to the new folder `folder`, which appears whole.

    Without a `tokenizer` one of `vocabulary` tokens is trained, without the held-out texts.
    Raises `DataError` if the tokenizer knows too few of the corpus's tokens.
    """
    for draft in folder.parent.glob(f".{folder.name}.*.part"):  # of a process that was killed
        shutil.rmtree(draft, ignore_errors=True)
    with atomic_folder(folder) as draft:
        if tokenizer is None:
            tokenizer = train_tokenizer(read_texts(corpus, held_out=False), vocabulary)
        tokenizer.save_pretrained(draft)
        for name in (_TRAIN, _HELD_OUT):
            write_stream(read_texts(corpus, held_out=name == _HELD_OUT), tokenizer, draft / name)
            unknown = float(np.mean(read_stream(draft / name).tokens == tokenizer.unk_token_id))
            if unknown > MAX_UNKNOWN:
                raise DataError(
                    f"the tokenizer must know the corpus, {unknown:.0%} of its tokens are unknown: "
                    "take another --tokenizer (or --from), or leave it out to have one trained"
                )


def read_prepared_corpus(
    folder: Path, length: int, given: PreTrainedTokenizerFast | None = None
) -> PreparedCorpus:
    """Read what `prepare_corpus` wrote, in blocks of `length` tokens.

    A `given` tokenizer is used as it is; then no token is drawn that the corpus does not have.
    """
    tokenizer = given or read_tokenizer(folder)
    streams = [read_stream(folder / name) for name in (_TRAIN, _HELD_OUT)]
    special = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=np.bool_)
    special[tokenizer.all_special_ids] = True
    used = np.zeros_like(special)
    used[[tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id]] = True
    for stream in streams:
        for start in range(0, len(stream.tokens), _READ_TOGETHER):
            used[stream.tokens[start : start + _READ_TOGETHER]] = True
    kinds = TokenKinds(tokenizer.mask_token_id, special if given is None else special | ~used)
    train, held_out = (
        TokenBlocks(stream, length, tokenizer.cls_token_id, kinds) for stream in streams
    )
    return PreparedCorpus(tokenizer, train, held_out, np.flatnonzero(used))


def save_checkpoints(
    steps: Iterable[StepResult],
    state: PretrainingState,
    folder: Path,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    interval: float = SAVE_INTERVAL,
) -> Iterator[StepResult]:
    """Yield the steps that train `state`, and write checkpoints to `folder` on the way.

    There is one at the end. When `stop` returns True, one is written and `KeyboardInterrupt`
    raised. One on the way that cannot be written is reported by `say`, and the training goes on.
    """
    saved, pause = time.monotonic(), interval
    for step in steps:
        yield step
        if stop():
            save_state(state, folder)
            raise KeyboardInterrupt
        if time.monotonic() - saved >= pause:
            began = time.monotonic()
            try:
                save_state(state, folder)
            except (OSError, SafetensorError) as error:
                say(f"no checkpoint could be written, the training goes on: {first_line(error)}")
            saved = time.monotonic()
            pause = max(interval, _SAVE_SHARE * (saved - began))
    save_state(state, folder)


def save_state(state: PretrainingState, folder: Path) -> None:
    """Write a checkpoint of `state`, whole or not at all, and remove the oldest ones."""
    tensors = {}
    for name, weight in state.model.named_parameters():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            if weight in state.optimizer.state:
                tensors[f"{moment}/{name}"] = state.optimizer.state[weight][moment]
    layers = str(state.model.config.num_hidden_layers)
    metadata = {"step": str(state.step), "seconds": repr(state.seconds), "layers": layers}
    with atomic_file(folder / f"step-{state.step:010}.safetensors") as path:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    for old in _checkpoints(folder)[MAX_CHECKPOINTS:]:
        old.unlink()


def restore_state(
    folder: Path, create: Callable[[int], PretrainingState]
) -> PretrainingState | None:
    """Return the training of the newest checkpoint in `folder`, None where there is none.

    `create` makes a new training of a number of layers. Unreadable checkpoints are skipped.
    """
    for path in _checkpoints(folder):
        with contextlib.suppress(SafetensorError, OSError, KeyError, ValueError):
            return _read_state(path, create)
    return None


def _read_state(path: Path, create: Callable[[int], PretrainingState]) -> PretrainingState:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    state = create(int(metadata["layers"]))
    for name, weight in state.model.named_parameters():
        with no_grad():
            weight.copy_(tensors[f"weight/{name}"])
        if f"step/{name}" in tensors:
            state.optimizer.state[weight] = {
                moment: tensors[f"{moment}/{name}"].to(weight.device) for moment in _MOMENTS
            }
    state.step, state.seconds = int(metadata["step"]), float(metadata["seconds"])
    return state


def has_checkpoint(folder: Path) -> bool:
    """Return whether steps of a training are kept in `folder`."""
    return bool(_checkpoints(folder))


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)
