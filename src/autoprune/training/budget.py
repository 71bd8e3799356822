"""Budget: what one candidate may spend on training, the same for every candidate of a study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from autoprune.choices import HEAD_NAMES, METHOD_NAMES
from autoprune.errors import OptionError, UnknownNameError

DRAWN_HEAD = "drawn"

_REMOVED_METHODS = ("lora-upper",)  # still read in the records of earlier versions


@dataclass(frozen=True, slots=True)
class Distillation:
    """Knowledge distillation: what a run learns from its teacher, beside the labels.

    `kind`: `logits`, or `hidden` for those and the states of kept layers. `temperature` divides the
    logits of both before the softmax; `weight` is the teacher's share of the loss of a labelled
    row, a row without a label has the teacher's alone. `teacher` tells the teacher from all others;
    `unlabelled` is a hash of the texts without labels, empty where there are none. Source: Hinton
    et al. 2015 (arXiv 1503.02531).
    """

    kind: str
    teacher: str
    temperature: float
    weight: float
    unlabelled: str = ""

    def __str__(self) -> str:
        """Return what differs where two distillations do, in a user's words.

        >>> str(Distillation("logits", "full e5, seeds 1 2", 2.0, 0.7))
        'logits of full e5, seeds 1 2, temperature 2, weight 0.7'
        """
        texts = f", unlabelled texts {self.unlabelled[:16]}" if self.unlabelled else ""
        setting = f"temperature {self.temperature:g}, weight {self.weight:g}{texts}"
        return f"{self.kind} of {self.teacher}, {setting}"


@dataclass(frozen=True, slots=True)
class Budget:
    """What one fine-tuning run may spend.

    `steps`: optimizer steps; `batch`: rows a step, computed in `parts` equal micro-batches whose
    gradients are added up; `tokens`: longest input, the rest is cut off; `learning_rate`: peak of
    the learning rate schedule; `checks`: how often the validation split is scored, evenly spread
    over the steps and at the end; `method`: which weights are trained; `patience`: stop early after
    so many checks without a better validation quality, and return to the best one (None: train all
    steps and take the last weights); `pause_at`: pause after so many of the steps. A run with a
    later `pause_at`, or none, resumes there. `distillation`: learn from a teacher too. `head`: how
    the new head starts, `drawn` at random or `fitted` to the states of the untrained layers. Raises
    `OptionError`, `UnknownNameError`.
    """

    steps: int
    batch: int = 32
    tokens: int = 128
    learning_rate: float = 5e-5
    checks: int = 3
    method: str = "full"
    patience: int | None = None
    parts: int = 1
    pause_at: int | None = None
    distillation: Distillation | None = None
    head: str = DRAWN_HEAD

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "tokens", "checks", "parts"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise OptionError(f"learning rate must be between 0 and 1, got {self.learning_rate}")
        if self.method not in (*METHOD_NAMES, *_REMOVED_METHODS):
            raise UnknownNameError("method", self.method, METHOD_NAMES)
        if self.head not in HEAD_NAMES:
            raise UnknownNameError("start of the head", self.head, HEAD_NAMES)
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"patience must be at least 1, got {self.patience}")
        if self.pause_at is not None and not 0 < self.pause_at <= self.steps:
            raise OptionError(f"a pause must be within the {self.steps} steps, got {self.pause_at}")

    @property
    def ends(self) -> int:
        """After how many steps a run ends or pauses."""
        return self.steps if self.pause_at is None else self.pause_at

    def whole(self) -> Self:
        """Return this budget without its pause."""
        return replace(self, pause_at=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON; `pause_at` has the key `until`, as in the first version.

        `distillation` and `head` are left out where they are as in the first version.
        """
        fields = asdict(self)
        if self.distillation is None:
            del fields["distillation"]
        if self.head == DRAWN_HEAD:
            del fields["head"]
        return fields | {"until": fields.pop("pause_at")}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned.

        Raises TypeError for unknown keys, and what the constructor raises.
        """
        values = {"pause_at" if key == "until" else key: fields[key] for key in fields}
        if values.get("distillation") is not None:
            values["distillation"] = Distillation(**values["distillation"])
        return cls(**values)


WIDE_HIDDEN_SIZE = 512  # encoders of base width and above

# Peak learning rates from a hidden size on. 5e-5 is the upper end of what the authors of BERT tried
# (arXiv 1810.04805, A.3); encoders 128 wide were tuned at 5e-4. Between them 2e-4: with e5-12, 384
# wide, on 360 headlines of the demo, full reached 78 % and top 74 %, at 5e-4 75 and 67 %.
_RATES = {WIDE_HIDDEN_SIZE: 5e-5, 256: 2e-4, 0: 5e-4}

# What is trained from random weights takes more: heads ten times, adapters five times as much
# (mr-12 on SHC, three epochs, two seeds: 62 and 60 % at 2.5e-3, 58 % at 1e-3; at 5e-3 training
# diverges, 12 and 34 %).
_FACTORS = {"full": 1.0, "lora": 5.0, "head": 10.0, "probe": 10.0}


def default_learning_rate(hidden: int, method: str) -> float:
    """Return the peak learning rate for an encoder `hidden` wide; raises `UnknownNameError`.

    >>> [default_learning_rate(hidden, "full") for hidden in (768, 384, 128)]
    [5e-05, 0.0002, 0.0005]
    >>> default_learning_rate(128, "lora")
    0.0025
    """
    if method not in METHOD_NAMES:
        raise UnknownNameError("method", method, METHOD_NAMES)
    rate = next(rate for least, rate in _RATES.items() if hidden >= least)
    return min(rate * _FACTORS[method], 5e-3)
