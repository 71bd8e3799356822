"""Markdown report: a study in one Markdown file, the verdict first."""

from collections.abc import Sequence

from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.records import Record
from autoprune.evaluation.result_warnings import result_warnings
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import comparison_verdict, recommendation
from autoprune.reporting.markdown import (
    code_block,
    escape_markdown,
    markdown_list,
    table_to_markdown,
)
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
