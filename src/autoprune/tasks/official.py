"""The official MahaNews files: where they lie on this machine, and where they are fetched from."""

import os
from pathlib import Path

import platformdirs

from autoprune.errors import DataError
from autoprune.tasks.fetching import fetch_set
from autoprune.tasks.wording import shown

SPLITS = {"train": "Train", "validation": "Valid", "test": "Test"}
BASE_URL = "https://raw.githubusercontent.com/l3cube-pune"

# Below BASE_URL, `{}` for Train, Valid or Test. The first place that has all three serves the whole
# set: the Marathi part of IndicNews (arXiv 2401.02254) holds paragraphs with the same labels.
PLACES: dict[str, tuple[str, ...]] = {
    "SHC": ("MarathiNLP/main/L3Cube-MahaNews/SHC/SHC_{}.csv",),
    "LPC": (
        "MarathiNLP/main/L3Cube-MahaNews/LPC/LPC_{}.csv",
        "indic-nlp/main/L3Cube-IndicNews/Marathi/LPC/Marathi_LPC_{}.csv",
    ),
    "LDC": ("MarathiNLP/main/L3Cube-MahaNews/LDC/LDC_{}.csv",),
}


def official_files(name: str, data_dir: Path | None) -> dict[str, Path]:
    """Return the file of each split of the set `name` (`SHC`): `SHC/SHC_Train.csv` and so on.

    They are looked for below `data_dir`, else below `AUTOPRUNE_DATA_DIR`, else fetched once into
    the user's cache (`AUTOPRUNE_CACHE_DIR`) from `AUTOPRUNE_DATA_URL` or the official
    repositories. Raises `DataError` naming what is missing.
    """
    given = data_dir or os.environ.get("AUTOPRUNE_DATA_DIR")
    if given:
        return _given(name, Path(given).expanduser())
    cache = os.environ.get("AUTOPRUNE_CACHE_DIR") or platformdirs.user_cache_dir("autoprune")
    folder = Path(cache).expanduser() / "mahanews" / name
    files = {split: folder / f"{name}_{word}.csv" for split, word in SPLITS.items()}
    base = (os.environ.get("AUTOPRUNE_DATA_URL") or BASE_URL).rstrip("/")
    fetch_set(
        [
            {file.name: f"{base}/{place.format(SPLITS[split])}" for split, file in files.items()}
            for place in PLACES[name]
        ],
        folder,
    )
    return files


def _given(name: str, data_dir: Path) -> dict[str, Path]:
    files = {split: data_dir / name / f"{name}_{word}.csv" for split, word in SPLITS.items()}
    for path in (data_dir, data_dir / name, *files.values()):
        if not path.exists():
            raise DataError(
                f"the data folder must hold {name}/{name}_Train.csv, _Valid.csv and _Test.csv, "
                f"nothing lies at {shown(path)}"
            )
    return files
