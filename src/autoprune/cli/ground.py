"""The ground that search and baseline stand on: the model, the task's rows, the two benches."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from transformers import PreTrainedModel

from autoprune.encoders.encoder import Checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer, random_classifier
from autoprune.encoders.shape import check_tokens, longest_input
from autoprune.encoders.vocabulary import touched
from autoprune.evidence.entrants import entrants_of
from autoprune.evidence.measuring import Entrant
from autoprune.evidence.record import Start
from autoprune.layouts.layout import Layout
from autoprune.scoring.bench import Bench
from autoprune.scoring.budget import Budget
from autoprune.scoring.crew import Team
from autoprune.tasks.task import Splits, Task, TestSplit
from autoprune.tasks.tokenising import Encoded, encode, renumber

Load = Callable[[int], PreTrainedModel]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The three splits as one model's tokens, renumbered alike."""

    train: Encoded
    validation: Encoded
    test: Encoded


@dataclass(frozen=True, slots=True)
class Ground:
    """What a study must not change on the way; `quick` and `full` are its two budgets.

    Each entrant's peak learning rate is chosen among `rates`, two or more; without any, all have
    that of `full`. `left_out` are the strategies that the model's family cannot have. `tokens` is
    the longest input asked for; each model takes as many of them as it can.
    """

    checkpoint: Checkpoint
    rivals: tuple[Checkpoint, ...]
    task: Task
    splits: Splits
    test: TestSplit
    inputs: Inputs
    keep: int
    strategies: dict[str, Layout]
    left_out: tuple[str, ...]
    tokens: int
    quick: Budget
    full: Budget
    rates: tuple[float, ...]
    device: torch.device
    workers: int

    @property
    def model(self) -> str:
        """The model with the commit that it resolved to."""
        return _name(self.checkpoint)

    @property
    def fidelity(self) -> float:
        """The share of the full budget that the quick one is."""
        return min(1.0, self.quick.ends / self.full.steps)

    @property
    def promotes(self) -> bool:
        """Whether a trial pauses at the end of the quick budget, and may go on."""
        return self.quick.until is not None

    def went_on(self, fidelity: float) -> bool:
        """Whether a trial of this share of the full budget went on from a pause."""
        return self.promotes and fidelity == 1.0

    def trial_budget(self, fidelity: float) -> Budget:
        """Return what a trial may spend, whatever it has spent before a pause."""
        return self.quick.whole() if fidelity == 1.0 else self.quick

    @property
    def study(self) -> str:
        """The study's name unless the user gives another."""
        parts = (self.checkpoint.encoder.name, self.task.name, f"keep{self.keep}")
        # Vowel signs of Indic scripts are marks (M*), which \w does not match.
        return "".join(
            c if c.isalnum() or c in "._-" or unicodedata.category(c)[0] == "M" else "--"
            for c in "-".join(parts)
        )

    @property
    def whole_models(self) -> set[str]:
        """The model and its rivals, each with its commit."""
        return {_name(one) for one in (self.checkpoint, *self.rivals)}

    def bench(self, budget: Budget) -> Bench:
        """Return the bench for layouts of the model."""
        load = partial(load_classifier, self.checkpoint, self.splits.names)
        return self._bench(load, self.inputs, budget)

    @property
    def full_budgets(self) -> tuple[Budget, ...]:
        """The budgets that an entrant of the comparison may have, one for each of `rates`."""
        rates = self.rates or (self.full.learning_rate,)
        return tuple(replace(self.full, learning_rate=rate) for rate in rates)

    def entrants(self, found: Layout | None, crew: Team) -> list[list[Entrant]]:
        """Return who is compared: found, strategies, full, scratch-trained, named rivals.

        Each stands there once for each of `full_budgets`.
        """

        def variants(
            origin: str, layout: Layout, load: Load, inputs: Inputs, model: str, start: Start
        ) -> list[Entrant]:
            benches = [self._bench(load, inputs, budget) for budget in self.full_budgets]
            return entrants_of(origin, layout, benches, inputs.test, model, start, crew)

        names, depth = self.splits.names, self.checkpoint.depth
        mine = {"found": found} if found else {}
        mine |= self.strategies | {"full": Layout.full(depth)}
        load = partial(load_classifier, self.checkpoint, names)
        entrants = [
            variants(origin, layout, load, self.inputs, self.model, "pretrained")
            for origin, layout in mine.items()
        ]
        scratch = partial(random_classifier, self.checkpoint, names, self.keep)
        shape = Layout.full(self.keep)
        entrants.append(variants("scratch", shape, scratch, self.inputs, self.model, "random"))
        for rival in self.rivals:
            inputs = inputs_of(rival, self.splits, self.test, self.tokens)
            load = partial(load_classifier, rival, names)
            name, shape = rival.encoder.name, Layout.full(rival.depth)
            entrants.append(variants(name, shape, load, inputs, _name(rival), "pretrained"))
        return entrants

    def _bench(self, load: Load, inputs: Inputs, budget: Budget) -> Bench:
        return Bench(load, inputs.train, inputs.validation, budget, self.device, self.task.metric)


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.encoder.name}@{checkpoint.commit}"


def inputs_of(checkpoint: Checkpoint, splits: Splits, test: TestSplit, tokens: int) -> Inputs:
    """Tokenise the three splits for one model, each text cut to `tokens` or what it can take."""
    tokenizer, longest = load_tokenizer(checkpoint), longest_input(checkpoint, tokens)
    encoded = [
        encode(rows, tokenizer, longest) for rows in (splits.train, splits.validation, test.rows)
    ]
    kept = touched(encoded[0].pad_id, *(rows.ids for rows in encoded))
    check_tokens(checkpoint, int(kept[-1]))
    return Inputs(*(renumber(rows, kept) for rows in encoded))
