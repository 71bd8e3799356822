"""Past studies: found by name, and their model and data loaded again."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from autoprune.errors import StudyError

if TYPE_CHECKING:
    from autoprune.cli.ground import Ground
    from autoprune.evidence.comparison import Comparison
    from autoprune.evidence.costs import Costs

STUDIES = Path("studies")

# A folder with one of them is a study; one in a database has only records until it is finished.
_FILES = ("journal.log", "study.json", "baseline.json", "records.jsonl")


def find_study(name: str) -> Path:
    """Return the folder of a study: below `studies`, or named by its path.

    Raises `StudyError` that names the nearest known one.
    """
    for folder in (STUDIES / name, Path(name)):
        if folder.is_dir() and any((folder / file).is_file() for file in _FILES):
            return folder
    known = [folder.name for folder in all_studies()]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise StudyError(f"no study {name!r} below {STUDIES} or at that path, {hint}")


def all_studies() -> list[Path]:
    """Return the folders below `studies` that hold a study, begun or finished, by name."""
    return sorted({path.parent for file in _FILES for path in STUDIES.glob(f"*/{file}")})


def finished_studies() -> list[Path]:
    """Return those of `all_studies` that came to their end."""
    from autoprune.evidence.studied import is_finished

    return [folder for folder in all_studies() if is_finished(folder)]


def asked_of(folder: Path) -> dict[str, Any]:
    """Return the arguments of `laying.lay` that a finished study was run with.

    Not among them is whether to run a model author's code: that is asked anew each time.
    Raises `StudyError`.
    """
    from autoprune.evidence.studied import read_study
    from autoprune.tasks.task import Columns

    asked: Mapping[str, Any] = read_study(folder).asked
    place = asked["data_dir"]
    return {
        **asked,
        "columns": Columns(**asked["columns"]),
        "data_dir": None if place is None else Path(place),
    }


def costs_of(folder: Path, comparison: "Comparison") -> "Costs | None":
    """Return what was measured of a study's models; a file that cannot be read is told of."""
    from autoprune.evidence.costs import read_costs

    try:
        return read_costs(folder, comparison)
    except StudyError as error:
        typer.echo(f"the report on {folder.name} shows no measured cost: {error}", err=True)
        return None


def ground_of(
    folder: Path,
    data_dir: Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
) -> "Ground":
    """Load a finished study's model and data again; return its ground.

    Raises `StudyError` where they are not those it was run on, and what `lay` raises.
    """
    from autoprune.cli.laying import lay
    from autoprune.evidence.studied import read_study

    studied, asked = read_study(folder), asked_of(folder)
    mine = {"workers": workers, "device": device, "data_dir": data_dir or asked["data_dir"]}
    ground = lay(**{**asked, **mine}, trust_remote_code=trust_remote_code)
    then, now = studied.setting, ground.checkpoint.commit
    if then.commit != now:
        raise StudyError(
            f"study {studied.name} was run on {then.model}@{then.commit}, which is now {now}: "
            "bring the model back to what it was"
        )
    prints = {"train and validation": ground.splits.fingerprint, "test": ground.test.fingerprint}
    if prints != then.fingerprints:
        raise StudyError(
            f"the rows of task {then.task} are not those that study {studied.name} was run on: "
            "name its data with --data-dir"
        )
    return ground
