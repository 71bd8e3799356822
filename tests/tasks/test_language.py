"""Language of a task: what is given wins, a script may tell it, and a doubtful one is left out."""

import pytest

from autoprune.errors import OptionError
from autoprune.tasks.language import find_language, main_script, parse_languages
from autoprune.tasks.registry import TASKS
from autoprune.tasks.task import LabelledRows, Task

OWN = Task("own", "files:own")
TEXTS = {
    "ta": "இன்று மழை பெய்தது",
    "te": "ఈ రోజు వర్షం కురిసింది",
    "kn": "ಇಂದು ಮಳೆ ಬಂತು",
    "ml": "ഇന്ന് മഴ പെയ്തു",
    "gu": "આજે વરસાદ પડ્યો",
    "pa": "ਅੱਜ ਮੀਂਹ ਪਿਆ",
    "or": "ଆଜି ବର୍ଷା ହେଲା",
    "si": "අද වැස්ස වැටුණා",
    "th": "วันนี้ฝนตก",
    "ko": "오늘 비가 왔다",
    "ja": "今日は雨が降った",
    "el": "Σήμερα έβρεξε",
    "ka": "დღეს იწვიმა",
    "hy": "Այսօր անձրև եկավ",
    "he": "היום ירד גשם",
}
SHARED = {
    "Devanagari": "आज पाऊस पडला",
    "Latin": "it rained today",
    "Cyrillic": "сегодня шел дождь",
    "Arabic": "أمطرت اليوم",
    "Bengali": "আজ বৃষ্টি হয়েছে",
    "Chinese": "今天下雨了",
    "Ethiopic": "ዛሬ ዝናብ ዘነበ",
    "Cherokee": "ᎪᎯ ᎢᎦ ᎠᎦᏍᎦ",
}


def rows(*texts, pairs=None):
    return LabelledRows(texts, (0,) * len(texts), pairs)


@pytest.mark.parametrize("language", TEXTS)
def test_language_of_a_script_that_one_language_has_is_guessed(language):
    found = find_language((), OWN, rows(TEXTS[language], "2026 €"), ("mr", "en"))
    assert found.codes == (language,)
    assert found.reason == f"guessed from the {found.script} script"


@pytest.mark.parametrize("script", SHARED)
def test_language_of_a_script_that_several_have_is_left_out(script):
    for of_model in ((), ("mr", "hi"), ("mul",), ("multilingual",), ("ta",)):
        found = find_language((), OWN, rows(SHARED[script]), of_model)
        assert (found.codes, found.script) == ((), script)
        assert found.reason == f"several languages are written in the {script} script"


@pytest.mark.parametrize(
    ("script", "language"),
    [
        ("Devanagari", "hi"),
        ("Latin", "sw"),
        ("Cyrillic", "uk"),
        ("Arabic", "ur"),
        ("Bengali", "bn"),
        ("Chinese", "zh"),
    ],
)
def test_only_language_of_the_base_model_is_taken_where_it_has_the_script(script, language):
    assert find_language((), OWN, rows(SHARED[script]), (language,)).codes == (language,)
    for other in set(SHARED) - {script}:
        assert find_language((), OWN, rows(SHARED[other]), (language,)).codes == ()


def test_language_that_is_given_wins_and_that_of_a_known_task_is_known():
    assert find_language(("gom", "mr"), OWN, rows(TEXTS["ta"]), ()).codes == ("gom", "mr")
    for task in TASKS.values():
        assert find_language((), task, rows("Latin letters"), ("en",)).codes == ("mr",)
        assert find_language(("hi",), task, rows("x"), ()).codes == ("hi",)


def test_language_of_mixed_texts_is_left_out():
    mixed = rows(TEXTS["ta"], pairs=(SHARED["Latin"],))
    assert find_language((), OWN, mixed, ("ta",)).reason == "the texts are in several scripts"
    assert main_script(rows("123 !", "")) == ""
    assert main_script(rows(TEXTS["ta"] * 3, "one word")) == "TAMIL"
    assert main_script(rows("東京都千代田区")) == "CJK"


def test_languages_are_codes():
    assert parse_languages("MR") == ("mr",)
    for text in ("", "marathi", "m", "mr,", "mr;hi", "मर"):
        with pytest.raises(OptionError, match="--language takes codes of two or three letters"):
            parse_languages(text)
