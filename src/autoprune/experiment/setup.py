"""Experiment set-up: what a study asks for is checked, cheapest first, and loaded."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import torch
from transformers import PreTrainedModel

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import (
    check_forward,
    hidden_size,
    max_input_length,
)
from autoprune.encoders.pruning import can_have, check_layout, required_layers
from autoprune.encoders.registry import (
    EncoderFiles,
    distinct_rivals,
    find_encoder,
    find_rivals,
)
from autoprune.errors import OptionError
from autoprune.evaluation.entrants import (
    Entrant,
    MeasurementConditions,
    SeedSchedule,
    entrant_variants,
)
from autoprune.evaluation.racing import check_test_rows
from autoprune.evaluation.records import ORIGINS, InitialWeights, installed_versions
from autoprune.evaluation.simple_models import SIMPLE_ORIGINS
from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.inputs import (
    NO_TEACHER,
    EncodedSplits,
    TeacherInputs,
    encode_splits,
    read_teacher_inputs,
)
from autoprune.files import derive_study_name
from autoprune.layouts.layout import Layout, check_keep
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import find_task
from autoprune.tasks.task import Splits, Task, TestSplit
from autoprune.training.budget import DRAWN_HEAD, Budget, Distillation, default_learning_rate
from autoprune.training.devices import describe_device, limited_threads, select_device
from autoprune.training.distillation import TeacherTargets
from autoprune.training.evaluator import LayoutEvaluator
from autoprune.training.methods import check_method_installed
from autoprune.training.problem_types import PROBLEM_TYPES, ProblemType
from autoprune.training.ray_workers import check_ray
from autoprune.training.workers import Executor, available_cores, default_workers

EARLY_STOPPING_PATIENCE = 3
"""Checks without a better validation quality after which a run of the full budget stops."""

DISTILLED_LENGTH = 4
"""How many times as many steps a distilled run of the full budget has as a plain one."""

LoadModel = Callable[[int], PreTrainedModel]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A study's model, rows and budgets, loaded; `quick` is a trial's budget, `full` the last one.

    `strategies` are the layouts to compare with, `left_out` the strategies that the model's family
    cannot have. `notes` say how the data were read and tokenized, `warnings` what is doubtful in
    that, a sentence each.

    `teaching` is what candidates learn from a teacher, if they do; `targets` are what that says,
    None as long as it is not trained.
    """

    config: StudyConfig
    checkpoint: EncoderFiles
    rivals: tuple[EncoderFiles, ...]
    task: Task
    splits: Splits
    test: TestSplit
    inputs: EncodedSplits
    rival_inputs: tuple[EncodedSplits, ...]
    strategies: dict[str, Layout]
    left_out: tuple[str, ...]
    required_layers: tuple[int, ...]
    quick: Budget
    full: Budget
    device: torch.device
    workers: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    teaching: TeacherInputs = NO_TEACHER
    targets: TeacherTargets | None = None

    @property
    def keep(self) -> int:
        """How many layers are kept."""
        return self.config.keep

    @property
    def depth(self) -> int:
        """How many layers the full model has."""
        return self.checkpoint.depth

    @property
    def seed(self) -> int:
        """The search's seed."""
        return self.config.seed

    @property
    def schedule(self) -> SeedSchedule:
        """The comparison's seeds: none of them is the search's."""
        comparison, first = self.config.comparison, self.seed + 1
        seeds = tuple(range(first, first + comparison.most_seeds))
        return SeedSchedule(seeds, comparison.least_seeds, comparison.race)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The peak learning rates that each entrant may choose from; none: all have `full`'s."""
        return self.config.budget.learning_rates

    @property
    def tokens(self) -> int:
        """The longest input asked for; each model takes as many tokens as it can."""
        return self.config.budget.tokens or self.task.tokens

    @property
    def problem_type(self) -> ProblemType:
        """What the task's labels are: it gives head, loss, predictions and metrics."""
        return PROBLEM_TYPES[self.splits.problem_type]

    @property
    def model(self) -> str:
        """The model with the commit that it resolved to."""
        return self.checkpoint.versioned

    @property
    def models(self) -> set[str]:
        """The model and its rivals, each with its commit."""
        return {checkpoint.versioned for checkpoint in (self.checkpoint, *self.rivals)}

    @property
    def default_name(self) -> str:
        """The study's name unless the user gives another."""
        return derive_study_name(self.checkpoint.encoder.name, self.task.name, self.keep)

    @property
    def conditions(self) -> MeasurementConditions:
        """What all measurements of the study share."""
        machine = describe_device(self.device, self.problem_type.name)
        return MeasurementConditions(
            task=self.task.name,
            metric=self.task.metric,
            fingerprints={"train and validation": self.splits.fingerprint},
            versions=installed_versions(),
            device=f"{machine}, {self.workers} at a time",
            problem_type=self.problem_type.name,
            validation_rows=len(self.splits.validation),
        )

    @property
    def identity(self) -> dict[str, str | int | float | None]:
        """What a study must not change on the way, apart from depth, keep and seed."""
        quick: dict[str, str | int | float | None] = {
            "steps": self.quick.steps,
            "batch": self.quick.batch,
            "tokens": self.quick.tokens,
            "learning_rate": self.quick.learning_rate,
            "checks": self.quick.checks,
            "method": self.quick.method,
            "patience": self.quick.patience,
            "parts": self.quick.parts,
            "head": self.quick.head,
        }
        return {
            "model": self.model,
            "task": self.task.name,
            "metric": self.task.metric,
            "data": self.splits.fingerprint,
            "full_steps": self.full.steps,
            "proxy": self.config.search.proxy,
            **quick,
            **({"promote": self.quick.pause_at} if self.promotes else {}),
            **({"distillation": str(self.distillation)} if self.distillation else {}),
        }

    @property
    def distillation(self) -> Distillation | None:
        """What candidates learn from a teacher, None without one."""
        return self.teaching.settings

    @property
    def timed(self) -> Budget:
        """The budget of a trial that needs no teacher: to time a step, and for cheap scores."""
        return replace(self.quick, distillation=None)

    @property
    def promotes(self) -> bool:
        """Whether a trial pauses at the end of the quick budget, and may go on."""
        return self.quick.pause_at is not None

    @property
    def fidelity(self) -> float:
        """The share of the full budget that the quick one is."""
        return min(1.0, self.quick.ends / self.full.steps)

    def was_promoted(self, fidelity: float) -> bool:
        """Whether a trial of this share of the full budget went on from a pause."""
        return self.promotes and fidelity == 1.0

    def trial_budget(self, fidelity: float) -> Budget:
        """Return what a trial may spend, whatever it has spent before a pause."""
        return self.quick.whole() if fidelity == 1.0 else self.quick

    def full_budgets(self) -> tuple[Budget, ...]:
        """Return the budgets that the full model may have, one for each learning rate."""
        rates = self.learning_rates or (self.full.learning_rate,)
        return tuple(replace(self.full, learning_rate=rate) for rate in rates)

    def entrant_budgets(self, origin: str = "found") -> tuple[Budget, ...]:
        """Return the budgets that an entrant may have: for each rate, temperature and weight.

        The full model learns from the labels alone. A distilled run is longer, since it goes on
        learning where a plain one has stopped: see `DISTILLED_LENGTH`. Its checks are as many, or
        early stopping would end it at a rest that a longer run gets over. Its steps are as many
        with texts without labels as without. Rivals and scratch learn logits alone: their layers
        have no place in the teacher. The states of random weights tell a head nothing, so that of
        scratch starts at random.
        """
        budgets = self.full_budgets()
        if origin == "scratch":
            budgets = tuple(replace(budget, head=DRAWN_HEAD) for budget in budgets)
        if self.distillation is None or origin == "full":
            return budgets
        asked = self.config.distillation
        kind = self.distillation.kind if origin in ("found", *self.strategies) else "logits"
        return tuple(
            replace(
                budget,
                steps=DISTILLED_LENGTH * budget.steps,
                distillation=replace(
                    self.distillation, kind=kind, temperature=temperature, weight=weight
                ),
            )
            for budget in budgets
            for temperature in asked.temperatures
            for weight in asked.distill_weights
        )

    def threads(self) -> AbstractContextManager[None]:
        """Return a block in which torch uses this process's share of the cores."""
        return limited_threads(max(1, available_cores() // self.workers))

    def evaluator(self, budget: Budget) -> LayoutEvaluator:
        """Return what trains and scores layouts of the model."""
        load = partial(self.problem_type.load_classifier, self.checkpoint, self.splits.names)
        return self._evaluator(load, self.inputs, budget)

    def full_entrants(self, executor: Executor) -> list[Entrant]:
        """Return the full model as it enters the comparison, once for each of `full_budgets`."""
        load = partial(self.problem_type.load_classifier, self.checkpoint, self.splits.names)
        evaluators = [self._evaluator(load, self.inputs, each) for each in self.full_budgets()]
        full, test = Layout.full(self.depth), self.inputs.test
        return entrant_variants("full", full, evaluators, test, self.model, "pretrained", executor)

    def entrants(self, found: Layout | None, executor: Executor) -> list[list[Entrant]]:
        """Return who is compared: found, strategies, full, scratch-trained, rivals.

        Each has one entrant for each of its `entrant_budgets`.
        """

        def variants(
            origin: str,
            layout: Layout,
            load: LoadModel,
            inputs: EncodedSplits,
            model: str,
            start: InitialWeights,
        ) -> list[Entrant]:
            budgets = self.entrant_budgets(origin)
            evaluators = [self._evaluator(load, inputs, budget) for budget in budgets]
            return entrant_variants(origin, layout, evaluators, inputs.test, model, start, executor)

        names = self.splits.names
        layouts = ({"found": found} if found else {}) | self.strategies
        load = partial(self.problem_type.load_classifier, self.checkpoint, names)
        entrants = [
            variants(origin, layout, load, self.inputs, self.model, "pretrained")
            for origin, layout in layouts.items()
        ]
        entrants.append(self.full_entrants(executor))
        scratch = partial(self.problem_type.random_classifier, self.checkpoint, names, self.keep)
        shape = Layout.full(self.keep)
        entrants.append(variants("scratch", shape, scratch, self.inputs, self.model, "random"))
        for rival, inputs in zip(self.rivals, self.rival_inputs, strict=True):
            load = partial(self.problem_type.load_classifier, rival, names)
            name, shape = rival.encoder.name, Layout.full(rival.depth)
            entrants.append(variants(name, shape, load, inputs, rival.versioned, "pretrained"))
        return entrants

    def _evaluator(self, load: LoadModel, inputs: EncodedSplits, budget: Budget) -> LayoutEvaluator:
        settings = budget.distillation
        return LayoutEvaluator(
            load,
            inputs.with_unlabelled if settings and settings.unlabelled else inputs.train,
            inputs.validation,
            budget,
            self.device,
            self.task.metric,
            self.problem_type,
            self.targets if settings else None,
        )


def build_experiment(config: StudyConfig, options: RunOptions) -> Experiment:
    """Check and load one study; see `build_experiments`."""
    return build_experiments([config], options)[0]


def build_experiments(configs: Sequence[StudyConfig], options: RunOptions) -> list[Experiment]:
    """Check what studies ask for, cheapest first, then load it.

    The studies may differ in `keep` and in their rivals; they share rows and checkpoints. Without
    strategies, all are compared that the model's family can have. With `promote`, a trial is a run
    of the full budget that pauses after `epochs`. Raises `AutopruneError`.
    """
    config = configs[0]
    check_ray(options.ray, options.gpus_per_worker, options.workers, config.search.pruner)
    check_method_installed(config.budget.method)
    encoder, data = find_encoder(config.model), config.data
    task = find_task(config.task, data.columns, config.metric, config.problem_type, data.data_dir)
    device = select_device(options.device)
    rivals = [
        distinct_rivals(
            [*find_rivals(encoder, each.keep), *map(find_encoder, each.comparison.rivals)],
            {*ORIGINS, *SIMPLE_ORIGINS},
        )
        for each in configs
    ]
    rows = (task, data.data_dir, data.keep_duplicates, config.seed, data.merge_labels)
    splits, test = read_splits(*rows), read_test(*rows)
    check_test_rows(test)
    problem_type = PROBLEM_TYPES[splits.problem_type]
    problem_type.check_metric(task.metric)
    metric = task.metric or problem_type.metrics[0]
    longest = max(task.tokens, 512 * problem_type.by_word)  # no sentence is cut
    task = replace(task, problem_type=problem_type.name, metric=metric, tokens=longest)
    checkpoint = fetch(encoder, options.trust_remote_code)
    for each in configs:
        check_keep(checkpoint.depth, each.keep)
    files = {rival: fetch(rival, options.trust_remote_code) for named in rivals for rival in named}
    for rival in files.values():  # weights that cannot be loaded are refused before work
        check_forward(rival, problem_type.load_classifier(rival, splits.names, config.seed))
    full_model = problem_type.load_classifier(checkpoint, splits.names, config.seed)
    check_forward(checkpoint, full_model)
    teaching = read_teacher_inputs(config, checkpoint, splits, test, options.trust_remote_code)
    quick, full = _budgets(config, task, checkpoint, len(splits.train))
    if teaching.settings is not None:  # texts without labels would make trials longer
        quick = replace(quick, distillation=replace(teaching.settings, unlabelled=""))
    inputs = encode_splits(checkpoint, splits, test, quick.tokens, teaching.unlabelled)
    tokens = config.budget.tokens or task.tokens
    rival_inputs = {
        rival: encode_splits(file, splits, test, tokens, teaching.unlabelled)
        for rival, file in files.items()
    }
    experiments = []
    for each, named in zip(configs, rivals, strict=True):
        strategies, left_out = _strategies(full_model, each)
        read = [inputs, *(rival_inputs[rival] for rival in named)]
        experiments.append(
            Experiment(
                config=each,
                checkpoint=checkpoint,
                rivals=tuple(files[rival] for rival in named),
                task=task,
                splits=splits,
                test=test,
                inputs=inputs,
                rival_inputs=tuple(read[1:]),
                strategies=strategies,
                left_out=left_out,
                required_layers=required_layers(full_model),
                quick=quick,
                full=full,
                device=device,
                workers=options.workers or default_workers(hidden_size(checkpoint), device),
                notes=(
                    *splits.notes,
                    *(each.readability.note for each in read),
                    *teaching.notes,
                ),
                teaching=teaching,
                warnings=(
                    *splits.warnings,
                    *(line for each in read for line in each.readability.warnings),
                ),
            )
        )
    return experiments


def _budgets(
    config: StudyConfig, task: Task, checkpoint: EncoderFiles, train_rows: int
) -> tuple[Budget, Budget]:
    """Return the quick and the full budget; a quick run makes no more passes than a full one."""
    asked = config.budget
    steps = math.ceil(train_rows / asked.batch)  # of one epoch
    epochs = asked.full_epochs or task.full_epochs
    quick_epochs = min(asked.epochs, epochs)
    quick = Budget(
        steps=quick_epochs * steps,
        batch=asked.batch,
        tokens=max_input_length(checkpoint, asked.tokens or task.tokens),
        learning_rate=asked.learning_rate
        or default_learning_rate(hidden_size(checkpoint), asked.method),
        checks=quick_epochs,
        method=asked.method,
        parts=asked.parts,
        head=asked.head,
    )
    full = replace(quick, steps=epochs * steps, checks=epochs)
    if config.search.promote:
        if asked.epochs >= epochs:
            raise OptionError(
                f"--promote takes fewer --epochs than the {epochs} passes of the full budget, got "
                f"{asked.epochs}"
            )
        quick = replace(full, pause_at=quick.steps)
    return quick, replace(full, patience=EARLY_STOPPING_PATIENCE)


def _strategies(
    full_model: PreTrainedModel, config: StudyConfig
) -> tuple[dict[str, Layout], tuple[str, ...]]:
    """Return the strategies' layouts, and which of them the family cannot have.

    One of those that the user named is refused.
    """
    named = config.comparison.strategies
    layouts = strategy_layouts(
        list(named or STRATEGIES), full_model.config.num_hidden_layers, config.keep
    )
    left_out = tuple(name for name in layouts if not can_have(full_model, layouts[name]))
    for name in left_out if named else ():
        check_layout(full_model, layouts[name])
    return {name: layouts[name] for name in layouts if name not in left_out}, left_out
