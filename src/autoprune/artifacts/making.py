"""A making: how one exported model was made, as its card tells it."""

from dataclasses import dataclass

from autoprune.artifacts.base import Base
from autoprune.layouts.layout import Layout
from autoprune.scoring.score import Score
from autoprune.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Making:
    """How one model was made, beside what its study tells.

    `name` is what it is loaded by, a folder's name or a hub id; `scores` are on `validation`,
    `test` and `test-raw`; `seeds` all that were tried; `seconds` is the wall time of all their
    runs; `joules` what the processors' counter says of it, None where none could be read;
    `tokens` the longest input, `learning_rate` the peak; `notes` are sentences on vocabulary and
    ONNX.
    """

    name: str
    base: Base
    task: Task
    layout: Layout
    origin: str
    parameters: int
    scores: tuple[Score, ...]
    seeds: tuple[int, ...]
    seconds: float
    joules: float | None
    device: str
    tokens: int
    learning_rate: float
    pairs: bool
    command: str
    notes: tuple[str, ...] = ()
