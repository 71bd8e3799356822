"""Checkpoints: a run's state in one file, from which another process resumes it bit for bit."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from autoprune.files import atomic_file, remove_temporary_files
from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.loop import BestCheckpoint, TrainingState
from autoprune.training.metrics import Score

CHECKPOINT_FOLDER = ".checkpoints"

CHECKPOINT_SCHEMA = 2  # a run does not go on where steps computed otherwise left it

_FINGERPRINT_VALUES = 8  # so many values of each weight are hashed


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file of one run's checkpoint; no other run writes there at the same time.

    The checkpoint interval is at least `interval` seconds, also before the first checkpoint, so
    that short runs cost nothing, and so long that saving takes at most `max_share` of the time.
    Who passes this file to a run removes it when the score is stored.
    """

    path: Path
    interval: float = 30.0
    max_share: float = 0.02

    def remove(self) -> None:
        """Remove the checkpoint, if there is one."""
        self.path.unlink(missing_ok=True)
        remove_temporary_files(self.path)


def checkpoint_file(study: Path, identity: object) -> CheckpointFile:
    """Return the file in the folder `study` for the run that `identity` tells from all others."""
    name = hashlib.sha256(_identity_text(identity).encode()).hexdigest()[:20]
    return CheckpointFile(study / CHECKPOINT_FOLDER / f"{name}.safetensors")


def remove_old_checkpoints(study: Path) -> None:
    """Remove all checkpoints in the folder `study`, which is finished."""
    shutil.rmtree(study / CHECKPOINT_FOLDER, ignore_errors=True)


class TrainingCheckpoint:
    """Saves `state` to `file`, and resumes it from there.

    Only a run of the same `identity` and the same initial weights resumes.
    """

    def __init__(
        self, file: CheckpointFile, state: TrainingState, device: torch.device, identity: object
    ) -> None:
        self._file, self._state, self._device = file, state, device
        self._fingerprint = _fingerprint(state.model, _identity_text(identity))
        self._due = time.perf_counter() + file.interval
        self._warned = False

    def resume(self) -> None:
        """Bring the state to where the file left it; nothing changes where it is another run's."""
        remove_temporary_files(self._file.path)
        try:
            with safe_open(self._file.path, "pt") as file:
                meta = json.loads((file.metadata() or {}).get("run", "{}"))
                # Cloned, since a tensor is a view of the file, which the optimizer would write to.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if meta.get("fingerprint") != self._fingerprint:
                return
        except (OSError, SafetensorError, ValueError):
            return
        state, best = self._state, meta["best"]
        _restore_tensors(state, tensors, self._device)
        if best is not None:
            weights = _with_prefix("best", tensors, self._device)
            state.best = BestCheckpoint(Score(**best["score"]), best["steps"], weights)
        state.steps, state.history = meta["steps"], [(q, s) for q, s in meta["heard"]]
        state.micro_batcher.rows, state.micro_batcher.notes = meta["rows"], meta["notes"]
        state.clock.seconds += meta["busy"]
        state.earlier_seconds = meta["seconds"]

    def save_if_due(self) -> None:
        """Save the state if the checkpoint interval is over."""
        if time.perf_counter() >= self._due:
            self.save()

    def save(self, paused: bool = False) -> None:
        """Save the state, completely or not at all; where this fails, the run's notes say so.

        A `paused` run has reported its seconds; the run that resumes it counts its own alone.
        """
        started = time.perf_counter()
        state, best = self._state, self._state.best
        meta = {
            "schema": CHECKPOINT_SCHEMA,
            "fingerprint": self._fingerprint,
            "steps": state.steps,
            "heard": state.history,
            "rows": state.micro_batcher.rows,
            "notes": state.micro_batcher.notes,
            "busy": 0.0 if paused else state.clock.seconds,
            "seconds": 0.0 if paused else state.seconds(),
            "best": None if best is None else {"score": asdict(best.score), "steps": best.steps},
        }
        try:
            _write(self._file.path, _collect_tensors(state, self._device), meta)
        except (OSError, SafetensorError) as error:
            if not self._warned:
                self._warned = True
                state.micro_batcher.notes.append(f"no checkpoint could be written: {error}")
        now = time.perf_counter()
        self._due = now + max(self._file.interval, (now - started) / self._file.max_share)


def data_fingerprint(splits: Sequence[EncodedSplit]) -> str:
    """Return a hash of tokens and labels."""
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.ids, split.types, split.lengths, split.labels, split.kept):
            digest.update(b"-" if array is None else array.tobytes())
        if split.words is not None:
            digest.update(split.words.tobytes())
    return digest.hexdigest()


def _identity_text(identity: object) -> str:
    """Return `repr(identity)` as the first version wrote it.

    It called `pause_at` `until`, and had no distillation and no fitted head.
    """
    text = repr(identity).replace("pause_at=", "until=").replace(", head='drawn')", ")")
    return text.replace(", distillation=None)", ")").replace(", distillation=None,", ",")


def _fingerprint(model: nn.Module, run: str) -> str:
    """Hash `run` with the names and shapes of all weights, and the first values of each."""
    named = list(model.named_parameters())
    first = [weight.detach().reshape(-1)[:_FINGERPRINT_VALUES].float() for _, weight in named]
    shapes = [(name, tuple(weight.shape)) for name, weight in named]
    digest = hashlib.sha256(repr((CHECKPOINT_SCHEMA, torch.__version__, run, shapes)).encode())
    digest.update(torch.cat(first).cpu().numpy().tobytes())
    return digest.hexdigest()


def _collect_tensors(state: TrainingState, device: torch.device) -> dict[str, torch.Tensor]:
    """Return all tensors that another process needs, by name."""
    tensors = {f"weight/{name}": weight for name, weight in state.trained_weights().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{name}": value for name, value in values.items()}
    if state.best is not None:
        tensors |= {f"best/{name}": weight for name, weight in state.best.weights.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if device.type != "cpu":
        tensors["random/device"] = torch.get_device_module(device).get_rng_state()
    return {name: value.detach().contiguous() for name, value in tensors.items()}


def _restore_tensors(
    state: TrainingState, tensors: dict[str, torch.Tensor], device: torch.device
) -> None:
    """Restore trained weights, optimizer and random number generators, in place."""
    with torch.no_grad():
        for name, weight in state.trained_weights().items():
            weight.copy_(tensors[f"weight/{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _with_prefix("adam", tensors, torch.device("cpu")).items():
        number, _, kind = name.partition("/")
        moments.setdefault(int(number), {})[kind] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(tensors["random/cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(tensors["random/device"])


def _with_prefix(
    prefix: str, tensors: dict[str, torch.Tensor], device: torch.device
) -> dict[str, torch.Tensor]:
    """Return the tensors named `prefix`/... on `device`, by the rest of their names."""
    return {
        name.removeprefix(f"{prefix}/"): value.to(device)
        for name, value in tensors.items()
        if name.startswith(f"{prefix}/")
    }


def _write(path: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"run": json.dumps(meta)})
