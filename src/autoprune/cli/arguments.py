"""Argument groups: the options that commands share, as dataclasses that Typer shows as one list."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from autoprune.choices import (
    DISTILLATION_NAMES,
    HEAD_NAMES,
    MAX_EPOCHS,
    MAX_GPUS,
    MAX_MINUTES,
    MAX_TRIALS,
    METRIC_NAMES,
    PROXY_NAMES,
    PRUNER_NAMES,
    SAMPLER_NAMES,
)
from autoprune.cli import options
from autoprune.encoders.registry import ENCODERS
from autoprune.errors import AutopruneError, OptionError
from autoprune.files import validate_study_name
from autoprune.layouts.layout import format_keeps, parse_keeps
from autoprune.layouts.strategies import STRATEGIES

if TYPE_CHECKING:
    from autoprune.experiment.config import RunOptions, StudyConfig

_CONTEXT = "_context"

# The panels of help, and the order of the options in them; the first has no title.
_PANELS: dict[str | None, str] = {
    None: "model task keep trials text label metric epochs full_epochs seeds",
    "Data": "text_pair data_dir problem_type label_separator labels keep_duplicates merge_labels "
    "allow_unknown_tokens",
    "Model and training": "tokens batch parts learning_rate learning_rates method head distill "
    "teacher unlabelled temperature distill_weight trust_remote_code",
    "Search": "minutes sampler pruner promote proxy seed",
    "Comparison": "strategies rivals race max_drop max_latency_ms max_megabytes",
    "Compute": "device workers storage ray gpus_per_worker",
    "Output": "study config write_config log_file mlflow json",
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names.split()}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A group of options; `given`, the first field, has the names of those that the user gave."""

    given: frozenset[str] = frozenset()

    def given_options(self) -> dict[str, Any]:
        """Return the options of the group that the user gave, by the names of the configuration."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name in self.given
        }


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give Typer the fields of a command's argument groups as the command's own options."""
    hints = get_type_hints(command, include_extras=True)
    groups = {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, Arguments)
    }
    parameters = [_parameter(_CONTEXT, typer.Context, inspect.Parameter.empty)]
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            parameters += [
                _parameter(field.name, types[field.name], field.default)
                for field in fields(groups[name])[1:]
            ]
        else:
            parameters.append(_parameter(name, hints[name], parameter.default))

    @wraps(command)
    def run(**values: Any) -> None:
        context: typer.Context = values.pop(_CONTEXT)
        sources = {name: context.get_parameter_source(name) for name in values}
        given = frozenset(
            name for name, source in sources.items() if getattr(source, "name", "") != "DEFAULT"
        )
        arguments = {
            name: group(
                given=given,
                **{field.name: values.pop(field.name) for field in fields(group)[1:]},
            )
            for name, group in groups.items()
        }
        command(**arguments, **values)

    order = list(_PANEL_OF)
    parameters.sort(key=lambda each: order.index(each.name) if each.name in order else -1)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    """Return a parameter of a command, in its panel of the help."""
    if (panel := _PANEL_OF.get(name)) is not None:
        kind, shared = get_args(hint)
        option = copy(shared)  # other commands have it in another panel, or in none
        option.rich_help_panel = panel
        hint = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


@dataclass(frozen=True, kw_only=True)
class StudyArguments(Arguments):
    """What a study is, apart from its search; `config` is a TOML file with the same settings."""

    model: options.OptionalModelOption = None
    task: options.OptionalTaskOption = None
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            "-k",
            help="How many layers stay; in a search also `2-8` or `2,4,6`: a study for each, and "
            "what each costs.",
            callback=options.check_keeps,
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with the study's settings; options given here win.", metavar="FILE"
        ),
    ] = None
    write_config: Annotated[
        Path | None,
        typer.Option(help="Write the settings to this TOML file as well.", metavar="FILE"),
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the search.")] = 0
    seeds: Annotated[
        str,
        typer.Option(
            help="Fresh seeds of the comparison; `3-10`: at least 3, and up to 10 until it is "
            "clear whether found is better than the best fixed strategy, worse or equal.",
            metavar="N|N-N",
        ),
    ] = "3"
    race: Annotated[
        bool,
        typer.Option(
            " /--no-race",
            help="Train every entrant with every seed, also one that is surely behind.",
            show_default=False,
        ),
    ] = True
    strategies: Annotated[
        list[str] | None,
        options.name_option(
            "strategy",
            STRATEGIES,
            f"A fixed strategy to compare with ({', '.join(STRATEGIES)}); repeat for more. "
            "[default: all]",
            "--strategy",
        ),
    ] = None
    rivals: Annotated[
        list[str] | None,
        typer.Option(
            "--rival",
            help="A small pre-trained model to compare with; repeat for more.",
            autocompletion=options.complete_names(ENCODERS),
        ),
    ] = None
    data_dir: options.DataDirOption = None
    text: options.TextColumnOption = None
    text_pair: options.PairColumnOption = None
    label: options.LabelColumnOption = None
    labels: options.LabelColumnsOption = None
    label_separator: options.LabelSeparatorOption = None
    problem_type: options.ProblemTypeOption = None
    metric: Annotated[
        str | None,
        options.name_option(
            "metric",
            METRIC_NAMES,
            f"What layouts are chosen and compared by: {', '.join(METRIC_NAMES)}; each problem "
            "type has some of them. [default: the task's]",
        ),
    ] = None
    keep_duplicates: options.KeepDuplicatesOption = False
    merge_labels: options.MergeLabelsOption = False
    allow_unknown_tokens: options.AllowUnknownTokensOption = False
    epochs: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_EPOCHS,
            help="Quick budget: passes of a trial, no more than --full-epochs.",
        ),
    ] = 3
    full_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_EPOCHS,
            help="Full budget: passes of the comparison at most; stops when validation does. "
            "[default: the task's]",
        ),
    ] = None
    batch: options.BatchOption = 32
    parts: options.PartsOption = 1
    tokens: options.TokensOption = None
    learning_rate: options.LearningRateOption = None
    learning_rates: Annotated[
        str | None,
        typer.Option(
            help="Peak rates such as 2e-5,5e-5,1e-4: each entrant of the comparison takes the one "
            "that is best on validation. [default: all have that of --learning-rate]",
            callback=options.check_rates,
        ),
    ] = None
    method: options.MethodOption = "full"
    head: Annotated[
        str,
        options.name_option(
            "start of the head",
            HEAD_NAMES,
            "How the new head starts: fitted to the states of the untrained layers, or drawn at "
            "random as in earlier versions.",
        ),
    ] = "fitted"
    distill: Annotated[
        str,
        options.name_option(
            "kind of distillation",
            DISTILLATION_NAMES,
            "What runs learn of a teacher beside the labels: none, its logits, or the hidden "
            "states of kept layers as well.",
        ),
    ] = "none"
    teacher: Annotated[
        str,
        typer.Option(
            help="`full`: the full model, fine-tuned on the comparison's seeds; or the folder of a "
            "fine-tuned classifier with the same labels."
        ),
    ] = "full"
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="UTF-8 file of texts without labels, a text a line, of which the teacher "
            "teaches as well.",
            metavar="FILE",
        ),
    ] = None
    temperature: Annotated[
        str,
        typer.Option(
            help="Temperature of distillation; of several such as 1,2,4 each entrant of the "
            "comparison takes the best on validation.",
        ),
    ] = "2"
    distill_weight: Annotated[
        str,
        typer.Option(
            help="The teacher's share of the loss of a labelled row; several such as 0.5,0.9 as "
            "with --temperature.",
        ),
    ] = "0.7"


@dataclass(frozen=True, kw_only=True)
class SearchArguments(Arguments):
    """How layouts are searched."""

    trials: Annotated[
        int,
        typer.Option(
            "--trials",
            "-n",
            min=1,
            max=MAX_TRIALS,
            help="Trials of the search in all; with more, the same study continues.",
        ),
    ] = 16
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=MAX_MINUTES,
            callback=options.check_finite,
            help="End the search (not the comparison) after so long, however many --trials.",
        ),
    ] = None
    sampler: Annotated[
        str,
        options.name_option(
            "sampler", SAMPLER_NAMES, f"What proposes layouts: {', '.join(SAMPLER_NAMES)}."
        ),
    ] = "gp"
    pruner: Annotated[
        str,
        options.name_option(
            "pruner", PRUNER_NAMES, f"What stops weak trials early: {', '.join(PRUNER_NAMES)}."
        ),
    ] = "none"
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="Trials pause after --epochs; those worth it go on to the end."
        ),
    ] = False
    proxy: Annotated[
        str,
        options.name_option(
            "proxy",
            (*PROXY_NAMES, "none"),
            "A cheap score of all layouts that informs the search, weighted by how well the "
            f"trials agree with it: {', '.join(PROXY_NAMES)}, none.",
        ),
    ] = "none"


@dataclass(frozen=True, kw_only=True)
class RunArguments(Arguments):
    """Where and how a study runs, and what is written about it."""

    study: Annotated[
        str | None,
        typer.Option(
            help="Name of the study; else MODEL-TASK-keepK.", callback=validate_study_name
        ),
    ] = None
    device: options.DeviceOption = "auto"
    workers: options.WorkersOption = None
    log_file: options.LogFileOption = None
    mlflow: options.MlflowOption = False
    trust_remote_code: options.TrustRemoteCodeOption = False


@dataclass(frozen=True, kw_only=True)
class ClusterArguments(Arguments):
    """Where a search stores its trials, and whose machines run them."""

    storage: options.StorageOption = None
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run trials as tasks of a Ray cluster: `auto` for the one of this machine, "
            "HOST:PORT, or `local` to start one; with --workers."
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MAX_GPUS,
            callback=options.check_finite,
            help="GPUs of each Ray task, 0.5: two share one. [default: 1 where training is on a "
            "GPU]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LimitArguments(Arguments):
    """Which of several numbers of layers is chosen."""

    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            callback=options.check_finite,
            help="With several --keep: the smallest model at most so many points under the full "
            "one.",
        ),
    ] = None
    max_latency_ms: Annotated[
        float | None,
        typer.Option(
            max=1e9,
            help="With several --keep: the smallest model that takes at most so long for one text.",
            callback=options.check_positive,
        ),
    ] = None
    max_megabytes: Annotated[
        float | None,
        typer.Option(
            max=1e9,
            help="With several --keep: the smallest model that takes at most so much on disk.",
            callback=options.check_positive,
        ),
    ] = None


def make_run_options(run: RunArguments, cluster: ClusterArguments | None) -> "RunOptions":
    """Return where and how to run a study; raises `OptionError`."""
    from autoprune.experiment.config import RunOptions

    values = asdict(run) | (asdict(cluster) if cluster else {})
    return RunOptions(**{name: values[name] for name in RunOptions.model_fields if name in values})


def study_configs(study: StudyArguments, search: SearchArguments | None) -> "list[StudyConfig]":
    """Return what the options and the TOML file ask for, one study for each number of layers.

    Writes `--write-config` as well. Raises `AutopruneError`.
    """
    from autoprune.experiment.config import StudyConfig, merge_options, read_toml, write_toml

    given = study.given_options() | (search.given_options() if search else {})
    for name in ("config", "write_config", "keep"):
        given.pop(name, None)
    if study.labels is not None:
        given["labels"] = options.split_columns(study.labels)
    if study.learning_rates is not None:
        given["learning_rates"] = options.parse_rates(study.learning_rates)
    for name, flag in (("temperature", "--temperature"), ("distill_weight", "--distill-weight")):
        if name in given:
            given[f"{name}s"] = options.parse_numbers(flag, given.pop(name))
    values = merge_options(read_toml(study.config) if study.config else {}, given)
    if study.keep is not None:
        values["keep"] = study.keep
    for name in ("model", "task", "keep"):
        if values.get(name) is None:
            raise OptionError(f"missing option '--{name}' (or {name} in the file of --config)")
    keep = values["keep"]
    keeps = parse_keeps(",".join(map(str, keep)) if isinstance(keep, list) else str(keep))
    try:
        configs = [StudyConfig.from_dict({**values, "keep": number}) for number in keeps]
    except AutopruneError as error:
        where = f" (options and {study.config})" if study.config else ""
        raise OptionError(f"{error}{where}") from error
    if study.write_config:
        keep = keeps[0] if len(keeps) == 1 else format_keeps(keeps)
        write_toml(study.write_config, configs[0], keep)
    return configs
