"""Experiments as `autoprune search` sets them up, for all benchmarks."""

from pathlib import Path

from autoprune.experiment.setup import Experiment, build_experiment
from autoprune.tasks.task import Columns


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
    return build_experiment(
        model=model,
        task=task,
        keep=keep,
        strategies=["top"],
        rivals=[],
        columns=Columns(),
        metric=None,
        data_dir=data_dir,
        keep_duplicates=False,
        seed=0,
        device=device,
        method="full",
        epochs=epochs,
        full_epochs=None,
        batch=32,
        parts=1,
        tokens=tokens,
        learning_rate=None,
        workers=workers,
        trust_remote_code=False,
    )
