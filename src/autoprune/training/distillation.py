"""Knowledge distillation: a teacher's logits and states, and the loss against them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn
from transformers import PreTrainedModel

from autoprune.encoders.pruning import encoder_layers
from autoprune.files import atomic_file
from autoprune.layouts.layout import Layout
from autoprune.tasks.tokenization import EncodedSplit, length_sorted_batches
from autoprune.training.budget import Distillation
from autoprune.training.loop import Batch, TrainingClock, forward, load_batch, output_shape
from autoprune.training.problem_types import ProblemType


@dataclass(frozen=True, slots=True, eq=False)
class TeacherTargets:
    """What a teacher says of the rows of a split.

    The first `labelled` rows have labels too. `logits` are float32 (rows, classes), or as those of
    `ProblemType`; `states`, where
    hidden states are learned, the first token's after each layer, float16 (rows, layers, hidden).
    """

    labelled: int
    logits: NDArray[np.float32]
    states: NDArray[np.float16] | None = None

    @classmethod
    def average(cls, targets: Sequence[Self]) -> Self:
        """Return the mean logits of several teachers; the states are those of the first.

        States of models that were trained apart have no mean of use.
        """
        logits = np.stack([each.logits for each in targets]).mean(axis=0, dtype=np.float64)
        return cls(targets[0].labelled, np.asarray(logits, np.float32), targets[0].states)

    @property
    def fingerprint(self) -> str:
        """A hash of all targets."""
        digest = hashlib.sha256(f"{self.labelled}".encode() + self.logits.tobytes())
        digest.update(b"" if self.states is None else self.states.tobytes())
        return digest.hexdigest()

    def write(self, path: Path, identity: str) -> None:
        """Write the targets to a file of safetensors, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {"logits": self.logits}
        if self.states is not None:
            arrays["states"] = self.states
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            save_file(arrays, temporary, {"teacher": identity, "labelled": str(self.labelled)})

    @classmethod
    def read(cls, path: Path, identity: str) -> Self | None:
        """Read what `write` wrote; None where there is no file, or another teacher's."""
        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                if metadata.get("teacher") != identity:
                    return None
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(int(metadata["labelled"]), arrays["logits"], arrays.get("states"))
        except (OSError, SafetensorError, LookupError, ValueError):
            return None


def predict_targets(
    model: PreTrainedModel,
    split: EncodedSplit,
    labelled: int,
    with_states: bool,
    device: torch.device,
    batch: int = 32,
) -> TeacherTargets:
    """Return the logits of `model` for `split`, and with `with_states` its states."""
    model.eval()
    layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
    logits: NDArray[np.float32] | None = None
    states = np.empty((len(split), layers, hidden), np.float16) if with_states else None
    with recorded_states(model if with_states else None) as recorded, torch.inference_mode():
        for rows in length_sorted_batches(split.lengths, batch):
            output = forward(model, load_batch(split, rows, device), TrainingClock())
            if logits is None:
                logits = np.zeros(output_shape(split, output.shape[-1]), np.float32)
            if output.ndim == 2:
                logits[rows] = output.float().cpu().numpy()
            else:
                logits[rows, : output.shape[1]] = output.float().cpu().numpy()
            if states is not None:
                states[rows] = torch.stack(recorded, dim=1).half().cpu().numpy()
    assert logits is not None, "a split has rows"
    return TeacherTargets(labelled, logits, states)


@contextmanager
def recorded_states(model: nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """Yield a list that each forward pass inside the block fills with a state for each layer.

    A state is that of the first token, (rows, hidden). The list stays empty without a model.
    """
    recorded: list[torch.Tensor] = []
    if model is None:
        yield recorded
        return
    layers = list(encoder_layers(model))

    def start(*_: Any) -> None:
        recorded.clear()

    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        state = output[0] if isinstance(output, tuple) else output
        recorded.append(state[:, 0])

    hooks = [model.register_forward_pre_hook(start)]
    hooks += [layer.register_forward_hook(record) for layer in layers]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def distillation_loss(
    logits: torch.Tensor,
    batch: Batch,
    settings: Distillation,
    targets: TeacherTargets,
    problem_type: ProblemType,
    hidden: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Return the loss of a batch, summed over its rows: of the labels and of the teacher.

    `hidden` is each row's loss of hidden states, (rows,).
    """
    teacher = torch.from_numpy(targets.logits[batch.rows]).to(logits.device)
    if batch.words is not None:
        teacher = teacher[:, : logits.shape[1]]  # the longest row of the batch has fewer words
    from_teacher = problem_type.teacher_losses(logits, teacher, settings.temperature) + hidden
    labelled = torch.from_numpy(batch.rows < targets.labelled).to(logits.device)
    loss = (from_teacher * torch.where(labelled, settings.weight, 1.0)).sum()
    if labelled.any() and settings.weight < 1:
        of_labels = problem_type.loss(logits[labelled], batch.labels[labelled])
        loss = loss + (1 - settings.weight) * of_labels
    return loss


def hidden_losses(
    states: Sequence[torch.Tensor], targets: TeacherTargets, rows: NDArray[np.int64], layout: Layout
) -> torch.Tensor | float:
    """Return each row's mean squared error between kept layers and the teacher's at their place.

    `states` has (rows, hidden) for each kept layer. Only the first token counts, each layer's error
    is relative to the mean square of the teacher's state, and the last kept layer is left out,
    which the head reads. 0 where no layer is left. Source: patient knowledge distillation, Sun et
    al. 2019 (arXiv 1908.09355).
    """
    kept = list(layout.keep[:-1])
    if not states or not kept or targets.states is None:
        return 0.0
    student = torch.stack(list(states[:-1]), dim=1).float()  # (rows, kept, hidden)
    goal = torch.from_numpy(targets.states[rows][:, kept].astype(np.float32)).to(student.device)
    errors = ((student - goal) ** 2).mean(-1) / (goal**2).mean(-1).clamp_min(1e-6)
    return errors.mean(-1)
