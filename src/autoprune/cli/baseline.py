"""Command baseline: see its help."""

import time

from autoprune.cli import options
from autoprune.cli.arguments import (
    RunArguments,
    StudyArguments,
    make_run_options,
    study_configs,
    with_groups,
)
from autoprune.cli.trackers import open_trackers
from autoprune.errors import OptionError


@with_groups
def baseline(study: StudyArguments, run: RunArguments, json: options.JsonOption = False) -> None:
    """Compare the fixed strategies, the full model and models trained from scratch; no search.

    Records go to `studies/`, a report to `reports/`; what a search has measured is not run again.

    Example: `autoprune baseline --model muril --task shc --keep 6 --strategy top --strategy middle`
    """
    started = time.perf_counter()
    emit = open_trackers("baseline", run.log_file, run.mlflow)
    from autoprune.api import run_baseline
    from autoprune.cli.results import command_context, print_json

    configs = study_configs(study, None)
    if len(configs) > 1:
        raise OptionError(f"a baseline takes one number of layers, got --keep {study.keep}")
    context = command_context(emit, quiet=json)
    result = run_baseline(configs[0], run=make_run_options(run, None), context=context)
    if json:
        print_json(result.to_dict(), time.perf_counter() - started)
