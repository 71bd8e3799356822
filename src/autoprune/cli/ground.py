"""The ground that search and baseline stand on: the model, the task's rows, the two benches."""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from autoprune.encoders.encoder import Checkpoint, Encoder
from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer, random_classifier
from autoprune.encoders.registry import find as find_encoder
from autoprune.encoders.registry import rivals_of
from autoprune.encoders.shape import longest_input, width_of
from autoprune.encoders.surgery import check_layout
from autoprune.encoders.vocabulary import touched
from autoprune.errors import LayoutError, OptionError, check_names
from autoprune.evidence.entrants import entrant
from autoprune.evidence.measuring import Entrant
from autoprune.layouts.layout import Layout, check_keep
from autoprune.layouts.strategies import STRATEGIES, layouts_of
from autoprune.scoring.bench import Bench
from autoprune.scoring.budget import Budget
from autoprune.scoring.crew import Crew, cores, workers_for
from autoprune.scoring.devices import pick
from autoprune.scoring.names import METRIC_NAMES
from autoprune.scoring.rates import default_rate
from autoprune.tasks.held_out import read_test
from autoprune.tasks.reading import read
from autoprune.tasks.registry import find as find_task
from autoprune.tasks.task import Columns, Splits, Task, TestSplit
from autoprune.tasks.tokenising import Encoded, encode, renumber

Load = Callable[[int], PreTrainedModel]

PATIENCE = 3  # checks without a better validation quality before a full run stops


@dataclass(frozen=True, slots=True)
class Inputs:
    """The three splits as one model's tokens, renumbered alike."""

    train: Encoded
    validation: Encoded
    test: Encoded


@dataclass(frozen=True, slots=True)
class Ground:
    """What a study must not change on the way; `quick` and `full` are its two budgets.

    `left_out` are the strategies that the model's family cannot have. `tokens` is the longest
    input asked for; each model takes as many of them as it can.
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
    device: torch.device
    workers: int

    @property
    def model(self) -> str:
        """The model with the commit that it resolved to."""
        return _name(self.checkpoint)

    @property
    def study(self) -> str:
        """The study's name unless the user gives another."""
        parts = (self.checkpoint.encoder.name, self.task.name, f"keep{self.keep}")
        # Vowel signs of Indic scripts are marks (M*), which \w does not match.
        return "".join(
            c if c.isalnum() or c in "._-" or unicodedata.category(c)[0] == "M" else "--"
            for c in "-".join(parts)
        )

    def bench(self, budget: Budget) -> Bench:
        """Return the bench for layouts of the model."""
        load = partial(load_classifier, self.checkpoint, self.splits.names)
        return self._bench(load, self.inputs, budget)

    def entrants(self, found: Layout | None, crew: Crew) -> list[Entrant]:
        """Return who is compared: found, strategies, full, scratch-trained, named rivals."""
        depth = self.checkpoint.depth
        bench = self.bench(self.full)
        mine = {"found": found} if found else {}
        mine |= self.strategies | {"full": Layout.full(depth)}
        entrants = [
            entrant(origin, layout, bench, self.inputs.test, self.model, "pretrained", crew)
            for origin, layout in mine.items()
        ]
        load = partial(random_classifier, self.checkpoint, self.splits.names, self.keep)
        scratch = self._bench(load, self.inputs, self.full)
        shape = Layout.full(self.keep)
        entrants.append(
            entrant("scratch", shape, scratch, self.inputs.test, self.model, "random", crew)
        )
        for rival in self.rivals:
            inputs = _encode(rival, self.splits, self.test, self.tokens)
            load = partial(load_classifier, rival, self.splits.names)
            bench = self._bench(load, inputs, self.full)
            name, shape = rival.encoder.name, Layout.full(rival.depth)
            entrants.append(
                entrant(name, shape, bench, inputs.test, _name(rival), "pretrained", crew)
            )
        return entrants

    def _bench(self, load: Load, inputs: Inputs, budget: Budget) -> Bench:
        return Bench(load, inputs.train, inputs.validation, budget, self.device, self.task.metric)


def lay(
    *,
    model: str,
    task: str,
    keep: int,
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
) -> Ground:
    """Check all that the user asked for, cheapest first, then load it; raises `AutopruneError`.

    Without `strategies`, all are compared that the model's family can have. Sets how many threads
    torch uses in this process.
    """
    encoder, chosen = find_encoder(model), find_task(task, columns)
    check_names("strategy", strategies or (), STRATEGIES)
    if metric is not None:
        check_names("metric", [metric], METRIC_NAMES)
        chosen = replace(chosen, metric=metric)
    where = pick(device)
    opponents = _opponents([*rivals_of(encoder, keep), *map(find_encoder, rivals)])
    splits = read(chosen, data_dir, keep_duplicates, seed)
    test = read_test(chosen, data_dir, keep_duplicates, seed)
    checkpoint = fetch(encoder, trust_remote_code)
    check_keep(checkpoint.depth, keep)
    fetched = tuple(fetch(opponent, trust_remote_code) for opponent in opponents)
    for rival in fetched:  # weights that cannot be loaded are refused before work
        load_classifier(rival, splits.names, seed)
    whole = load_classifier(checkpoint, splits.names, seed)
    named = layouts_of(list(strategies or STRATEGIES), checkpoint.depth, keep)
    left_out = tuple(name for name in named if not _can_have(whole, named[name]))
    for name in left_out if strategies else ():
        check_layout(whole, named[name])
    width = width_of(checkpoint)
    epoch = math.ceil(len(splits.train) / batch)
    quick = Budget(
        steps=epochs * epoch,
        batch=batch,
        tokens=longest_input(checkpoint, tokens or chosen.tokens),
        learning_rate=learning_rate or default_rate(width, method),
        checks=epochs,
        method=method,
        parts=parts,
    )
    passes = full_epochs or chosen.full_epochs
    workers = workers or workers_for(width, where)
    torch.set_num_threads(max(1, cores() // workers))
    return Ground(
        checkpoint=checkpoint,
        rivals=fetched,
        task=chosen,
        splits=splits,
        test=test,
        inputs=_encode(checkpoint, splits, test, quick.tokens),
        keep=keep,
        strategies={name: named[name] for name in named if name not in left_out},
        left_out=left_out,
        tokens=tokens or chosen.tokens,
        quick=quick,
        full=replace(quick, steps=passes * epoch, checks=passes, patience=PATIENCE),
        device=where,
        workers=workers,
    )


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


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.encoder.name}@{checkpoint.commit}"


def _encode(checkpoint: Checkpoint, splits: Splits, test: TestSplit, tokens: int) -> Inputs:
    tokenizer, longest = load_tokenizer(checkpoint), longest_input(checkpoint, tokens)
    encoded = [
        encode(rows, tokenizer, longest) for rows in (splits.train, splits.validation, test.rows)
    ]
    kept = touched(encoded[0].pad_id, *(rows.ids for rows in encoded))
    return Inputs(*(renumber(rows, kept) for rows in encoded))
