"""Find out which layers of an encoder a task needs, and prove it."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprune.api import (
        compare_studies,
        export_model,
        load_study,
        measure_cost,
        run_baseline,
        run_search,
    )
    from autoprune.errors import AutopruneError
    from autoprune.experiment.config import RunOptions, SearchOptions, StudyConfig
    from autoprune.experiment.cost import CostRequest
    from autoprune.experiment.result import StudyResult
    from autoprune.experiment.study_export import ExportOptions
    from autoprune.layouts.layout import Layout

__version__ = version("autoprune")

__all__ = [
    "AutopruneError",
    "CostRequest",
    "ExportOptions",
    "Layout",
    "RunOptions",
    "SearchOptions",
    "StudyConfig",
    "StudyResult",
    "compare_studies",
    "export_model",
    "load_study",
    "measure_cost",
    "run_baseline",
    "run_search",
]

_MODULES = {
    "AutopruneError": "errors",
    "CostRequest": "experiment.cost",
    "ExportOptions": "experiment.study_export",
    "Layout": "layouts.layout",
    "RunOptions": "experiment.config",
    "SearchOptions": "experiment.config",
    "StudyConfig": "experiment.config",
    "StudyResult": "experiment.result",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and Optuna take seconds to load."""
    if name not in __all__:
        raise AttributeError(f"module 'autoprune' has no attribute {name!r}")
    value = getattr(import_module(f"autoprune.{_MODULES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
