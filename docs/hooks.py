"""Documentation: tables of the reference are made from the code, other pages from files here.

`python docs/hooks.py` writes the tables into the pages, between the marks `<!-- NAME -->` and
`<!-- end of NAME -->`; `tests/test_docs.py` fails where a page is not up to date. mkdocs calls
`on_page_markdown`.
"""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Settings of a file that are written otherwise than the options that set them.
SETTINGS = {
    "keep": 'How many layers stay; in a file for `search` also `"2-8"` or `"2,4,6"`: a study '
    "for each number, and what each costs.",
    "labels": 'Columns of 0 and 1, one for each label a row may have, such as `["a", "b", "c"]`.',
    "learning_rates": "Peak rates such as `[2e-5, 5e-5]`: each entrant of the comparison takes the "
    "one that is best on validation.",
    "temperatures": "Temperatures of distillation; of several such as `[1.0, 2.0]` each entrant of "
    "the comparison takes the one that is best on validation.",
    "distill_weights": "The teacher's share of the loss of a labelled row; several as with "
    "`temperatures`.",
    "race": "An entrant that is surely behind on validation gets no further seed; `false` trains "
    "every entrant with every seed.",
    "strategies": 'Fixed strategies to compare with, such as `["top", "middle"]`; left out: all.',
    "rivals": 'Small pre-trained models to compare with, such as `["mahabert-small"]`.',
}

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/reference"
REPOSITORY = "https://github.com/autoprune/autoprune/blob/main/"


def main() -> None:
    """Write the tables into the pages of the reference."""
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Take the pages that are files of the root from there."""
    if page.file.src_uri in ("contributing.md", "changelog.md"):
        return from_root(page.file.src_uri.upper().replace(".MD", ".md"))
    return markdown


def fill(markdown: str) -> str:
    """Return a page with what the code says between its marks."""
    makers = {
        "commands": command_reference,
        "configuration": configuration_reference,
        "record": record_reference,
        "events": event_reference,
        "functions": function_reference,
    }
    return re.sub(
        r"(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)",
        lambda match: f"{match[1]}\n{makers[match[2]]()}\n\n{match[3]}",
        markdown,
        flags=re.DOTALL,
    )


def from_root(name: str) -> str:
    """Return a document of the root with links as they are in the folder of documents."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\]\(((?:[\w-]+/)+[\w.-]*|[A-Z]+(?:\.md)?)\)", rf"]({REPOSITORY}\1)", text)


def command_reference() -> str:
    """Return each command with its options, as Typer has them."""
    import typer

    from autoprune.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = [_table(("command", "what it does"), (_summary(each) for each in _commands(group)))]
    return "\n\n".join([*parts, *(_command(each) for each in _commands(group))])


def _commands(group: Any) -> list[Any]:
    return [command for command in group.commands.values() if not command.hidden]


def _summary(command: Any) -> tuple[str, str]:
    first = command.help.partition("\n")[0]
    return f"[`{command.name}`](#autoprune-{command.name})", first


def _command(command: Any) -> str:
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join(_usage(argument) for argument in arguments)
    panels: dict[str, list[Any]] = {}
    for option in options:
        if not option.hidden:
            panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(
                option
            )
    parts = [
        f"## autoprune {command.name}",
        f"`autoprune {command.name} {usage}{' ' * bool(usage)}[OPTIONS]`",
        command.help.strip(),
    ]
    if arguments:
        rows = [(f"`{_metavar(each)}`", _help(each), _default(each)) for each in arguments]
        parts.append(_table(("argument", "meaning", "default"), rows))
    for name, panel in panels.items():
        rows = [
            (
                " ".join(
                    f"`{flag}`" for flag in (*each.opts, *each.secondary_opts) if flag.strip()
                ),
                _help(each),
                _default(each),
            )
            for each in panel
        ]
        parts.append(f"**{name}**\n\n" + _table(("option", "meaning", "default"), rows))
    return "\n\n".join(parts)


def _usage(argument: Any) -> str:
    name = _metavar(argument) + "..." * (argument.nargs != 1)
    return name if argument.required else f"[{name}]"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _help(parameter: Any) -> str:
    return re.sub(r"\s*\[default: (?!.*\[default)[^\]]*\]$", "", parameter.help or "")


def _default(option: Any) -> str:
    stated = re.search(r"\[default: ([^\]]*)\]$", option.help or "")
    if stated:
        return stated[1]
    if option.required:
        return "required"
    value = option.default
    hidden = value is None or value == () or isinstance(value, bool) or callable(value)
    return "" if hidden else f"`{value}`"


def configuration_reference() -> str:
    """Return each section of a study's TOML file with its settings."""
    from autoprune.experiment.config import SECTIONS, RunOptions, StudyConfig

    helps = _option_helps()
    parts = []
    for title, section in (
        ("Top level", StudyConfig),
        *((f"`[{name}]`", section) for name, section in SECTIONS.items()),
        ("Where and how it runs: `RunOptions` (Python only)", RunOptions),
    ):
        rows = [
            (f"`{name}`", _type_name(field.annotation), helps.get(name, ""), _field_default(field))
            for name, field in section.model_fields.items()
            if name not in SECTIONS
        ]
        about = (section.__doc__ or "").partition("\n\n")[0]
        parts.append(
            f"## {title}\n\n{about}\n\n{_table(('setting', 'type', 'meaning', 'default'), rows)}"
        )
    return "\n\n".join(parts)


def _option_helps() -> dict[str, str]:
    import typer

    from autoprune.cli.app import app

    group: Any = typer.main.get_command(app)
    return {option.name: _help(option) for option in group.commands["search"].params} | SETTINGS


def _field_default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    value = list(value) if isinstance(value, tuple) else value
    return "" if value in (None, []) else f"`{value}`"


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _type_name(typing.get_args(annotation)[0])
    arguments = typing.get_args(annotation)
    if not arguments:
        return getattr(annotation, "__name__", str(annotation))
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type_name(arguments[0])}"
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(map(str, arguments))
    names = [_type_name(each) for each in arguments if each not in (type(None), Ellipsis)]
    return " or ".join(dict.fromkeys(names))


def record_reference() -> str:
    """Return the fields of a line of `records.jsonl`."""
    from autoprune.evaluation.records import Record
    from autoprune.training.budget import Budget
    from autoprune.training.metrics import Score

    parts = []
    for name, kind in (("A record", Record), ("`budget`", Budget), ("An entry of `scores`", Score)):
        hints = typing.get_type_hints(kind)
        rows = [
            (f"`{each.name}`", _readable(hints[each.name])) for each in dataclasses.fields(kind)
        ]
        about = (kind.__doc__ or "").strip()
        about = "\n".join(line.strip() for line in about.splitlines())
        parts.append(f"### {name}\n\n{about}\n\n{_table(('field', 'type'), rows)}")
    return "\n\n".join(parts)


def _readable(hint: Any) -> str:
    name = re.sub(r"typing.Literal\[([^]]*)\]", r"\1", str(hint)).replace("'", '"')
    name = re.sub(r'<class "(?:\w+\.)*(\w+)">', r"\1", name)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", name).replace("|", "or")


def event_reference() -> str:
    """Return the events of the log file with their fields."""
    from autoprune.experiment import events

    rows = []
    kinds = {kind.__name__: kind for kind in events.Event.__subclasses__()}  # slots make it twice
    for kind in kinds.values():
        shown = [each.name for each in dataclasses.fields(kind) if each.name not in kind.hidden]
        about = " ".join((kind.__doc__ or "").split())
        rows.append((_event_names(kind), about, ", ".join(f"`{name}`" for name in shown)))
    return _table(("event", "meaning", "fields"), rows)


def _event_names(kind: Any) -> str:
    if kind.label:
        return f"`{kind.label}`"
    return {
        "TrialFinished": "`trial ended`, `trial failed`, each also with `elsewhere` behind it",
        "SearchFinished": "`search ended`, `search stopped`",
        "EntrantRunFinished": "`comparison run ended`, `tuning run ended`, or `... failed`",
    }[kind.__name__]


def function_reference() -> str:
    """Return what `import autoprune` gives, and what each is for."""
    import autoprune

    rows = []
    for name in sorted(autoprune.__all__, key=lambda name: (name[0].isupper(), name)):
        about = (inspect.getdoc(getattr(autoprune, name)) or "").partition("\n")[0]
        rows.append((f"`{name}`", about))
    return _table(("name", "what it is for"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


if __name__ == "__main__":
    main()
