"""Study configuration: what a study is, checked when it is made, read from and written to TOML."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from autoprune.choices import (
    DEVICE_NAMES,
    DISTILLATION_NAMES,
    HEAD_NAMES,
    MAX_BATCH,
    MAX_EPOCHS,
    MAX_GPUS,
    MAX_MINUTES,
    MAX_SEEDS,
    MAX_TOKENS,
    MAX_TRIALS,
    METHOD_NAMES,
    METRIC_NAMES,
    PROBLEM_TYPE_NAMES,
    PROXY_NAMES,
    PRUNER_NAMES,
    SAMPLER_NAMES,
)
from autoprune.encoders.registry import ENCODERS, anchor_model
from autoprune.errors import OptionError, check_names
from autoprune.evaluation.statistics import MIN_SEEDS
from autoprune.files import find_below, read_regular, validate_study_name, write_atomic
from autoprune.layouts.strategies import STRATEGIES
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import Columns

NO_PROXY = "none"

MAX_TOML_BYTES = 1 << 20


def _one_of(kind: str, names: Iterable[str]) -> AfterValidator:
    """Return a check that a value is one of `names`; raises `UnknownNameError`."""
    known = tuple(names)

    def check(value: str | None) -> str | None:
        check_names(kind, [] if value is None else [value], known)
        return value

    return AfterValidator(check)


Strategy = Annotated[str, _one_of("strategy", STRATEGIES)]
LearningRate = Annotated[float, Field(gt=0, lt=1)]
ModelName = Annotated[str, AfterValidator(anchor_model)]
MetricName = Annotated[str | None, _one_of("metric", METRIC_NAMES)]
ProblemTypeName = Annotated[str | None, _one_of("problem type", PROBLEM_TYPE_NAMES)]


def _sorted_values(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


def _distinct_rates(rates: tuple[float, ...]) -> tuple[float, ...]:
    """Sort learning rates; refuse a single one, among which there is nothing to choose."""
    distinct = _sorted_values(rates)
    if len(distinct) == 1:
        raise OptionError("--learning-rates takes two or more different numbers between 0 and 1")
    return distinct


def parse_seeds(seeds: int | str) -> int | str:
    """Check a number of seeds, or the least and the greatest, and return it in its usual form.

    >>> parse_seeds("3"), parse_seeds(" 3 - 10")
    (3, '3-10')
    """
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*(?:-\s*([0-9]{1,6})\s*)?", str(seeds))
    if found is None:
        raise OptionError(
            f"--seeds takes a number such as 3, or a range such as 3-10, got {seeds!r:.60}"
        )
    least, most = int(found[1]), int(found[2] or found[1])
    if not 1 <= least <= most <= MAX_SEEDS:
        raise OptionError(f"--seeds lie between 1 and {MAX_SEEDS}, the least first, got {seeds}")
    if least < most and least < MIN_SEEDS:
        raise OptionError(
            f"a range of --seeds begins at {MIN_SEEDS} or above, for fewer say nothing of the "
            f"noise of training, got {seeds}"
        )
    return least if least == most else f"{least}-{most}"


class ConfigSection(BaseModel):
    """A frozen group of settings. A wrong or unknown setting raises `OptionError`, in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise OptionError(_first_mistake(cls, error)) from None


def _first_mistake(section: type[BaseModel], error: ValidationError) -> str:
    mistake = error.errors()[0]
    name = str(mistake["loc"][0]) if mistake["loc"] else section.__name__
    if mistake["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{_did_you_mean(name, section.model_fields)}"
    if mistake["type"] == "missing":
        return f"missing setting {name!r}: a study needs a model, a task and layers to keep"
    problem = mistake["msg"].removeprefix("Input should be ")
    problem = {"tuple_type": "a list", "path_type": "a path"}.get(mistake["type"], problem)
    return f"{name} must be {problem}, got {mistake['input']!r:.60}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f", did you mean {near[0]!r}?" if near else f", known are {', '.join(names)}"


class DataConfig(ConfigSection):
    """How the rows of a task are read: columns, folder, cleaning, labels."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    label_separator: Annotated[str | None, Field(min_length=1, max_length=10)] = None
    data_dir: Path | None = None
    keep_duplicates: bool = False
    merge_labels: bool = False
    allow_unknown_tokens: bool = False

    @property
    def columns(self) -> Columns:
        """The columns of the task's files."""
        return Columns(self.text, self.text_pair, self.label, self.labels, self.label_separator)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.labels and (self.label is not None or self.label_separator is not None):
            raise OptionError("--labels takes the place of --label and --label-separator")
        if len(set(self.labels)) == 1:
            raise OptionError("--labels takes two or more columns of 0 and 1, such as a,b,c")
        return self


class BudgetConfig(ConfigSection):
    """What a training run may spend: the quick budget of a trial, the full one of a comparison."""

    epochs: int = Field(default=3, ge=1, le=MAX_EPOCHS)
    full_epochs: int | None = Field(default=None, ge=1, le=MAX_EPOCHS)
    batch: int = Field(default=32, ge=1, le=MAX_BATCH)
    parts: int = Field(default=1, ge=1, le=MAX_BATCH)
    tokens: int | None = Field(default=None, ge=4, le=MAX_TOKENS)
    learning_rate: LearningRate | None = None
    learning_rates: Annotated[tuple[LearningRate, ...], AfterValidator(_distinct_rates)] = ()
    method: Annotated[str, _one_of("method", METHOD_NAMES)] = "full"
    head: Annotated[str, _one_of("start of the head", HEAD_NAMES)] = "fitted"


FULL_TEACHER = "full"


class DistillationConfig(ConfigSection):
    """What runs learn beside the labels: nothing, or what a teacher says of their rows.

    `teacher` is `full`, the full model fine-tuned on the comparison's seeds, or a fine-tuned
    classifier. Of several `temperatures` and `distill_weights`, each entrant of the comparison
    takes what is best on validation; trials take the first.
    """

    distill: Annotated[str, _one_of("kind of distillation", DISTILLATION_NAMES)] = "none"
    teacher: str = FULL_TEACHER
    unlabelled: Path | None = None
    temperatures: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...],
        Field(min_length=1),
        AfterValidator(_sorted_values),
    ] = (2.0,)
    distill_weights: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...],
        Field(min_length=1),
        AfterValidator(_sorted_values),
    ] = (0.7,)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        given = self.model_fields_set - {"distill"}
        if self.distill == "none" and given:
            names = {"temperatures": "--temperature", "distill_weights": "--distill-weight"}
            first = min(given)
            raise OptionError(
                f"{names.get(first, f'--{first}')} is for distillation: give --distill logits as "
                "well"
            )
        return self


class ComparisonConfig(ConfigSection):
    """Who enters the final comparison, and on how many fresh seeds; no strategies: all of them.

    `seeds` is a number, or the least and the greatest as in `3-10`. With `race`, an entrant that is
    surely behind gets no further seed.
    """

    seeds: Annotated[int | str, AfterValidator(parse_seeds)] = 3
    race: bool = True
    strategies: tuple[Strategy, ...] | None = None
    rivals: tuple[ModelName, ...] = ()

    @property
    def least_seeds(self) -> int:
        """How many seeds are used at least."""
        return int(str(self.seeds).partition("-")[0])

    @property
    def most_seeds(self) -> int:
        """How many seeds are used at most."""
        return int(str(self.seeds).rpartition("-")[2])


class SearchOptions(ConfigSection):
    """How layouts are searched: `trials` in all, or what `minutes` allow."""

    trials: int = Field(default=16, ge=1, le=MAX_TRIALS)
    minutes: float | None = Field(default=None, ge=0.01, le=MAX_MINUTES)
    sampler: Annotated[str, _one_of("sampler", SAMPLER_NAMES)] = "gp"
    pruner: Annotated[str, _one_of("pruner", PRUNER_NAMES)] = "none"
    proxy: Annotated[str, _one_of("proxy", (*PROXY_NAMES, NO_PROXY))] = NO_PROXY
    promote: bool = False

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.promote and (self.sampler != "gp" or self.pruner != "none"):
            raise OptionError(
                f"--promote takes --sampler gp and --pruner none, got {self.sampler} and "
                f"{self.pruner}: leave it or them out"
            )
        if self.proxy != NO_PROXY and self.sampler != "gp":
            raise OptionError(
                f"--proxy informs --sampler gp, got {self.sampler}: leave one of them out"
            )
        return self


class StudyConfig(ConfigSection):
    """What a study is; the command line, files, workers and the Python API share it.

    `metric` None is the task's own, `problem_type` None what the rows tell. `seed` is the search's;
    the comparison's seeds follow it.

    >>> config = StudyConfig.from_options(model="muril", task="shc", keep=6, epochs=2)
    >>> config.budget.epochs, config.search.trials
    (2, 16)
    >>> StudyConfig.from_dict(config.to_dict()) == config
    True
    """

    model: ModelName
    task: str
    keep: int = Field(ge=1)
    metric: MetricName = None
    problem_type: ProblemTypeName = None
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    data: DataConfig = DataConfig()
    budget: BudgetConfig = BudgetConfig()
    distillation: DistillationConfig = DistillationConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    search: SearchOptions = SearchOptions()

    @model_validator(mode="after")
    def _layers_learn(self) -> Self:
        if self.distillation.distill == "hidden" and self.budget.method in ("head", "probe"):
            raise OptionError(
                f"--distill hidden is for layers that learn, --method {self.budget.method} trains "
                "none: give --distill logits"
            )
        return self

    @property
    def teacher_seeds(self) -> list[int]:
        """The seeds of the full model where it teaches: the comparison's first ones."""
        return [self.seed + 1 + i for i in range(self.comparison.least_seeds)]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; what is None is left out, and so is distillation without any."""
        unused = {"distillation"} if self.distillation.distill == "none" else None
        return self.model_dump(mode="json", exclude_none=True, exclude=unused)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave, or the flat form of version 0.1.0; raises `OptionError`."""
        return cls.model_validate(_from_flat(values) if "columns" in values else dict(values))

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Self:
        """Read what a study stored; one of an earlier version had a head drawn at random."""
        config = cls.from_dict(values)
        if "head" in values.get("budget", {}):
            return config
        return config.model_copy(
            update={"budget": config.budget.model_copy(update={"head": "drawn"})}
        )

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """Make a study from options by their names, whatever section they are in."""
        return cls.model_validate(nest_options(options))

    def with_keep(self, keep: int) -> Self:
        """Return the same study for another number of layers."""
        return self.model_copy(update={"keep": keep})

    def with_absolute_paths(self, folders: Sequence[Path] = (Path(),)) -> Self:
        """Return the study with each path as it is below the first of `folders` that has it."""

        def resolve(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(resolve, value))
            if value is None or value in {*ENCODERS, *TASKS, FULL_TEACHER}:
                return value
            return type(value)(find_below(folders, value) or value)

        def change(section: ConfigSection, *names: str) -> Any:
            return section.model_copy(update={n: resolve(getattr(section, n)) for n in names})

        changed: Self = change(self, "model", "task")
        sections = {
            "data": change(self.data, "data_dir"),
            "distillation": change(self.distillation, "teacher", "unlabelled"),
            "comparison": change(self.comparison, "rivals"),
        }
        return changed.model_copy(update=sections)


class RunOptions(ConfigSection):
    """Where and how a study runs; no part of what it is. `root` holds `studies/` and `reports/`."""

    study: Annotated[str | None, AfterValidator(validate_study_name)] = None
    storage: str | None = None
    root: Path = Path()
    device: Annotated[str, _one_of("device", DEVICE_NAMES)] = "auto"
    workers: int | None = Field(default=None, ge=1, le=256)
    ray: str | None = None
    gpus_per_worker: float | None = Field(default=None, ge=0, le=MAX_GPUS)
    trust_remote_code: bool = False

    @property
    def studies(self) -> Path:
        """The folder of all studies."""
        return self.root / "studies"

    @property
    def reports(self) -> Path:
        """The folder of all reports."""
        return self.root / "reports"


SECTIONS: dict[str, type[ConfigSection]] = {
    "data": DataConfig,
    "budget": BudgetConfig,
    "distillation": DistillationConfig,
    "comparison": ComparisonConfig,
    "search": SearchOptions,
}


def nest_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Put flat options into their sections; an unknown one raises `OptionError`.

    >>> nest_options({"keep": 6, "epochs": 2})
    {'keep': 6, 'budget': {'epochs': 2}}
    """
    section_of = {name: key for key, section in SECTIONS.items() for name in section.model_fields}
    top_level = set(StudyConfig.model_fields) - set(SECTIONS)
    nested: dict[str, Any] = {}
    for name, value in options.items():
        if name in top_level:
            nested[name] = value
        elif name in section_of:
            nested.setdefault(section_of[name], {})[name] = value
        else:
            raise OptionError(
                f"unknown setting {name!r}{_did_you_mean(name, {*top_level, *section_of})}"
            )
    return nested


def merge_options(values: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested `values` of a file with the flat `options` in their place; these win."""
    merged = {key: dict(value) if key in SECTIONS else value for key, value in values.items()}
    for key, value in nest_options(options).items():  # without a teacher none of its settings stays
        kept = {} if key == "distillation" and value.get("distill") == "none" else merged.get(key)
        merged[key] = {**(kept or {}), **value} if key in SECTIONS else value
    return merged


def read_toml(path: Path) -> dict[str, Any]:
    """Return the nested values of a study's TOML file, not yet checked; raises `OptionError`."""
    try:
        values = tomllib.loads(read_regular(path, MAX_TOML_BYTES).decode())
    except OSError as error:
        raise OptionError(f"cannot read --config {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or nested beyond reason
        raise OptionError(f"--config {path} is no TOML: {error}") from error
    for key in SECTIONS:
        if not isinstance(values.get(key, {}), dict):
            raise OptionError(f"{key} in {path} must be a table: write [{key}] and its settings")
    return values


def write_toml(path: Path, config: StudyConfig, keep: int | str) -> None:
    """Write a study as TOML, whole or not at all; `keep` may name several numbers of layers."""
    write_atomic(path, tomli_w.dumps({**config.to_dict(), "keep": keep}))


_RENAMED = {"columns", "data_dir", "keep_duplicates", "device", "workers", "strategies", "rivals"}


def _from_flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested form of a study that version 0.1.0 wrote as one flat table."""
    columns = values["columns"] or {}
    options = {name: value for name, value in values.items() if name not in _RENAMED}
    options |= {
        "text": columns.get("text"),
        "text_pair": columns.get("pair"),
        "label": columns.get("label"),
        "data_dir": values.get("data_dir"),
        "keep_duplicates": values.get("keep_duplicates", False),
        "strategies": values.get("strategies"),
        "rivals": values.get("rivals") or (),
    }
    return nest_options(options)
