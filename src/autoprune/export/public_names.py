"""Public names: commands and notes for a card, without names of the user's files and folders."""

import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath, PureWindowsPath
from typing import Any

from autoprune.encoders.registry import find_encoder
from autoprune.errors import AutopruneError
from autoprune.tasks.formats import READERS
from autoprune.tasks.registry import find_task

PLACEHOLDERS_EXPLANATION = "Names in capitals stand for files, folders and addresses of the author."

_MODEL, _TASK, _OUT = "a model", "a task", "a new folder"

# What an option or setting names: one of the above, or something that only the author has, of which
# this is the placeholder.
_NAMES = {
    **dict.fromkeys(
        ("model", "rival", "rivals", "teacher", "against", "from", "tokenizer"), _MODEL
    ),
    "task": _TASK,
    "train": _TASK,
    "out": _OUT,
    "data-dir": "DATA_FOLDER",
    "models-dir": "MODELS_FOLDER",
    "corpus": "TEXTS.txt",
    "unlabelled": "TEXTS.txt",
    "config": "CONFIG.toml",
    "write-config": "CONFIG.toml",
    "log-file": "LOG.jsonl",
    "storage": "STORAGE_URL",
    "ray": "HOST:PORT",
}

# Options of which any value may be seen: columns, and what the author names on purpose.
_FREE = {"text", "text-pair", "label", "labels", "label-separator", "study", "push"}

_PATH = re.compile(r"[\\/]|^[.~]")

_SHORT_FLAGS = {"-m": "model", "-t": "task"}

_KNOWN = {"full", "auto", "local"}  # a teacher, and what --ray takes beside an address

_PLACEHOLDER = re.compile(
    r"\b([A-Z]+_FOLDER|DATA\.\w+|TEXTS\.txt|CONFIG\.toml|LOG\.jsonl|STORAGE_URL|HOST:PORT|STUDY)\b"
)


def public_model(text: str) -> str:
    """Return `text` if it names a known model or one of the hub, empty for a folder."""
    try:
        encoder = find_encoder(text)
    except AutopruneError:
        return ""
    return text if encoder.revision or encoder.source.startswith("package:") else ""


def _public_task(text: str) -> str:
    try:
        task = find_task(text)
        if not task.source.startswith("files:"):
            return text
    except AutopruneError:
        pass
    suffix = PurePath(text).suffix.lower()
    return f"DATA{suffix}" if suffix in READERS else "DATA_FOLDER"


def _last_part(text: str) -> str:
    """Return the last part of a path of any system, empty where that is none."""
    name = PureWindowsPath(text).name
    return "" if name in (".", "..", "~") else name


def _public(setting: str, value: str) -> str:
    """Return the value of an option or setting as others may see it; no `setting`: an argument."""
    kind, suffix = _NAMES.get(setting), PurePath(value).suffix.lower()
    if setting in _FREE or value in _KNOWN:
        return value
    if kind is None:  # a study, or a file of settings
        if suffix == ".toml":
            return "CONFIG.toml"
        if suffix in READERS:
            return f"DATA{suffix}"
        return (_last_part(value) or "STUDY") if _PATH.search(value) else value
    if kind == _MODEL:
        return public_model(value) or "MODEL_FOLDER"
    if kind == _TASK:
        return _public_task(value)
    return (_last_part(value) or "MODEL_FOLDER") if kind == _OUT else kind


def public_command(command: str) -> str:
    """Return a command, or a call from Python, with placeholders for what only its author has.

    Known names and those of the hub stay, and so do names of studies. A call that cannot be read is
    left out.

    >>> public_command("autoprune search -m muril --task=/home/me/x.csv --keep 6")
    'autoprune search -m muril --task=DATA.csv --keep 6'
    """
    if re.match(r"[\w.]+\(", command):
        return _public_call(command)
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    public, setting = list[str](), ""
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("--"):
            setting = "" if equals else flag[2:]
            public.append(f"{flag}={_public(flag[2:], value)}" if equals else word)
        elif word[:2] in _SHORT_FLAGS and len(word) > 2:
            public.append(word[:2] + _public(_SHORT_FLAGS[word[:2]], word[2:]))
        elif word.startswith("-"):
            setting = _SHORT_FLAGS.get(word, "")
            public.append(word)
        else:
            public.append(_public(setting, word))
            setting = ""
    return shlex.join(public)


def _public_call(code: str) -> str:
    """Return a call such as `autoprune.export_model('NAME')` with placeholders."""
    try:
        tree = ast.parse(code, mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return ""
    return ast.unparse(_PublicValues().visit(tree))


class _PublicValues(ast.NodeTransformer):
    """Replaces the values in a call's dicts and keywords, and the paths of its studies."""

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        node.values = [
            self._replace(str(key.value), value)
            if isinstance(key, ast.Constant)
            else self.visit(value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        node.value = self._replace(node.arg or "", node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.args = [
            ast.Constant(_public("", each.value))
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
            else self.visit(each)
            for each in node.args
        ]
        node.keywords = [self.visit_keyword(each) for each in node.keywords]
        return node

    def _replace(self, setting: str, value: ast.expr) -> Any:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return ast.Constant(_public(setting.replace("_", "-"), value.value))
        if isinstance(value, ast.List | ast.Tuple):
            value.elts = [self._replace(setting, each) for each in value.elts]
            return value
        return self.visit(value)


def has_placeholders(commands: Sequence[str]) -> bool:
    """Return whether one of `public_command`'s commands has a placeholder."""
    return any(_PLACEHOLDER.search(command) for command in commands)


_FILE_NOTES = (
    (re.compile(r"^((?:[a-z]+(?: and [a-z]+)*: )?)rows from .*$", re.DOTALL), ""),
    (
        re.compile(r"^((?:[a-z]+(?: and [a-z]+)*: )?).+ is read without quoting, ", re.DOTALL),
        r"\1a file is read without quoting, ",
    ),
    (
        re.compile(r" texts of .+ are used without labels", re.DOTALL),
        " texts of a file are used without labels",
    ),
    (re.compile(r"(?<![\w<])(?:~|[A-Za-z]:)?[\\/][^\s'\",;]+[\\/][^\s'\",;]*"), "a file"),
)


def public_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Return notes on the data without the names of files; one that has nothing else is left out.

    >>> public_notes(["rows from /home/me/x.csv", "x y.csv is read without quoting, so"])
    ('a file is read without quoting, so',)
    """
    found = []
    for note in notes:
        for pattern, text in _FILE_NOTES:
            note = pattern.sub(text, note)
        found.append(note)
    return tuple(dict.fromkeys(filter(None, found)))
