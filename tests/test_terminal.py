"""Terminal: names from outside cannot steer it, and words with joiners stay as they are."""

import csv
import io

import pytest
from rich.table import Table
from rich.text import Text

from autoprune.errors import OptionError, format_path, printable, quote
from autoprune.experiment.progress import ProgressDisplay
from autoprune.files import derive_study_name, validate_study_name
from autoprune.terminal import SafeConsole, SafeOutput

KARHAD = "कर्\u200dहाड"  # Karad, a town, as Marathi writes it
HOSTILE = "a\x1b]52;c;eHg=\x07b\x9b31m\u202ec\x7f"


def test_printable_escapes_what_steers_a_terminal():
    assert printable(HOSTILE) == r"a\x1b]52;c;eHg=\x07b\x9b31m\u202ec\x7f"
    assert printable("दोन\n", "\n") == "दोन\n"
    assert printable("\udc80") == r"\udc80"


@pytest.mark.parametrize("word", [KARHAD, "नर\u200dसिंह", "می\u200cخواهم"])
def test_joiner_within_a_word_is_shown_and_is_part_of_a_name(tmp_path, word):
    assert printable(word) == word
    assert quote(word) == f"'{word}'"
    assert format_path(tmp_path / word).endswith(word)
    assert validate_study_name(word) == word
    assert derive_study_name(word, "demo", 2) == f"{word}-demo-keep2"


@pytest.mark.parametrize("name", ["\u200da", "a\u200d", "a \u200db", "a\u200d\u200db", "1\u200d2"])
def test_joiner_elsewhere_is_escaped_and_refused(name):
    assert r"\u200d" in printable(name) and r"\u200d" in quote(name)
    with pytest.raises(OptionError, match=r"got '.*\\u200d"):
        validate_study_name(name)


@pytest.mark.parametrize(
    ("model", "begin"), [("-rf", "rf-demo"), (".x", "x-demo"), ("--", "demo-"), ("ा", "demo-")]
)
def test_derived_study_name_begins_well(model, begin):
    name = derive_study_name(model, "demo", 2)
    assert name.startswith(begin)
    assert validate_study_name(name) == name


@pytest.mark.parametrize("is_terminal", [False, True])
def test_console_escapes_texts_and_keeps_its_own_codes(is_terminal):
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=is_terminal, width=60)
    table = Table(title=HOSTILE)
    table.add_column("name")
    table.add_row(Text(HOSTILE))
    table.add_row(Text(KARHAD, style="red"))
    console.print(table)
    console.print(Text(HOSTILE))
    text = file.getvalue()
    assert "\x1b]52" not in text and "\x9b" not in text and "\u202e" not in text
    assert ("\x1b[31m" in text) == is_terminal
    assert KARHAD in text


def test_progress_escapes_its_lines(capsys):
    ProgressDisplay().say(HOSTILE)
    err = capsys.readouterr().err
    assert r"a\x1b]52;c;eHg=" in err and err.removesuffix("\n").isprintable()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_data_are_escaped_on_a_terminal_only(is_terminal):
    file = io.StringIO()
    file.isatty = lambda: is_terminal
    csv.writer(SafeOutput(file), lineterminator="\n").writerow([KARHAD, HOSTILE])
    assert file.getvalue() == f"{KARHAD},{printable(HOSTILE) if is_terminal else HOSTILE}\n"
