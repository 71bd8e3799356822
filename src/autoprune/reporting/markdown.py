"""Markdown: a study's report in one file, the verdict first; texts from outside are escaped."""

import html
import re
import unicodedata
from collections.abc import Sequence

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.records import Record
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.reporting.sections import (
    Code,
    Items,
    ReportSection,
    TableWithBars,
    Text,
    budgets_section,
    comparison_section,
    costs_section,
    data_section,
    layers_section,
    limits_section,
    repeat_section,
    report_title,
    search_section,
)
from autoprune.reporting.tables import Table

_MARKUP = re.compile(r"([\\`*_\[\]|~#!$])")

_TEXT_DIRECTION = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def single_line(text: str) -> str:
    """Return `text` on one line, without control characters and changes of the text direction.

    Zero-width joiners stay, because Marathi needs them. Half a surrogate pair, which can come from
    a file name, becomes `?`.
    """
    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _TEXT_DIRECTION else c
        for c in encodable
    )


def escape_markdown(text: str) -> str:
    r"""Return `text` such that Markdown shows it unchanged, in paragraphs and in table cells.

    >>> escape_markdown("a|b <i>`c`")
    'a\\|b &lt;i&gt;\\`c\\`'
    """
    return _MARKUP.sub(r"\\\1", html.escape(single_line(text), quote=False))


def code_block(text: str, language: str = "") -> str:
    """Return a code block: of one line, or of code in `language`. Its fence cannot occur inside."""
    fence = "`" * (max([2, *map(len, re.findall("`+", text))]) + 1)
    lines = [single_line(text)]
    if language:
        lines = [_without_controls(line).rstrip() for line in text.split("\n")]
    return "\n".join([f"{fence}{language}", *lines, fence])


def markdown_list(texts: Sequence[str]) -> str:
    """Return a list with an item for each text; escapes the texts."""
    return "\n".join(f"- {escape_markdown(text)}" for text in texts)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already: escape texts from outside before."""
    assert all(len(row) == len(header) for row in rows), "a cell for each column"
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table_to_markdown(table: Table) -> str:
    """Write a table in Markdown: escapes the texts, draws layouts as rows of dots."""
    rows = [
        [escape_markdown(cell) if isinstance(cell, str) else cell.picture for cell in row]
        for row in table.rows
    ]
    return markdown_table([escape_markdown(name) for name in table.header], rows)


MAX_TRIALS_SHOWN = 100  # rows of the table of trials; the file of records has them all


def markdown_report(
    setting: StudyMetadata,
    comparison: Comparison,
    trials: Sequence[Record],
    costs: Costs | None = None,
    study: str = "STUDY",
) -> str:
    """Write the report; `trials` are the search's records, none for a baseline.

    `costs` are None where nobody measured them yet; `study` is the name for `autoprune cost`.
    """
    sections = [
        comparison_section(comparison),
        search_section(trials, setting.hint, MAX_TRIALS_SHOWN),
        layers_section(trials),
        data_section(setting),
        budgets_section(setting, comparison, trials),
        costs_section(costs, study),
        repeat_section(setting, comparison),
        limits_section(comparison),
    ]
    blocks = [
        f"# {escape_markdown(report_title(setting))}",
        escape_markdown(comparison_verdict(comparison)),
        escape_markdown(recommendation(comparison)),
        *warning_paragraphs(result_warnings(setting, comparison, trials)),
        *(section_to_markdown(section) for section in sections if section is not None),
    ]
    return "\n\n".join(blocks) + "\n"


def warning_paragraphs(warnings: Sequence[str]) -> list[str]:
    """Write a paragraph for each warning."""
    return [f"**Warning:** {escape_markdown(warning)}" for warning in warnings]


def section_to_markdown(section: ReportSection) -> str:
    """Write a section of `reporting.sections` with its heading."""
    return "\n\n".join([f"## {section.title}", *map(_part_to_markdown, section.parts)])


def _part_to_markdown(part: object) -> str:
    match part:
        case Text(text=text):
            return escape_markdown(text)
        case Items(texts=texts):
            return markdown_list(texts)
        case Code(text=text, command=command):
            return f"{escape_markdown(text)}\n\n{code_block(command)}"
        case TableWithBars(table=table):
            return table_to_markdown(table)
    raise TypeError(f"{type(part).__name__} is a part of HTML pages only")
