"""Laying the ground: all that the user asked for is checked, cheapest first, and loaded."""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from autoprune.choices import METRIC_NAMES
from autoprune.encoders.embeddings import used_token_ids
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import (
    check_forward,
    check_vocabulary,
    hidden_size,
    load_classifier,
    load_tokenizer,
    max_input_length,
    random_classifier,
)
from autoprune.encoders.pruning import check_layout
from autoprune.encoders.registry import Encoder, EncoderFiles, find_rivals
from autoprune.encoders.registry import find_encoder as find_encoder
from autoprune.errors import LayoutError, OptionError, check_names
from autoprune.evaluation.entrants import Entrant, entrant_variants
from autoprune.evaluation.records import InitialWeights
from autoprune.layouts.layout import Layout, check_keep
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task as find_task
from autoprune.tasks.task import Columns, Splits, Task, TestSplit
from autoprune.tasks.tokenization import EncodedSplit, encode, remap_tokens
from autoprune.training.budget import Budget, default_learning_rate
from autoprune.training.devices import select_device
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.workers import Executor, available_cores, default_workers

LoadModel = Callable[[int], PreTrainedModel]


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """The three splits as one model's tokens, renumbered alike."""

    train: EncodedSplit
    validation: EncodedSplit
    test: EncodedSplit


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a study must not change on the way; `quick` and `full` are its two budgets.

    Each entrant's peak learning rate is chosen among `rates`, two or more; without any, all have
    that of `full`. `left_out` are the strategies that the model's family cannot have. `tokens` is
    the longest input asked for; each model takes as many of them as it can.
    """

    checkpoint: EncoderFiles
    rivals: tuple[EncoderFiles, ...]
    task: Task
    splits: Splits
    test: TestSplit
    inputs: EncodedSplits
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
        return self.quick.pause_at is not None

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

    def bench(self, budget: Budget) -> LayoutEvaluator:
        """Return the bench for layouts of the model."""
        load = partial(load_classifier, self.checkpoint, self.splits.names)
        return self._bench(load, self.inputs, budget)

    @property
    def full_budgets(self) -> tuple[Budget, ...]:
        """The budgets that an entrant of the comparison may have, one for each of `rates`."""
        rates = self.rates or (self.full.learning_rate,)
        return tuple(replace(self.full, learning_rate=rate) for rate in rates)

    def entrants(self, found: Layout | None, crew: Executor) -> list[list[Entrant]]:
        """Return who is compared: found, strategies, full, scratch-trained, named rivals.

        Each stands there once for each of `full_budgets`.
        """

        def variants(
            origin: str,
            layout: Layout,
            load: LoadModel,
            inputs: EncodedSplits,
            model: str,
            start: InitialWeights,
        ) -> list[Entrant]:
            benches = [self._bench(load, inputs, budget) for budget in self.full_budgets]
            return entrant_variants(origin, layout, benches, inputs.test, model, start, crew)

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
            inputs = encode_splits(rival, self.splits, self.test, self.tokens)
            load = partial(load_classifier, rival, names)
            name, shape = rival.encoder.name, Layout.full(rival.depth)
            entrants.append(variants(name, shape, load, inputs, _name(rival), "pretrained"))
        return entrants

    def _bench(self, load: LoadModel, inputs: EncodedSplits, budget: Budget) -> LayoutEvaluator:
        return LayoutEvaluator(
            load, inputs.train, inputs.validation, budget, self.device, self.task.metric
        )


def _name(checkpoint: EncoderFiles) -> str:
    return f"{checkpoint.encoder.name}@{checkpoint.commit}"


def encode_splits(
    checkpoint: EncoderFiles, splits: Splits, test: TestSplit, tokens: int
) -> EncodedSplits:
    """Tokenise the three splits for one model, each text cut to `tokens` or what it can take."""
    tokenizer, longest = load_tokenizer(checkpoint), max_input_length(checkpoint, tokens)
    encoded = [
        encode(rows, tokenizer, longest) for rows in (splits.train, splits.validation, test.rows)
    ]
    kept = used_token_ids(encoded[0].pad_id, *(rows.ids for rows in encoded))
    check_vocabulary(checkpoint, int(kept[-1]))
    return EncodedSplits(*(remap_tokens(rows, kept) for rows in encoded))


EARLY_STOPPING_PATIENCE = 3  # checks without a better validation quality before a full run stops


def build_experiment(*, keep: int, **asked: Any) -> Experiment:
    """Lay the ground for one number of layers to keep; see `build_experiments`."""
    return build_experiments(keeps=[keep], **asked)[0]


def build_experiments(
    *,
    model: str,
    task: str,
    keeps: Sequence[int],
    strategies: Sequence[str] | None,
    rivals: Sequence[str],
    columns: Columns,
    metric: str | None,
    data_dir: Path | None,
    keep_duplicates: bool,
    seed: int,
    device: str,
    method: str,
    epochs: int,
    full_epochs: int | None,
    batch: int,
    parts: int,
    tokens: int | None,
    learning_rate: float | None,
    workers: int | None,
    trust_remote_code: bool,
    promote: bool = False,
    learning_rates: Sequence[float] = (),
    rivals_at: Mapping[int, Sequence[str]] | None = None,
) -> list[Experiment]:
    """Check all that the user asked for, cheapest first, then load it; raises `AutopruneError`.

    Returns a ground for each of `keeps`; they share the rows and the checkpoints.
    Without `strategies`, all are compared that the model's family can have. `rivals_at` names
    further rivals for one number of layers; `learning_rates` are as in `Experiment.rates`. With
    `promote`, a trial is a full run that pauses after `epochs`. Sets how many threads torch uses
    in this process.
    """
    encoder, chosen = find_encoder(model), find_task(task, columns)
    check_names("strategy", strategies or (), STRATEGIES)
    if metric is not None:
        check_names("metric", [metric], METRIC_NAMES)
        chosen = replace(chosen, metric=metric)
    where = select_device(device)
    own = {keep: [*rivals, *(rivals_at or {}).get(keep, ())] for keep in keeps}
    opponents = [
        _opponents([*find_rivals(encoder, keep), *map(find_encoder, own[keep])]) for keep in keeps
    ]
    splits = read_splits(chosen, data_dir, keep_duplicates, seed)
    test = read_test(chosen, data_dir, keep_duplicates, seed)
    checkpoint = fetch(encoder, trust_remote_code)
    for keep in keeps:
        check_keep(checkpoint.depth, keep)
    fetched = {
        opponent: fetch(opponent, trust_remote_code) for each in opponents for opponent in each
    }
    for rival in fetched.values():  # weights that cannot be loaded are refused before work
        check_forward(rival, load_classifier(rival, splits.names, seed))
    whole = load_classifier(checkpoint, splits.names, seed)
    check_forward(checkpoint, whole)
    width = hidden_size(checkpoint)
    epoch = math.ceil(len(splits.train) / batch)
    quick = Budget(
        steps=epochs * epoch,
        batch=batch,
        tokens=max_input_length(checkpoint, tokens or chosen.tokens),
        learning_rate=learning_rate or default_learning_rate(width, method),
        checks=epochs,
        method=method,
        parts=parts,
    )
    passes = full_epochs or chosen.full_epochs
    full = replace(quick, steps=passes * epoch, checks=passes)
    if promote:
        if epochs >= passes:
            raise OptionError(
                f"--promote takes fewer --epochs than the {passes} passes of the full budget, got "
                f"{epochs}"
            )
        quick = replace(full, pause_at=quick.steps)
    workers = workers or default_workers(width, where)
    torch.set_num_threads(max(1, available_cores() // workers))
    inputs = encode_splits(checkpoint, splits, test, quick.tokens)
    grounds = []
    for keep, theirs in zip(keeps, opponents, strict=True):
        named, left_out = _named(whole, strategies, keep)
        grounds.append(
            Experiment(
                checkpoint=checkpoint,
                rivals=tuple(fetched[opponent] for opponent in theirs),
                task=chosen,
                splits=splits,
                test=test,
                inputs=inputs,
                keep=keep,
                strategies=named,
                left_out=left_out,
                tokens=tokens or chosen.tokens,
                quick=quick,
                full=replace(full, patience=EARLY_STOPPING_PATIENCE),
                rates=tuple(learning_rates),
                device=where,
                workers=workers,
            )
        )
    return grounds


def _named(
    whole: PreTrainedModel, strategies: Sequence[str] | None, keep: int
) -> tuple[dict[str, Layout], tuple[str, ...]]:
    """Return the strategies' layouts, and which of them the family cannot have.

    One of those that the user named is refused.
    """
    named = strategy_layouts(list(strategies or STRATEGIES), whole.config.num_hidden_layers, keep)
    left_out = tuple(name for name in named if not _can_have(whole, named[name]))
    for name in left_out if strategies else ():
        check_layout(whole, named[name])
    return {name: named[name] for name in named if name not in left_out}, left_out


def _can_have(model: PreTrainedModel, layout: Layout) -> bool:
    try:
        check_layout(model, layout)
    except LayoutError:
        return False
    return True


def _opponents(rivals: Sequence[Encoder]) -> list[Encoder]:
    """Return the rivals, each once; refuse one that goes by the name of another entrant."""
    once = list({(rival.source, rival.revision): rival for rival in rivals}.values())
    taken = {"found", "full", "scratch", *STRATEGIES}
    for rival in once:
        if rival.name in taken:
            raise OptionError(
                f"a rival needs a name of its own in the table, {rival.name!r} ({rival.source}) is "
                "taken: rename its folder"
            )
        taken.add(rival.name)
    return once
