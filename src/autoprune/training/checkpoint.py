"""Checkpoints: a run's state in one file, from which another process goes on bit for bit."""

import hashlib
import json
import os
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

from autoprune.tasks.tokenization import EncodedSplit
from autoprune.training.loop import BestCheckpoint, TrainingState
from autoprune.training.metrics import Score

CHECKPOINT_FOLDER = ".checkpoints"


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file in which a run is kept while it is under way; one run at a time writes there.

    Nothing is written in the first `seconds`, so that short runs cost nothing, nor sooner after the
    last writing; and writing takes at most `share` of the time between. Who gives a place takes it
    away when the score is safe.
    """

    path: Path
    seconds: float = 30.0
    share: float = 0.02

    def draft(self) -> Path:
        """Return the file in which this process writes before the name is given."""
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def drop_drafts(self) -> None:
        """Remove what writers left that were killed."""
        for draft in self.path.parent.glob(f".{self.path.name}.*.part"):
            draft.unlink(missing_ok=True)

    def take_away(self) -> None:
        """Remove what is kept, if anything."""
        self.path.unlink(missing_ok=True)
        self.drop_drafts()


def checkpoint_file(study: Path, identity: object) -> CheckpointFile:
    """Return where in the folder `study` a run is kept, by all that tells it from other runs."""
    name = hashlib.sha256(identity_text(identity).encode()).hexdigest()[:20]
    return CheckpointFile(study / CHECKPOINT_FOLDER / f"{name}.safetensors")


def identity_text(identity: object) -> str:
    """Return `repr(identity)` as the first version wrote it, which called `pause_at` `until`."""
    return repr(identity).replace("pause_at=", "until=")


def remove_old_checkpoints(study: Path) -> None:
    """Remove everything that is kept in the folder `study`: it has come to its end."""
    shutil.rmtree(study / CHECKPOINT_FOLDER, ignore_errors=True)


CHECKPOINT_SCHEMA = 1

_SAMPLE = 8  # values of each weight that stand for it in a fingerprint


class TrainingCheckpoint:
    """Keeps `course` at `place`; `run` and the weights as they begin tell it from other runs."""

    def __init__(
        self, place: CheckpointFile, course: TrainingState, device: torch.device, run: str
    ) -> None:
        self._place, self._course, self._device = place, course, device
        self._fingerprint = _fingerprint(course.model, run)
        self._due = time.perf_counter() + place.seconds
        self._told = False

    def take_up(self) -> None:
        """Bring the course to where the file left it; the file of another run is passed over."""
        self._place.drop_drafts()
        try:
            tensors, meta = _read(self._place.path)
            if meta.get("fingerprint") != self._fingerprint:
                return
        except (OSError, SafetensorError, ValueError):
            return
        course = self._course
        _restore(course, tensors, self._device)
        best = meta["best"]
        if best is not None:
            weights = _under("best", tensors, self._device)
            course.best = BestCheckpoint(Score(**best["score"]), best["steps"], weights)
        course.steps, course.heard = meta["steps"], [(q, s) for q, s in meta["heard"]]
        course.parts.rows, course.parts.notes = meta["rows"], meta["notes"]
        course.clock.seconds += meta["busy"]
        course.before = meta["seconds"]

    def keep(self) -> None:
        """Write the state if it is time to."""
        if time.perf_counter() >= self._due:
            self.write()

    def pause(self) -> None:
        """Write the state for a later run, whose seconds are its own: these are told already."""
        self.write(paused=True)

    def write(self, paused: bool = False) -> None:
        """Write the state, whole or not at all; where it cannot be, the run's notes say so."""
        started = time.perf_counter()
        course, best = self._course, self._course.best
        meta = {
            "schema": CHECKPOINT_SCHEMA,
            "fingerprint": self._fingerprint,
            "steps": course.steps,
            "heard": course.heard,
            "rows": course.parts.rows,
            "notes": course.parts.notes,
            "busy": 0.0 if paused else course.clock.seconds,
            "seconds": 0.0 if paused else course.seconds(),
            "best": None if best is None else {"score": asdict(best.score), "steps": best.steps},
        }
        try:
            _write(self._place, _state(course, self._device), meta)
        except (OSError, SafetensorError) as error:
            self._tell(error)
        now = time.perf_counter()
        self._due = now + max(self._place.seconds, (now - started) / self._place.share)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            self._course.parts.notes.append(f"no checkpoint could be written: {error}")


def data_fingerprint(splits: Sequence[EncodedSplit]) -> str:
    """Return a hash of tokens and labels."""
    found = hashlib.sha256()
    for split in splits:
        for array in (split.ids, split.types, split.lengths, split.labels, split.kept):
            found.update(b"-" if array is None else array.tobytes())
    return found.hexdigest()


def _fingerprint(model: nn.Module, run: str) -> str:
    """Hash `run` with the names and shapes of all weights, and the first values of each."""
    named = list(model.named_parameters())
    first = [weight.detach().reshape(-1)[:_SAMPLE].float() for _, weight in named]
    shapes = [(name, tuple(weight.shape)) for name, weight in named]
    found = hashlib.sha256(repr((CHECKPOINT_SCHEMA, torch.__version__, run, shapes)).encode())
    found.update(torch.cat(first).cpu().numpy().tobytes())
    return found.hexdigest()


def _state(course: TrainingState, device: torch.device) -> dict[str, torch.Tensor]:
    """Return all tensors that another process needs, by name."""
    state = {f"weight/{name}": weight for name, weight in course.learning().items()}
    for number, values in course.optimizer.state_dict()["state"].items():
        state |= {f"adam/{number}/{name}": value for name, value in values.items()}
    if course.best is not None:
        state |= {f"best/{name}": weight for name, weight in course.best.weights.items()}
    state["random/cpu"] = torch.get_rng_state()
    if device.type != "cpu":
        state["random/device"] = torch.get_device_module(device).get_rng_state()
    return {name: value.detach().contiguous() for name, value in state.items()}


def _restore(course: TrainingState, tensors: dict[str, torch.Tensor], device: torch.device) -> None:
    """Write the weights that learn, the optimizer's state and the random numbers', in place."""
    with torch.no_grad():
        for name, weight in course.learning().items():
            weight.copy_(tensors[f"weight/{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _under("adam", tensors, torch.device("cpu")).items():
        number, _, kind = name.partition("/")
        moments.setdefault(int(number), {})[kind] = value
    groups = course.optimizer.state_dict()["param_groups"]
    course.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(tensors["random/cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(tensors["random/device"])


def _under(
    kind: str, tensors: dict[str, torch.Tensor], device: torch.device
) -> dict[str, torch.Tensor]:
    """Return the tensors of a kind on `device`, by the rest of their names."""
    return {
        name.removeprefix(f"{kind}/"): value.to(device)
        for name, value in tensors.items()
        if name.startswith(f"{kind}/")
    }


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, "pt") as file:
        meta = json.loads((file.metadata() or {}).get("run", "{}"))
        # Copied, since what is read is a view of the file, which the optimizer would write to.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, meta  # noqa: SIM118


def _write(place: CheckpointFile, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    place.path.parent.mkdir(parents=True, exist_ok=True)
    draft = place.draft()
    try:
        save_file(tensors, draft, {"run": json.dumps(meta)})
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(place.path)
    finally:
        draft.unlink(missing_ok=True)
