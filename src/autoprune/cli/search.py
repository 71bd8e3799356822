"""Commands search and baseline: see their help."""

import time

from autoprune.cli import options
from autoprune.cli.arguments import (
    ClusterArguments,
    LimitArguments,
    RunArguments,
    SearchArguments,
    StudyArguments,
    make_run_options,
    study_configs,
    with_groups,
)
from autoprune.cli.shutdown import open_trackers
from autoprune.errors import OptionError


@with_groups
def search(
    study: StudyArguments,
    searching: SearchArguments,
    run: RunArguments,
    cluster: ClusterArguments,
    limits: LimitArguments,
    json: options.JsonOption = False,
) -> None:
    """Search which layers to keep, then compare the found layout on fresh seeds and the test split.

    It is compared with the fixed strategies, the full model and models trained from scratch. The
    same command again resumes where it stopped. Records go to `studies/`, a report to `reports/`.
    With `--keep 2-8`, each number of layers is a study; at the end a table tells what each costs.

    Example: `autoprune search --model mahabert-v2 --task ldc --keep 6`
    """
    started = time.perf_counter()
    emit = open_trackers("search", run.log_file, run.mlflow)
    from autoprune.api import run_search
    from autoprune.cli.results import print_json, study_context
    from autoprune.cli.tables import print_pareto
    from autoprune.experiment.pareto import check_limits, search_several

    configs = study_configs(study, searching)
    chosen = check_limits(
        [config.keep for config in configs],
        limits.max_drop,
        limits.max_latency_ms,
        limits.max_megabytes,
    )
    run_options = make_run_options(run, cluster)
    context = study_context(emit, quiet=json)
    if len(configs) == 1:
        values = run_search(configs[0], run=run_options, context=context).to_dict()
    else:
        pareto = search_several(configs, chosen, run_options, context)
        values = pareto.to_dict()
        if not json:
            print_pareto(pareto)
    if json:
        print_json(values, time.perf_counter() - started)


@with_groups
def baseline(study: StudyArguments, run: RunArguments, json: options.JsonOption = False) -> None:
    """Compare the fixed strategies, the full model and models trained from scratch; no search.

    Records go to `studies/`, a report to `reports/`; what a search has measured is not run again.

    Example: `autoprune baseline --model muril --task shc --keep 6 --strategy top --strategy middle`
    """
    started = time.perf_counter()
    emit = open_trackers("baseline", run.log_file, run.mlflow)
    from autoprune.api import run_baseline
    from autoprune.cli.results import print_json, study_context

    configs = study_configs(study, None)
    if len(configs) > 1:
        raise OptionError(
            f"a baseline takes one number of layers, got --keep {study.keep}: give one, or search"
        )
    context = study_context(emit, quiet=json)
    result = run_baseline(configs[0], run=make_run_options(run, None), context=context)
    if json:
        print_json(result.to_dict(), time.perf_counter() - started)
