"""Pieces: the vocabulary of a fast tokenizer, as its file `tokenizer.json` writes it."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers

from autoprune.errors import ModelError

TOKENIZER_KINDS = ("WordPiece", "BPE", "Unigram", "WordLevel")

_SPACE = "▁"  # what Unigram and BPE write for a space before a word

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece that stands for one byte


class VocabularyPieces:
    """All pieces of a tokenizer and their numbers, added tokens among them.

    Raises `ModelError` for a kind of tokenizer that cannot be cut.
    """

    def __init__(self, backend: Tokenizer) -> None:
        self.spec: dict[str, Any] = json.loads(backend.to_str())
        self.model: dict[str, Any] = self.spec["model"]
        kind = self.model.get("type")
        if kind not in TOKENIZER_KINDS:
            raise ModelError(
                f"--trim-vocabulary is for tokenizers of the kinds {', '.join(TOKENIZER_KINDS)}, got {kind}"
            )
        self.numbers: dict[str, int] = backend.get_vocab(with_added_tokens=True)
        parts = json.dumps([self.spec["normalizer"], self.spec["pre_tokenizer"]])
        self._in_bytes = '"ByteLevel"' in parts
        self._prefix: str = self.model.get("continuing_subword_prefix") or ""
        self._suffix: str = self.model.get("end_of_word_suffix") or ""

    def always(self) -> set[int]:
        """Return the numbers of the pieces that any text may need, whatever its script.

        Special tokens, those that frame a text, the pieces that stand for bytes, and the one with
        the lowest score: Unigram reckons an unknown character's score from it.
        """
        kept = {token["id"] for token in self.spec["added_tokens"] if token["special"]}
        kept |= {self.numbers[name] for name in self._unknown() if name in self.numbers}
        kept |= set(_framing(self.spec["post_processor"]))
        alphabet = pre_tokenizers.ByteLevel.alphabet() if self._in_bytes else []
        kept |= {self.numbers[piece] for piece in alphabet if piece in self.numbers}
        if self.model.get("byte_fallback"):
            kept |= {at for piece, at in self.numbers.items() if _BYTE.fullmatch(piece)}
        if self.model["type"] == "Unigram":
            scores = [score for _, score in self.model["vocab"]]
            kept.add(scores.index(min(scores)))
        return kept

    def characters(self) -> Iterable[tuple[str, int]]:
        """Yield each piece that writes a single character, as that character and its number."""
        for piece, number in self.numbers.items():
            text = self._text(piece)
            if len(text) == 1 and text != "\ufffd":
                yield text, number

    def with_parts(self, numbers: Iterable[int]) -> set[int]:
        """Return `numbers` and those of all pieces that BPE merges to them, step by step.

        A piece is merged alone as it is within a word: no step crosses its ends. So the merges
        that these pieces allow write every word made of the pieces `numbers` as before.
        """
        kept = set(numbers)
        if self.model["type"] != "BPE":
            return kept
        ranks = {tuple(merge): rank for rank, merge in enumerate(self.model["merges"])}
        names = {number: piece for piece, number in self.numbers.items()}
        for number in numbers:
            parts = self._merged(names[number], ranks)
            kept |= {self.numbers[part] for part in parts if part in self.numbers}
        return kept

    def cut(self, numbers: Mapping[int, int]) -> str:
        """Return the file with the pieces of `numbers` only, by their new numbers; in place."""
        spec, model = self.spec, self.model
        if model["type"] == "Unigram":
            model["vocab"] = [one for at, one in enumerate(model["vocab"]) if at in numbers]
            if model["unk_id"] is not None:
                model["unk_id"] = numbers[model["unk_id"]]
        else:
            old = model["vocab"].items()
            model["vocab"] = {piece: numbers[at] for piece, at in old if at in numbers}
        if model["type"] == "BPE":
            model["merges"] = [merge for merge in model["merges"] if self._stays(merge)]
        spec["added_tokens"] = [
            {**token, "id": numbers[token["id"]]}
            for token in spec["added_tokens"]
            if token["id"] in numbers
        ]
        spec["post_processor"] = _renumbered(spec["post_processor"], numbers)
        return json.dumps(spec, ensure_ascii=False)

    def _unknown(self) -> list[str]:
        if self.model["type"] == "Unigram":
            at = self.model["unk_id"]
            return [] if at is None else [self.model["vocab"][at][0]]
        return [self.model["unk_token"]] if self.model.get("unk_token") else []

    def _text(self, piece: str) -> str:
        """Return what a piece writes, without the marks of its place in a word."""
        if self._in_bytes:
            text: str = decoders.ByteLevel().decode([piece])
            return text.removeprefix(" ") or text
        inner = piece.removeprefix(self._prefix).removesuffix(self._suffix)
        return inner.removeprefix(_SPACE) or inner

    def _merged(self, piece: str, ranks: Mapping[tuple[str, ...], int]) -> set[str]:
        """Return all that stands in a word at some step while BPE merges it to `piece`."""
        word = self._letters(piece)
        parts = set(word)
        never = len(ranks)
        while len(word) > 1:
            found = [(ranks.get(pair, never), at) for at, pair in enumerate(pairwise(word))]
            rank, at = min(found)
            if rank == never:
                break
            word[at : at + 2] = [self._joined(word[at], word[at + 1])]
            parts.add(word[at])
        return parts

    def _letters(self, piece: str) -> list[str]:
        inner = piece.removesuffix(self._suffix)
        continues = bool(self._prefix) and inner.startswith(self._prefix)
        letters = list(inner.removeprefix(self._prefix))
        word = [
            letter if at == 0 and not continues else self._prefix + letter
            for at, letter in enumerate(letters)
        ]
        if word and inner != piece:
            word[-1] += self._suffix
        return word

    def _joined(self, left: str, right: str) -> str:
        return left + right.removeprefix(self._prefix)

    def _stays(self, merge: list[str]) -> bool:
        left, right = merge
        vocabulary: dict[str, int] = self.model["vocab"]
        return {left, right, self._joined(left, right)} <= vocabulary.keys()


def _framing(processor: Any) -> Iterable[int]:
    """Yield the numbers of the tokens that a post-processor puts around texts."""
    found: list[int] = []

    def note(number: int) -> int:
        found.append(number)
        return number

    _walk(processor, note)
    return found


def _renumbered(processor: Any, numbers: Mapping[int, int]) -> Any:
    return _walk(processor, numbers.__getitem__)


def _walk(processor: Any, change: Callable[[int], int]) -> Any:
    """Return a post-processor with each token's number changed."""
    if processor is None:
        return None
    changed = dict(processor)
    for end in ("sep", "cls"):
        if end in changed:
            changed[end] = [changed[end][0], change(changed[end][1])]
    if isinstance(changed.get("special_tokens"), dict):
        changed["special_tokens"] = {
            name: {**token, "ids": [change(number) for number in token["ids"]]}
            for name, token in changed["special_tokens"].items()
        }
    if "processors" in changed:
        changed["processors"] = [_walk(one, change) for one in changed["processors"]]
    return changed


COMMON_SCRIPTS = ""  # punctuation, symbols, spaces, ASCII digits, accents: they go with any script

_ANY_SCRIPT = {"DIGIT", "COMBINING"}  # how the names of such digits and accents begin


def script_of(character: str) -> str:
    """Return the script of one character, by the first word of its Unicode name.

    >>> [script_of(each) for each in "क९a7,"]
    ['DEVANAGARI', 'DEVANAGARI', 'LATIN', '', '']
    """
    if unicodedata.category(character)[0] not in "LM" and not character.isdecimal():
        return COMMON_SCRIPTS
    first = unicodedata.name(character, "").partition(" ")[0]
    return COMMON_SCRIPTS if first in _ANY_SCRIPT else first


def scripts_of(characters: Iterable[str]) -> set[str]:
    """Return the scripts of characters; `COMMON_SCRIPTS` is always among them."""
    return {COMMON_SCRIPTS, *map(script_of, characters)}
