"""Scripts: which writing a character belongs to."""

import unicodedata
from collections.abc import Iterable

COMMON = ""  # punctuation, symbols, spaces, ASCII digits, accents: they go with any script
_ANY_SCRIPT = {"DIGIT", "COMBINING"}  # how the names of such digits and accents begin


def script_of(character: str) -> str:
    """Return the script of one character, by the first word of its Unicode name.

    >>> [script_of(each) for each in "क९a7,"]
    ['DEVANAGARI', 'DEVANAGARI', 'LATIN', '', '']
    """
    if unicodedata.category(character)[0] not in "LM" and not character.isdecimal():
        return COMMON
    first = unicodedata.name(character, "").partition(" ")[0]
    return COMMON if first in _ANY_SCRIPT else first


def scripts_of(characters: Iterable[str]) -> set[str]:
    """Return the scripts of characters; `COMMON` is always among them."""
    return {COMMON, *map(script_of, characters)}
