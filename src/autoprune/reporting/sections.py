"""Sections of the report on a study: headings, sentences and tables, for Markdown and HTML.

`markdown_report` and `html.study_page` choose the order and write them.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.errors import format_count
from autoprune.evaluation.comparison import Comparison
from autoprune.evaluation.costs import Costs
from autoprune.evaluation.permutation_test import PERMUTATIONS
from autoprune.evaluation.records import Record, count_repeated
from autoprune.evaluation.statistics import MIN_SEEDS
from autoprune.evaluation.study_files import StudyMetadata
from autoprune.evaluation.verdict import (
    against_others,
    describe_count,
    describe_disagreements,
    describe_seeds,
    is_equal,
)
from autoprune.reporting.tables import (
    Table,
    budgets_table,
    cleaning_table,
    costs_table,
    entrants_table,
    layers_table,
    promoted_to_full_budget,
    rank_trials,
    repeat_table,
    spread_table,
    trials_table,
)
from autoprune.training.metrics import METRICS


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `aside` is one to read later, shown smaller."""

    text: str
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A command line, with a sentence that says what it does."""

    text: str
    command: str


@dataclass(frozen=True, slots=True)
class TableWithBars:
    """A table; pages draw `bars`, shares in [0, 1] or None, beside the column `bar_column`."""

    table: Table
    bar_column: int = -1
    bars: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A heading with its parts; links point to `id`.

    The parts are `Text`, `Items`, `Code`, `TableWithBars`, on a page also those of
    `html.components`.
    """

    id: str
    title: str
    parts: tuple[Any, ...]


DOTS_EXPLANATION = "● is a layer that is kept; the first one is nearest the embeddings."


def report_title(setting: StudyMetadata) -> str:
    """Return the title of the report on one study."""
    return f"{setting.model} on {setting.task}: {setting.keep} of {setting.depth} layers"


def verdict_in_brief(comparison: Comparison) -> str:
    """Return the verdict in a word or two.

    `better`, `worse`, `equal` or `no difference found` against the best fixed strategy; `same
    layout` where the search found that strategy itself; `found failed` where its layout could not
    be trained; `baseline` where nothing was searched; `nothing learned` where the layouts are not
    better than the majority label.
    """
    subject, reference = comparison.subject, comparison.row(comparison.reference)
    if comparison.recommended is None:
        return "nothing learned"
    if comparison.found_failed:
        return "found failed"
    if subject.origin == reference.origin:
        return "baseline"
    if subject.layout == reference.layout:
        return "same layout"
    return "equal" if is_equal(comparison) else comparison.against[reference.origin].finding


def comparison_section(comparison: Comparison, pictures: str = DOTS_EXPLANATION) -> ReportSection:
    """Return the comparison on the test split; `pictures` explains how layouts are drawn."""
    sentences = (
        *comparison.left_out,
        *describe_seeds(comparison),
        *against_others(comparison),
        *describe_disagreements(comparison),
        *(
            f"{record.origin}, seed {record.seed}: {note}"
            for record in comparison.records
            for note in record.notes
        ),
    )
    parts = (
        TableWithBars(entrants_table(comparison)),
        *([Items(sentences)] if sentences else []),
        Text(f"{how_to_read(comparison)} {pictures}", aside=True),
        TableWithBars(spread_table(comparison)),
    )
    return ReportSection("comparison", "Comparison on the test split", parts)


def how_to_read(comparison: Comparison) -> str:
    """Explain the columns and the statistics of `entrants_table`."""
    seeds, reference = len(comparison.seeds), comparison.reference
    metric = METRICS[comparison.metric]
    name = metric.title
    spread = "± is the standard deviation over seeds" if seeds > 1 else "one seed has no spread"
    few = "one seed" if seeds == 1 else f"{seeds} seeds"
    noise = (
        "The intervals allow for other seeds and other test rows."
        if seeds >= MIN_SEEDS
        else f"With {few} the intervals allow for other test rows only, not for another training."
    )
    if any(row.stopped for row in comparison.rows):
        noise += (
            f" Rows with fewer seeds are compared on these; fewer than {MIN_SEEDS} say nothing of "
            "another training."
        )
    simple = (
        " majority always gives the most frequent label of the train rows (of numbers their mean), "
        "and tf-idf is a linear model on words and characters, for tags a dictionary of the words: "
        "an encoder should be better than both."
        if comparison.simple
        else ""
    )
    test = (
        "an exact paired permutation test on which rows are right"
        if metric.is_mean and metric.is_bounded
        else f"a paired permutation test of {name} ({PERMUTATIONS:,} random exchanges of the two "
        "models' predictions for a row)"
    )
    return (
        f"How to read the table: numbers are {name}{metric.percent and ' in %'} unless their "
        f"column says otherwise, means over {describe_count(seeds).replace(' ', ' fresh ')}; "
        f"{spread}. “test” leaves out duplicates and rows that are also in train or validation, "
        f"{comparison.test_rows} of {comparison.raw_rows} rows remain; “raw” is the whole split. "
        f"“difference”{metric.note} is in {metric.points} against {reference}, on the same rows "
        f"and seeds; {reference} was chosen of the fixed strategies by validation, not by test. "
        f"{noise} p is from {test}, and holds for "
        "these trained models. A model is called better or worse only where p is below 0.05 and "
        "the interval does not contain 0. Each row is one test: of many tests, one in twenty has "
        f"a p below 0.05 by chance.{simple}"
    )


def search_section(
    trials: Sequence[Record], hint: str, max_rows: int | None = None
) -> ReportSection | None:
    """Return the trials of the search, the best first; None without a search.

    `hint` says how well the proxy score did that informed the search, empty without one. The table
    has at most `max_rows` rows, None for all.
    """
    if not trials:
        return None
    table = trials_table(trials, max_rows)
    rest = len(trials) - len(table.rows)
    parts = (
        Text(search_summary(trials, hint)),
        TableWithBars(table, table.header.index("validation"), _quality_bars(trials)),
        *([Text(f"{rest} more trials are in the study's file of records.")] if rest else []),
    )
    return ReportSection("search", "The search", parts)


def search_summary(trials: Sequence[Record], hint: str) -> str:
    """Say how many trials there were, and how far their scores can be trusted."""
    layouts, promoted = {trial.layout for trial in trials}, sum(promoted_to_full_budget(trials))
    resumed = f" {promoted} of them went on from a pause to the full budget." if promoted else ""
    scores = "The other scores" if promoted else "Scores"
    return (
        f"{format_count(len(trials), 'trial')} of {format_count(len(layouts), 'layout')}, "
        f"{count_repeated(trials)} of the same layout and seed as another."
        f"{resumed} {scores} are on validation with the quick budget and one seed a trial. Their "
        "order is noisy: trust the comparison above, not this order."
        f"{hint and f' Cheap score {hint}.'}"
    )


def _quality_bars(trials: Sequence[Record]) -> tuple[float | None, ...]:
    """Return where each trial's score is between the lowest and the highest, None without one."""
    scores = [trial.scores[-1].quality for trial in trials if trial.scores]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    span = (high - low) or 1.0
    return tuple(
        0.06 + 0.94 * (trial.scores[-1].quality - low) / span if trial.scores else None
        for trial in rank_trials(trials)
    )


def layers_section(trials: Sequence[Record]) -> ReportSection | None:
    """Return the effect of each layer; None where no trial is complete."""
    table = layers_table(trials)
    if not table.rows:
        return None
    explanation = (
        "Mean validation quality of the complete trials that keep a layer, and of those that "
        "remove it. The search chose these layouts, they are not a random sample: take it as a "
        "hint."
    )
    return ReportSection("layers", "Which layers matter", (Text(explanation), TableWithBars(table)))


def data_section(setting: StudyMetadata) -> ReportSection:
    """Return the labels, how many rows cleaning removed from each split, how rows were read."""
    labels = f"{format_count(len(setting.labels), 'label')}: {', '.join(setting.labels)}."
    notes = [Items(setting.data_notes)] if setting.data_notes else []
    parts = (Text(labels), TableWithBars(cleaning_table(setting)), *notes)
    return ReportSection("data", "Data", parts)


def budgets_section(
    setting: StudyMetadata, comparison: Comparison, trials: Sequence[Record]
) -> ReportSection:
    """Return both budgets, how learning rates were chosen, and the seconds of training."""
    tried = ", ".join(f"{rate:g}" for rate in setting.rates)
    chosen = ", ".join(f"{row.origin} {row.learning_rate:g}" for row in comparison.rows)
    rates = (
        f"Peak learning rates of the comparison: each entrant was trained once with each of {tried}"
        " within the full budget, on a seed that the comparison does not use. The rate that was "
        f"best on validation was taken: {chosen}. These runs are not part of the training time "
        "below."
    )
    searched = sum(trial.scores[-1].seconds for trial in trials if trial.scores)
    compared = sum(run.score("validation").seconds for run in comparison.records if run.scores)
    search = f"{searched:.0f} s for {format_count(len(trials), 'trial')}, " if trials else ""
    runs = f"{compared:.0f} s for {format_count(len(comparison.records), 'run')} of the comparison"
    parts = (
        TableWithBars(budgets_table(setting, comparison.records)),
        *([Text(rates)] if tried else []),
        Text(f"Training took {search}{runs}."),
    )
    return ReportSection("budgets", "Budgets and training time", parts)


def costs_section(costs: Costs | None, study: str) -> ReportSection:
    """Return what was measured of the models, or the command that measures them for `study`."""
    title = "Measured cost"
    if costs is None:
        command = Code(
            "Memory, latency and throughput are not measured yet. This command measures them on "
            "your machine, and the next report shows them:",
            f"autoprune cost {shlex.quote(study)}",
        )
        return ReportSection("cost", title, (command,))
    versions = ", ".join(f"{name} {text}" for name, text in costs.versions.items())
    conditions = (
        f"Measured on {costs.measured[:10]} on {costs.device} ({versions}): medians of "
        f"{costs.rounds} rounds with 95 % intervals, the models in turn in each round. Texts have "
        f"at most {costs.tokens} tokens; latency is of one text, throughput of batches of "
        f"{costs.batch}. Memory is the peak while the model is loaded and runs one batch. Another "
        "machine gives other numbers."
    )
    parts = (
        *([Items(costs.alarms)] if costs.alarms else []),
        TableWithBars(costs_table(costs)),
        Text(" ".join([conditions, *costs.notes]).strip(), aside=True),
    )
    return ReportSection("cost", title, parts)


def repeat_section(setting: StudyMetadata, comparison: Comparison) -> ReportSection:
    """Return what is needed to run the study again."""
    command = Code("The study was started with this command:", setting.command)
    table = TableWithBars(repeat_table(setting, comparison))
    return ReportSection("repeat", "To repeat it", (command, table))


def limits_section(comparison: Comparison) -> ReportSection:
    """Return what the results cannot show."""
    return ReportSection("limits", "Limits", (Text(limits_text(comparison)),))


def limits_text(comparison: Comparison) -> str:
    """Say what the results cannot show, in one paragraph."""
    distilled = any(record.budget.distillation for record in comparison.records)
    taught = "what its teacher says" if distilled else "this budget"
    searched = "found" in comparison.runs
    used = "the search and for choosing" if searched else "choosing"
    return (
        f"One model, one task, one budget, {describe_count(len(comparison.seeds))}, "
        f"{comparison.test_rows} test rows: differences smaller than the intervals cannot be "
        "seen, and another model, another task or longer training may change the order. On tasks "
        "of this size, two training runs of one model can differ by more than a point. A model of "
        f"equal depth trained from scratch had only the training rows of this task and {taught}, "
        f"no pre-training. The validation rows were used for {used} the best strategy, so results "
        "on validation are optimistic; the test rows were "
        f"{'used for neither' if searched else 'not'}. Seconds were measured on this machine."
    )
