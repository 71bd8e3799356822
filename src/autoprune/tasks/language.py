"""Language of a task: named by the user, known, or guessed from the script of its texts."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.errors import OptionError, quote
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import LabelledRows, Task

GIVEN = "as given"  # the reason of languages that the user named

SAMPLED_ROWS = 1000  # of train, whose letters are counted

_SAMPLED_LETTERS = 500  # of a text

_MAIN_SHARE = 2 / 3  # of the letters, from which on a script is that of the texts

_KANA_SHARE = 0.1  # of the characters of Japanese that are no Chinese ones, at least

# The languages of each script by the first word of its letters' names in Unicode; a single one is
# the language of by far the most texts in that script. Of other scripts nothing is known.
_LANGUAGES = {
    "ARABIC": "ar az ckb fa ks ku pa ps sd ug ur",
    "ARMENIAN": "hy",
    "BENGALI": "as bn mni",
    "CJK": "ja yue zh",
    "CYRILLIC": "az ba be bg cv kk ky mk mn ru sr tg tt uk uz",
    "DEVANAGARI": "awa bgc bho brx doi gom hi kok ks mag mai mr ne new sa sat sd",
    "ETHIOPIC": "am ti",
    "GEORGIAN": "ka",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he",
    "KANA": "ja",
    "KANNADA": "kn",
    "KHMER": "km",
    "LAO": "lo",
    "MALAYALAM": "ml",
    "MEETEI": "mni",
    "MYANMAR": "my",
    "OL": "sat",
    "ORIYA": "or",
    "SINHALA": "si",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAANA": "dv",
    "THAI": "th",
    "TIBETAN": "bo",
}

_KANA = {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}

_SCRIPT_NAMES = {"CJK": "Chinese", "KANA": "Japanese", "MEETEI": "Meetei Mayek", "OL": "Ol Chiki"}

_SEVERAL = {"mul", "mis", "und", "zxx"}  # codes that name no language


@dataclass(frozen=True, slots=True)
class TaskLanguage:
    """The languages of a task's texts as codes of the hub, none where they are not known.

    `reason` says how they were found, or why not; `script` is the one of most letters, empty where
    there is none.
    """

    codes: tuple[str, ...]
    reason: str
    script: str


def parse_languages(text: str) -> tuple[str, ...]:
    """Read codes of languages with commas between; raises `OptionError`.

    >>> parse_languages("mr, hi")
    ('mr', 'hi')
    """
    codes = tuple(dict.fromkeys(code.strip().lower() for code in text.split(",")))
    if not all(re.fullmatch("[a-z]{2,3}", code) for code in codes):
        raise OptionError(
            "--language takes codes of two or three letters such as mr, or mr,hi, got "
            f"{quote(text)}"
        )
    return codes


def find_language(
    given: Sequence[str], task: Task, rows: LabelledRows, of_model: Sequence[str]
) -> TaskLanguage:
    """Return the languages of a task's texts: those given, those of a known task, or a guess.

    A script that one language has tells it. Of the languages of another script it is that of the
    base model, where that has only one. No language is better than a wrong one.
    """
    script = main_script(rows)
    name = _SCRIPT_NAMES.get(script, script.capitalize())
    if given:
        return TaskLanguage(tuple(given), GIVEN, name)
    if task.source in {known.source for known in TASKS.values()}:
        return TaskLanguage(("mr",), f"the language of task {task.name}", name)
    if not script:
        return TaskLanguage((), "the texts are in several scripts", "")
    known = _LANGUAGES.get(script, "").split()
    if len(known) == 1:
        return TaskLanguage(tuple(known), f"guessed from the {name} script", name)
    if len(of_model) == 1 and _has_script(of_model[0], script):
        reason = f"guessed: it is the base model's, and the texts are in the {name} script"
        return TaskLanguage(tuple(of_model), reason, name)
    return TaskLanguage((), f"several languages are written in the {name} script", name)


def main_script(rows: LabelledRows) -> str:
    """Return the script of two thirds of the letters in a sample of rows, empty without one."""
    step = max(1, len(rows) // SAMPLED_ROWS)
    texts = [*rows.texts[::step], *(rows.pairs or ())[::step]]
    letters = Counter(char for text in texts for char in text[:_SAMPLED_LETTERS] if char.isalpha())
    scripts: Counter[str] = Counter()
    for char, count in letters.items():
        script = unicodedata.name(char, "?").split()[0]
        scripts["KANA" if script in _KANA else script] += count
    if scripts["KANA"] >= _KANA_SHARE * (scripts["KANA"] + scripts["CJK"]):
        scripts["KANA"] += scripts.pop("CJK", 0)
    if not letters:
        return ""
    script, count = scripts.most_common(1)[0]
    return script if count >= _MAIN_SHARE * letters.total() else ""


def _has_script(language: str, script: str) -> bool:
    """Return whether texts in a language are in a script, as far as is known; Latin has the rest.

    >>> _has_script("mr", "DEVANAGARI"), _has_script("mr", "LATIN"), _has_script("sw", "LATIN")
    (True, False, True)
    """
    if not re.fullmatch("[a-z]{2,3}", language) or language in _SEVERAL:
        return False
    if script == "LATIN":
        return all(language not in known.split() for known in _LANGUAGES.values())
    return language in _LANGUAGES.get(script, "").split()
