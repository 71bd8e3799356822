"""Search settings: which layouts are searched, by which sampler and pruner, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoprune.choices import PRUNER_NAMES, SAMPLER_NAMES
from autoprune.errors import OptionError, UnknownNameError
from autoprune.layouts.layout import Layout, check_keep


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Settings of a search over the layouts that keep `keep` of `depth` layers.

    trials: how many trials the study has when the search ends, those of earlier calls and of other
        processes included.
    sampler, pruner: names in `SAMPLERS` and `PRUNERS`.
    fidelity: share of the full budget that a trial has, in (0, 1].
    promote: whether a trial may continue to the full budget, as another trial with the same seed.
        Needs the sampler `gp`, no pruner and a `fidelity` below 1.
    proxy_scores: cheap score of each layout, higher is better, or None. Only `gp` uses it, and
        weighs it by how well the study's own trials agree with it.
    initial_layouts: layouts by origin (mostly a strategy's name) that are tried before any others.
    timeout: seconds after which no trial may end, judged by the slowest batch so far; None: no
        limit. The first batch is always run.
    metric: name in `METRICS` of what trials are scored by.
    required: layers that every layout keeps, since the model's family cannot do without them.
    parallel_trials: how many layouts are proposed and started together. While the later ones are
        proposed, the earlier ones count as ended with the expected score. The next batch starts
        when all have ended, so proposals depend on this number but never on which process was
        faster.

    Raises `LayoutError`, `OptionError`, `UnknownNameError`.
    """

    depth: int
    keep: int
    trials: int
    sampler: str = "gp"
    pruner: str = "none"
    seed: int = 0
    fidelity: float = 1.0
    promote: bool = False
    proxy_scores: Mapping[Layout, float] | None = None
    initial_layouts: Mapping[str, Layout] = field(default_factory=dict)
    timeout: float | None = None
    parallel_trials: int = 1
    metric: str = "accuracy"
    required: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_keep(self.depth, self.keep)
        if self.trials < 1:
            raise OptionError(f"trials must be at least 1, got {self.trials}")
        if self.sampler not in SAMPLER_NAMES:
            raise UnknownNameError("sampler", self.sampler, SAMPLER_NAMES)
        if self.pruner not in PRUNER_NAMES:
            raise UnknownNameError("pruner", self.pruner, PRUNER_NAMES)
        if self.promote and (self.sampler != "gp" or self.pruner != "none" or self.fidelity == 1.0):
            raise OptionError("promote needs the sampler gp, no pruner and a fidelity below 1")
        if self.timeout is not None and self.timeout <= 0:
            raise OptionError(f"timeout must be above 0 seconds, got {self.timeout}")
