"""Experiments as `autoprune search` sets them up, for all benchmarks."""

from pathlib import Path

from autoprune.experiment.config import RunOptions, StudyConfig
from autoprune.experiment.setup import Experiment, build_experiment


def build_default_experiment(
    model: str,
    task: str,
    data_dir: Path | None,
    keep: int = 6,
    epochs: int = 3,
    workers: int | None = None,
    device: str = "auto",
    tokens: int | None = None,
) -> Experiment:
    """Load a study with the defaults of `autoprune search`."""
    config = StudyConfig.from_options(
        model=model,
        task=task,
        keep=keep,
        strategies=("top",),
        data_dir=data_dir,
        epochs=epochs,
        tokens=tokens,
    )
    return build_experiment(config, RunOptions(workers=workers, device=device))
