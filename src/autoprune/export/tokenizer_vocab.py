"""Tokenizer vocabulary: the tokens of a fast tokenizer, as its `tokenizer.json` stores them."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers

from autoprune.errors import ModelError

TOKENIZER_KINDS = ("WordPiece", "BPE", "Unigram", "WordLevel")

COMMON_SCRIPTS = ""  # punctuation, symbols, spaces, ASCII digits, accents: part of any script

_ANY_SCRIPT = {"DIGIT", "COMBINING"}  # first words of the names of such digits and accents

_SPACE = "▁"  # what Unigram and BPE write for a space before a word

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a token for one byte


class VocabularyPieces:
    """The tokens of a tokenizer and their numbers, added tokens included.

    Raises `ModelError` for a kind of tokenizer that cannot be cut.
    """

    def __init__(self, backend: Tokenizer) -> None:
        self.spec: dict[str, Any] = json.loads(backend.to_str())
        self.model: dict[str, Any] = self.spec["model"]
        kind = self.model.get("type")
        if kind not in TOKENIZER_KINDS:
            raise ModelError(
                f"--trim-vocabulary is for tokenizers of the kinds {', '.join(TOKENIZER_KINDS)}, "
                f"got {kind}"
            )
        self.numbers: dict[str, int] = backend.get_vocab(with_added_tokens=True)
        steps = json.dumps([self.spec["normalizer"], self.spec["pre_tokenizer"]])
        self._is_byte_level = '"ByteLevel"' in steps
        self._prefix: str = self.model.get("continuing_subword_prefix") or ""
        self._suffix: str = self.model.get("end_of_word_suffix") or ""

    def always(self) -> set[int]:
        """Return the numbers of the tokens that any text may need, whatever its script.

        These are special tokens, those put around a text, tokens for bytes, and the one with the
        lowest score: Unigram derives the score of an unknown character from it.
        """
        kept = {token["id"] for token in self.spec["added_tokens"] if token["special"]}
        kept |= {self.numbers[name] for name in self._unknown() if name in self.numbers}
        kept |= _special_tokens(self.spec["post_processor"])
        alphabet = pre_tokenizers.ByteLevel.alphabet() if self._is_byte_level else []
        kept |= {self.numbers[piece] for piece in alphabet if piece in self.numbers}
        if self.model.get("byte_fallback"):
            kept |= {number for piece, number in self.numbers.items() if _BYTE.fullmatch(piece)}
        if self.model["type"] == "Unigram":
            scores = [score for _, score in self.model["vocab"]]
            kept.add(scores.index(min(scores)))
        return kept

    def characters(self) -> Iterable[tuple[str, int]]:
        """Yield each token that writes a single character, as that character and its number."""
        for piece, number in self.numbers.items():
            text = self._text(piece)
            if len(text) == 1 and text != "\ufffd":
                yield text, number

    def with_parts(self, numbers: Iterable[int]) -> set[int]:
        """Return `numbers` and those of all tokens that BPE merges to them, step by step.

        BPE merges a token alone as it does within a word: no merge crosses its ends. So the merges
        of these tokens encode every word made of the tokens `numbers` as before.
        """
        kept = set(numbers)
        if self.model["type"] != "BPE":
            return kept
        ranks = {tuple(merge): rank for rank, merge in enumerate(self.model["merges"])}
        names = {number: piece for piece, number in self.numbers.items()}
        for number in numbers:
            parts = self._merge_steps(names[number], ranks)
            kept |= {self.numbers[part] for part in parts if part in self.numbers}
        return kept

    def cut(self, numbers: Mapping[int, int]) -> str:
        """Return `tokenizer.json` with the tokens of `numbers` only, by their new numbers.

        Changes `spec` and `model` in place.
        """
        spec, model = self.spec, self.model
        if model["type"] == "Unigram":
            model["vocab"] = [
                entry for number, entry in enumerate(model["vocab"]) if number in numbers
            ]
            if model["unk_id"] is not None:
                model["unk_id"] = numbers[model["unk_id"]]
        else:
            old = model["vocab"].items()
            model["vocab"] = {piece: numbers[number] for piece, number in old if number in numbers}
        if model["type"] == "BPE":
            vocabulary = model["vocab"].keys()
            model["merges"] = [
                (left, right)
                for left, right in model["merges"]
                if {left, right, self._join(left, right)} <= vocabulary
            ]
        spec["added_tokens"] = [
            {**token, "id": numbers[token["id"]]}
            for token in spec["added_tokens"]
            if token["id"] in numbers
        ]
        spec["post_processor"] = _map_special_tokens(spec["post_processor"], numbers.__getitem__)
        return json.dumps(spec, ensure_ascii=False)

    def _unknown(self) -> list[str]:
        if self.model["type"] == "Unigram":
            number = self.model["unk_id"]
            return [] if number is None else [self.model["vocab"][number][0]]
        return [self.model["unk_token"]] if self.model.get("unk_token") else []

    def _text(self, piece: str) -> str:
        """Return what a token writes, without the marks of its position in a word."""
        if self._is_byte_level:
            text: str = decoders.ByteLevel().decode([piece])
            return text.removeprefix(" ") or text
        inner = piece.removeprefix(self._prefix).removesuffix(self._suffix)
        return inner.removeprefix(_SPACE) or inner

    def _merge_steps(self, piece: str, ranks: Mapping[tuple[str, ...], int]) -> set[str]:
        """Return all parts of the word at each step while BPE merges it to `piece`."""
        word = self._split_letters(piece)
        parts = set(word)
        never = len(ranks)
        while len(word) > 1:
            pairs = [(ranks.get(pair, never), index) for index, pair in enumerate(pairwise(word))]
            rank, index = min(pairs)
            if rank == never:
                break
            word[index : index + 2] = [self._join(word[index], word[index + 1])]
            parts.add(word[index])
        return parts

    def _split_letters(self, piece: str) -> list[str]:
        inner = piece.removesuffix(self._suffix)
        continues = bool(self._prefix) and inner.startswith(self._prefix)
        word = [
            letter if index == 0 and not continues else self._prefix + letter
            for index, letter in enumerate(inner.removeprefix(self._prefix))
        ]
        if word and inner != piece:
            word[-1] += self._suffix
        return word

    def _join(self, left: str, right: str) -> str:
        return left + right.removeprefix(self._prefix)


def _special_tokens(processor: Any) -> set[int]:
    """Return the numbers of the tokens that a post-processor adds to a text."""
    found: set[int] = set()

    def note(number: int) -> int:
        found.add(number)
        return number

    _map_special_tokens(processor, note)
    return found


def _map_special_tokens(processor: Any, change: Callable[[int], int]) -> Any:
    """Return a post-processor with `change` applied to the number of each token that it adds."""
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
        changed["processors"] = [
            _map_special_tokens(inner, change) for inner in changed["processors"]
        ]
    return changed


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
    """Return the scripts of characters; `COMMON_SCRIPTS` is always one of them."""
    return {COMMON_SCRIPTS, *map(script_of, characters)}
