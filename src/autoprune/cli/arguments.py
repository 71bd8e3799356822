"""Argument groups: the options that commands share, as dataclasses that Typer shows as one list."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from autoprune.cli import options
from autoprune.errors import OptionError
from autoprune.layouts.layout import format_keeps, parse_keeps

if TYPE_CHECKING:
    from autoprune.experiment.config import RunOptions, StudyConfig

_CONTEXT = "_context"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A group of options; `given` are the names of those that the user gave."""

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
    parameters = [_keyword(_CONTEXT, typer.Context)]
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and issubclass(hint, Arguments):
            own = get_type_hints(hint, include_extras=True)
            parameters += [
                _keyword(field.name, own[field.name], field.default)
                for field in fields(hint)
                if field.name != "given"
            ]
        else:
            parameters.append(_keyword(parameter.name, hint, parameter.default))

    @wraps(command)
    def run(**values: Any) -> None:
        context: typer.Context = values.pop(_CONTEXT)
        sources = {name: context.get_parameter_source(name) for name in values}
        given = frozenset(
            name for name in values if getattr(sources[name], "name", "") != "DEFAULT"
        )
        groups: dict[str, Arguments] = {}
        for name, hint in hints.items():
            if isinstance(hint, type) and issubclass(hint, Arguments):
                own = {field.name: values.pop(field.name) for field in fields(hint)[1:]}
                groups[name] = hint(given=given, **own)
        command(**groups, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _keyword(name: str, hint: Any, default: Any = MISSING) -> inspect.Parameter:
    required = default in (MISSING, inspect.Parameter.empty)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=hint,
    )


@dataclass(frozen=True, kw_only=True)
class StudyArguments(Arguments):
    """What a study is, apart from its search; `config` is a TOML file with the same settings."""

    model: options.OptionalModel = None
    task: options.OptionalTask = None
    keep: options.Keeps = None
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with the study's settings; options given here win.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None
    write_config: Annotated[
        Path | None,
        typer.Option(
            help="Write the settings to this TOML file as well.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None
    seed: options.Seed = 0
    seeds: options.Seeds = 3
    strategy: options.Strategies = None
    rival: options.Rivals = None
    data_dir: options.DataDir = None
    text: options.TextColumn = None
    text_pair: options.PairColumn = None
    label: options.LabelColumn = None
    metric: options.MetricOption = None
    keep_duplicates: options.KeepDuplicates = False
    epochs: options.Epochs = 3
    full_epochs: options.FullEpochs = None
    batch: options.Batch = 32
    parts: options.Parts = 1
    tokens: options.Tokens = None
    learning_rate: options.LearningRate = None
    learning_rates: options.LearningRates = None
    method: options.Method = "full"

    def given_options(self) -> dict[str, Any]:
        """Return the options that the user gave, by the names of the configuration."""
        given = super().given_options()
        for name in ("config", "write_config", "keep"):
            given.pop(name, None)
        for name, setting in (("strategy", "strategies"), ("rival", "rivals")):
            if name in given:
                given[setting] = given.pop(name)
        if "learning_rates" in given:
            given["learning_rates"] = options.rates_of(self.learning_rates)
        return given


@dataclass(frozen=True, kw_only=True)
class SearchArguments(Arguments):
    """How layouts are searched."""

    trials: options.Trials = 16
    minutes: options.Minutes = None
    sampler: options.Sampler = "gp"
    pruner: options.Pruner = "none"
    promote: options.Promote = False
    proxy: options.Proxy = "none"


@dataclass(frozen=True, kw_only=True)
class RunArguments(Arguments):
    """Where and how a study runs, and what is written about it."""

    study: options.StudyName = None
    device: options.Device = "auto"
    workers: options.Workers = None
    log_file: options.LogFile = None
    mlflow: options.Mlflow = False
    trust_remote_code: options.TrustRemoteCode = False

    def run_options(self) -> "RunOptions":
        """Return where and how to run; raises `OptionError`."""
        from autoprune.experiment.config import RunOptions

        return RunOptions(
            study=self.study,
            device=self.device,
            workers=self.workers,
            trust_remote_code=self.trust_remote_code,
        )


@dataclass(frozen=True, kw_only=True)
class ClusterArguments(Arguments):
    """Where a search stores its trials, and whose machines run them."""

    storage: options.Storage = None
    ray: options.Ray = None
    gpus_per_worker: options.GpusPerWorker = None


@dataclass(frozen=True, kw_only=True)
class LimitArguments(Arguments):
    """Which of several numbers of layers is chosen."""

    max_drop: options.MaxDrop = None
    max_latency_ms: options.MaxLatency = None
    max_megabytes: options.MaxMegabytes = None


def study_configs(study: StudyArguments, search: SearchArguments | None) -> "list[StudyConfig]":
    """Return what the options and the TOML file ask for, one study for each number of layers.

    Writes `--write-config` as well. Raises `AutopruneError`.
    """
    from autoprune.experiment.config import StudyConfig, merge_options, read_toml, write_toml

    given = study.given_options() | (search.given_options() if search else {})
    values = merge_options(read_toml(study.config) if study.config else {}, given)
    keep = study.keep if study.keep is not None else values.get("keep")
    if isinstance(keep, list):
        keep = ",".join(map(str, keep))
    for name, value in (
        ("model", values.get("model")),
        ("task", values.get("task")),
        ("keep", keep),
    ):
        if value is None:
            raise OptionError(f"missing option '--{name}' (or {name} in the file of --config)")
    keeps = parse_keeps(str(keep))
    configs = [StudyConfig.from_dict({**values, "keep": number}) for number in keeps]
    if study.write_config:
        write_toml(
            study.write_config, configs[0], keeps[0] if len(keeps) == 1 else format_keeps(keeps)
        )
    return configs
