"""Task registry: the tasks that have a name, and how a name, path or hub id becomes a task."""

import re
from dataclasses import replace
from pathlib import Path

from autoprune.errors import DataError, OptionError, UnknownNameError, format_path, quote
from autoprune.files import expand_home, is_folder, path_exists
from autoprune.tasks.formats import READERS
from autoprune.tasks.task import Columns, Task

_MAHANEWS_LABELS = (
    "Auto", "Bhakti", "Crime", "Education", "Fashion", "Health",
    "International", "Manoranjan", "Politics", "Sports", "Tech", "Travel",
)  # fmt: skip

# `tokens`: in a tokenizer of 16,000 pieces, 99.8 % of SHC's headlines have at most 64 (with MuRIL's
# larger vocabulary still more), 94 % of LPC's paragraphs at most 256; LDC takes BERT's limit.
TASKS: dict[str, Task] = {
    **{
        name: Task(
            name,
            f"official:{name.upper()}",
            labels=_MAHANEWS_LABELS,
            metric="accuracy",
            tokens=tokens,
            title=f"L3Cube-MahaNews {name.upper()}",
        )
        for name, tokens in (("shc", 64), ("lpc", 256), ("ldc", 512))
    },
    "demo": Task(
        "demo",
        "package:demo",
        labels=_MAHANEWS_LABELS,
        metric="accuracy",
        tokens=32,
        full_epochs=2,
        title="the headlines of autoprune-demo",
    ),
    "maha-emotions": Task(
        "maha-emotions",
        "official:emotions",
        Columns("Tweet", label="Label"),
        metric="macro-f1",
        merge_labels=True,  # in validation some are written in lower case
        title="L3Cube-MahaEmotions",
    ),
    "maha-paraphrase": Task(
        "maha-paraphrase",
        "official:paraphrase",
        Columns("Sentence1", "Sentence2", "Label"),
        metric="accuracy",
        title="L3Cube-MahaParaphrase",
    ),
    "maha-sts": Task(
        "maha-sts",
        "official:sts",
        Columns("text1", "text2", "score"),
        metric="spearman",
        problem_type="regression",
        title="the STS benchmark, translated into Marathi by L3Cube",
    ),
    "maha-ner": Task(
        "maha-ner",
        "official:ner",
        metric="entity-f1",
        tokens=512,
        problem_type="token_classification",
        title="L3Cube-MahaNER",
    ),
}

OFFICIAL_PAGE = "https://github.com/l3cube-pune/MarathiNLP"  # of the tasks whose source is official

# A data set of the hub, with a configuration or without.
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::([\w.+-]+))?", re.ASCII)

_PATH_STARTS = ("./", "../", "/", "~")

_ANY_COLUMNS = Columns()


def find_task(
    text: str,
    columns: Columns = _ANY_COLUMNS,
    metric: str | None = None,
    problem_type: str | None = None,
    data_dir: Path | None = None,
) -> Task:
    """Return the task that `text` names: a known name, a file or folder, or a hub data set.

    The latter is an id `org/name`, or `org/name:config` for one of its configurations.

    A known name takes precedence over a folder of the same name (write `./shc` for the folder), an
    existing path over a hub id. `columns`, `metric` and `problem_type` replace the task's own; of
    files and data sets the rows tell them where they are not given. A file or folder with the name
    of the path in `data_dir` is taken for it.
    Raises `UnknownNameError`, and `DataError` for a path that does not exist.
    """
    several = columns.labels or columns.separator is not None
    if several and problem_type not in (None, "multi_label_classification"):
        raise OptionError(
            "--labels and --label-separator are for multi_label_classification, got "
            f"{problem_type}: leave them or --problem-type out"
        )
    folder = None if data_dir is None else data_dir.expanduser()
    if folder is not None and not is_folder(folder):
        raise DataError(f"--data-dir must be a folder, there is none at {format_path(folder)}")
    known = TASKS.get(text)
    if known is not None:
        columns = known.columns if columns == _ANY_COLUMNS else columns
        if problem_type not in (None, known.problem_type):
            raise OptionError(
                f"task {text} has labels for {known.problem_type}: leave --problem-type out"
            )
        return replace(known, columns=columns, metric=metric or known.metric)
    own = Task("", "", columns, metric=metric or "", problem_type=problem_type)
    path = expand_home(text)
    is_path = text.startswith(_PATH_STARTS) or text.lower().endswith(tuple(READERS))
    if folder is not None and (is_path or path_exists(path)):
        path = folder / path.name if path_exists(folder / path.name) else path
    if text and path_exists(path):
        resolved = path.resolve()
        name = resolved.name if resolved.is_dir() else resolved.stem
        return replace(own, name=name or "root", source=f"files:{path}")
    if is_path:
        raise DataError(
            f"a task's file or folder must exist, there is nothing at {format_path(path)}"
        )
    if match := _HUB_ID.fullmatch(text):
        if match[2] and path_exists(expand_home(match[1])):  # the hub's library would read it
            raise DataError(
                f"{match[1]} is a folder here, which has no configurations: give a folder in it, "
                f"such as {match[1]}/{match[2]}"
            )
        name = text.rpartition("/")[2].replace(":", "-")
        return replace(own, name=name, source=f"hub:{text}")
    raise UnknownNameError(
        "task",
        quote(text)[1:-1],
        TASKS,
        hint="(or give a file, a folder or a hub id org/name[:config])",
    )
