"""Data sources: read a task's rows from files, the hub, the package or the MahaNews release."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
from huggingface_hub import HfApi, constants

from autoprune.choices import PROBLEM_TYPE_NAMES
from autoprune.encoders.hub import UnreachableError, call_hub
from autoprune.encoders.registry import package_folder
from autoprune.errors import (
    DataError,
    HubError,
    first_line,
    format_path,
    join_names,
    missing_package,
    quote,
)
from autoprune.tasks.cleaning import check_not_empty, find_scorable_rows, hold_out_rows
from autoprune.tasks.download import download_files
from autoprune.tasks.folders import (
    ARROW,
    SPLIT_SPELLINGS,
    SPLITS,
    check_split_names,
    find_files,
)
from autoprune.tasks.formats import open_table
from autoprune.tasks.labels import LABEL_KINDS, is_hidden, merge_spellings
from autoprune.tasks.parquet_files import arrow_table, open_arrow
from autoprune.tasks.table import (
    MISSING,
    DataTable,
    Row,
    find_used,
    select_columns,
    without_labels,
)
from autoprune.tasks.tags import PLAIN_SUFFIX, open_conll
from autoprune.tasks.task import Columns, RawSplit, Task
from autoprune.tasks.text_lines import read_lines

_BASE_URL = "https://raw.githubusercontent.com/l3cube-pune"


def _mirror(path: str, train: str, validation: str, test: str) -> dict[str, str]:
    names = {"train": train, "validation": validation, "test": test}
    return {split: path.format(name) for split, name in names.items()}


_NEWS = ("Train", "Valid", "Test")

_NEWS_SETS = ("SHC", "LPC", "LDC")

_EMOTIONS = ("train", "validation", "test")

# Below the base URL. The first mirror that has all three files serves the whole set: the Marathi
# part of IndicNews (arXiv 2401.02254) has paragraphs with the same labels.
_OFFICIAL: dict[str, tuple[dict[str, str], ...]] = {
    "SHC": (_mirror("MarathiNLP/main/L3Cube-MahaNews/SHC/SHC_{}.csv", *_NEWS),),
    "LPC": (
        _mirror("MarathiNLP/main/L3Cube-MahaNews/LPC/LPC_{}.csv", *_NEWS),
        _mirror("indic-nlp/main/L3Cube-IndicNews/Marathi/LPC/Marathi_LPC_{}.csv", *_NEWS),
    ),
    "LDC": (_mirror("MarathiNLP/main/L3Cube-MahaNews/LDC/LDC_{}.csv", *_NEWS),),
    "emotions": (_mirror("MarathiNLP/main/L3Cube-MahaEmotions/{}.csv", *_EMOTIONS),),
    "paraphrase": (
        _mirror("MarathiNLP/main/L3Cube-MahaParaphrase/{}.csv", "train", "val", "test"),
    ),
    "sts": (
        _mirror("MarathiNLP/main/STSb-translated/marathi/sts-{}-mr.tsv", "train", "dev", "test"),
    ),
    "ner": (_mirror("MarathiNLP/main/L3Cube-MahaNER/IOB/{}_iob.txt", "train", "valid", "test"),),
}


_FEWEST_NUMBERS = 12  # different ones that cannot be classes

_MANY_TEXTS = 200  # labels without a number among them, which are no numbers further on either

_MOST_CONFIGURATIONS = 20  # that a message lists


Tables = dict[str, list[DataTable]]
"""The tables of each split, to be read one after another."""


def read_source(
    task: Task, data_dir: Path | None, seed: int, merge_labels: bool = False
) -> tuple[Task, dict[str, RawSplit], tuple[str, ...]]:
    """Return the task with its problem type, all splits as read, and the names of those held out.

    The latter are the splits that the source lacks. A problem type that is not given is guessed
    from the rows of train, and the notes say so where it is not classification with one label.
    With `merge_labels`, labels that differ only in case, spaces or Unicode form are one. Raises
    `DataError`.
    """
    kind, _, location = task.source.partition(":")
    tables = SOURCES[kind](location, data_dir)
    problem_type = task.problem_type or guess_problem_type(tables["train"][0], task.columns)
    read = {
        split: _join([select_columns(each, task.columns, split, problem_type) for each in parts])
        for split, parts in tables.items()
    }
    for name in [name for name, raw in read.items() if name != "train" and is_hidden(raw)]:
        raw = read.pop(name)
        if kind != "hub":  # where it cannot be taken out, as in GLUE
            what = f"in column {quote(raw.label_column)} all are empty or -1"
            raise without_labels(raw.origin, name, what)
    told = task.problem_type or task.columns.labels or task.columns.separator
    if not told and problem_type != PROBLEM_TYPE_NAMES[0]:
        note = f"the labels look like those of {problem_type} (--problem-type names another)"
        read = {name: replace(raw, notes=(*raw.notes, note)) for name, raw in read.items()}
    if kind == "files" and Path(location).is_dir():
        read = {
            name: replace(raw, notes=(*raw.notes, f"rows from {raw.origin}"))
            for name, raw in read.items()
        }
    check_not_empty(read["train"])
    labels = LABEL_KINDS[problem_type]
    splits = labels.unify(read)
    if merge_labels or task.merge_labels:
        splits = merge_spellings(splits, task.labels)
    missing = [split for split in ("test", "validation") if split not in splits]
    if missing:
        scorable, *_ = find_scorable_rows(splits["train"])
        splits |= hold_out_rows(splits["train"], scorable, missing, seed, labels.parts)
    found = replace(task, problem_type=problem_type)
    return found, {split: splits[split] for split in SPLITS}, tuple(missing)


def guess_problem_type(table: DataTable, columns: Columns) -> str:
    """Return the only problem type that fits the rows of a table.

    Lists of tags beside lists of words, several labels (a list, a separator, columns of 0 and 1),
    or many numbers of which some are no whole ones; a text among ten of them is a mistake, which
    the reader names. Raises `DataError` for a missing column, and where two types fit.
    """
    single, multi, regression, by_word = PROBLEM_TYPE_NAMES
    if columns.labels or columns.separator is not None:
        return multi
    text, *_, label = find_used(table, columns)
    if text == label:
        return single
    numbers, counts = set[float](), Counter[bool]()  # whether a label is a number
    for _, (words, value) in table.rows([text, label]):
        if isinstance(value, list):
            return by_word if isinstance(words, list) else multi
        cell = "" if value in (None, MISSING) else str(value).strip()
        if cell.lstrip("+-").casefold() in ("", "nan"):
            continue
        number = _as_number(cell)
        counts[number is not None] += 1
        if label in table.classes or (counts[False] > _MANY_TEXTS and not numbers):
            return single
        if number is not None:
            numbers.add(number)
    if all(map(float.is_integer, numbers)) or 10 * counts[False] > counts[True]:
        return single
    if len(numbers) < _FEWEST_NUMBERS:
        if counts[False]:
            return single
        raise DataError(
            f"column {quote(label)} of {table.origin} has {len(numbers)} different numbers, "
            f"which may be classes or a scale: give --problem-type {single} or {regression}"
        )
    return regression


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def open_files(files: dict[str, tuple[Path, ...]]) -> Tables:
    """Open the files of each split; raises `DataError`."""
    return {split: [_open_file(path) for path in paths] for split, paths in files.items()}


def _open_file(path: Path) -> DataTable:
    if path.suffix.lower() == PLAIN_SUFFIX:
        return open_conll(path)
    return open_arrow(path) if path.suffix == ARROW else open_table(path)


def _join(parts: list[RawSplit]) -> RawSplit:
    """Return the rows of all parts of a split; raises `DataError` where their columns differ."""
    first = parts[0]
    for part in parts[1:]:
        if (part.text_column, part.label_column) != (first.text_column, first.label_column):
            raise DataError(
                f"files of one split must have the same columns, {part.origin} has "
                f"{join_names((part.text_column, part.label_column))} and {first.origin} "
                f"{join_names((first.text_column, first.label_column))}"
            )
    if len(parts) == 1:
        return first
    return replace(
        first,
        origin=f"{first.origin} and {len(parts) - 1} more",
        texts=tuple(text for part in parts for text in part.texts),
        labels=tuple(label for part in parts for label in part.labels),
        pairs=first.pairs and tuple(pair for part in parts for pair in part.pairs or ()),
        classes=tuple(dict.fromkeys(name for part in parts for name in part.classes)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def open_hub(name: str) -> Tables:
    """Open the splits of the data set `org/name`, or of its configuration `org/name:config`.

    The files are downloaded once into the cache of `datasets`; `HF_HOME`, `HF_ENDPOINT` and
    `HF_HUB_OFFLINE` apply. Raises `DataError`, `HubError`, and `OptionError` without the extra
    `hub-datasets`.
    """
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError:
        raise missing_package(
            f"a data set of the hub ({name})", "autoprune[hub-datasets]"
        ) from None

    had_bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset = _load_hub(name)
    finally:
        if had_bars:
            datasets.enable_progress_bars()
    check_split_names(f"hub data set {name}", dataset)
    splits = {SPLIT_SPELLINGS[split]: split for split in dataset if split in SPLIT_SPELLINGS}
    if "train" not in splits:
        raise DataError(
            f"hub data set {name} must have a train split, it has {join_names(dataset)}"
        )
    tables = {}
    for split, stored in splits.items():
        rows, origin = dataset[stored], f"{name} ({stored})"
        inner = {  # a list of classes says what is in it by `feature`
            column: getattr(feature, "feature", feature)
            for column, feature in rows.features.items()
        }
        classes = {
            column: feature.names
            for column, feature in inner.items()
            if getattr(feature, "names", None) is not None
        }
        tables[split] = [arrow_table(origin, rows.data, classes)]
    return tables


def _load_hub(name: str) -> Any:
    """Return the `DatasetDict` of `org/name` or `org/name:config`."""
    import datasets

    # HTTPError is the client's, be it httpx or httpx2.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    failures = (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError)
    repository, _, configuration = name.partition(":")
    unreachable = _ask_hub(repository)
    try:
        return datasets.load_dataset(repository, configuration or None)
    except failures as error:
        if unreachable is not None:
            raise unreachable from error
        known: list[str] = []
        if isinstance(error, ValueError) and not constants.HF_HUB_OFFLINE:
            with suppress(*failures):
                known = datasets.get_dataset_config_names(repository)
        if known and configuration not in known:
            has = f"no configuration {quote(configuration)}"
            raise DataError(
                f"hub data set {repository} has "
                f"{has if configuration else 'several configurations'}: give one of them, such as "
                f"{repository}:{known[0]}; they are {join_names(known, _MOST_CONFIGURATIONS)}"
            ) from error
        remedy = "download its files and give their folder"
        if isinstance(error, ConnectionError) and constants.HF_HUB_OFFLINE:
            remedy = "unset HF_HUB_OFFLINE once to fetch it, or use local files"
        if "gated" in str(error):
            remedy = "ask for access there, then set HF_TOKEN"
        reason = first_line(error.__cause__ or error)
        raise DataError(f"cannot read the hub data set {name}: {reason}; {remedy}") from error


def _ask_hub(repository: str) -> HubError | None:
    """Return why the hub cannot be reached, else None; a cached copy may serve.

    Raises `HubError` where it says that there is no such data set, or not for us.
    """
    if constants.HF_HUB_OFFLINE:
        return None
    try:
        call_hub(f"data set {repository}", partial(HfApi().dataset_info, repository, timeout=30.0))
    except UnreachableError as error:
        return error
    return None


def official_files(name: str, data_dir: Path | None) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split of an official set, one of `_OFFICIAL`.

    They are in the folder `name` in `data_dir`, else in `AUTOPRUNE_DATA_DIR`, else they are
    downloaded once into the user's cache (`AUTOPRUNE_CACHE_DIR`) from `AUTOPRUNE_DATA_URL` or the
    official repositories. Raises `DataError` that names what is missing.
    """
    given = data_dir or os.environ.get("AUTOPRUNE_DATA_DIR")
    cache = os.environ.get("AUTOPRUNE_CACHE_DIR") or platformdirs.user_cache_dir("autoprune")
    root = Path(given) if given else Path(cache) / "mahanews"
    folder = root.expanduser() / name
    first = _OFFICIAL[name][0]
    files = {split: folder / Path(path).name for split, path in first.items()}
    if not given:
        base = (os.environ.get("AUTOPRUNE_DATA_URL") or _BASE_URL).rstrip("/")
        mirrors = [
            {files[split].name: f"{base}/{path}" for split, path in mirror.items()}
            for mirror in _OFFICIAL[name]
        ]
        download_files(mirrors, folder)
    needed = f"{name}/{', '.join(path.name for path in files.values())}"
    found = {split: path for split, path in files.items() if path.exists()}
    if name == "ner" and "train" not in found and len(found) == 2:
        # Some copies of MahaNER lack its train file.
        return {"train": (found["validation"],), "test": (found["test"],)}
    if given and name not in _NEWS_SETS and len(found) < len(files):  # under other usual names
        with suppress(DataError):
            return find_files(folder)
    for path in (folder.parent, folder, *files.values()):
        if not path.exists():
            raise DataError(
                f"the data folder must hold {needed}, there is nothing at {format_path(path)}"
            )
    return {split: (path,) for split, path in found.items()}


_STS_COLUMNS = ("genre", "source", "year", "number", "score", "text1", "text2")


def _open_sts(path: Path) -> DataTable:
    """Open a file of the STS benchmark: tabs between cells, no header, and quotes are text."""
    origin = format_path(path)

    def rows(selected: Sequence[str]) -> Iterator[Row]:
        places = [_STS_COLUMNS.index(name) for name in selected]
        for number, line in enumerate(read_lines(path), start=1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) < len(_STS_COLUMNS):
                raise DataError(
                    f"{origin} must have {len(_STS_COLUMNS)} cells between tabs, line {number} has "
                    f"{len(cells)}: fetch it again"
                )
            yield f"line {number}", [cells[place] for place in places]

    return DataTable(origin, _STS_COLUMNS, rows)


def _open_path(path: Path) -> Tables:
    """Open a file or a folder; a file alone must have a suffix that tells its format."""
    if path.suffix.lower() == PLAIN_SUFFIX and path.is_file():
        open_table(path)  # which says what is known
    return open_files(find_files(path))


def _open_official(name: str, data_dir: Path | None) -> Tables:
    files = official_files(name, data_dir)
    if name == "sts":
        return {split: [_open_sts(path)] for split, (path,) in files.items()}
    return open_files(files)


SOURCES: dict[str, Callable[[str, Path | None], Tables]] = {
    "official": _open_official,
    "package": lambda name, _: open_files(find_files(package_folder("tasks", name))),
    "files": lambda path, _: _open_path(Path(path)),
    "hub": lambda name, _: open_hub(name),
}
