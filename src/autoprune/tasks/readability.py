"""Unknown tokens: what of the texts a tokenizer cannot read, merges, or has no room for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprune.errors import quote
from autoprune.tasks.task import LabelledRows, RowKey
from autoprune.tasks.tokenization import EncodedSplit

WARN_FROM = 0.05
"""Share of unknown tokens, of equal texts and of cut texts from which there is a warning."""

REFUSE_FROM = 0.5
"""Share of unknown tokens from which a study is refused."""

_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)  # that a warning proposes


@dataclass(frozen=True, slots=True, eq=False)
class Readability:
    """How a tokenizer reads the train and validation texts.

    `unknown` of `tokens` (without special tokens) stand for what it does not know; `equal` of
    `texts` different texts have the same tokens as another, such as the two of `example`, and
    `contradicting` of these have another label than one that is equal; `lengths` are those of the
    rows in tokens, of which `limit` are read, and `longest` could be.
    """

    tokenizer: str
    tokens: int
    unknown: int
    texts: int
    equal: int
    contradicting: int
    example: tuple[str, str] | None
    lengths: NDArray[np.int64]
    limit: int
    longest: int

    @property
    def unknown_share(self) -> float:
        """The share of tokens that are unknown."""
        return self.unknown / max(1, self.tokens)

    @property
    def equal_share(self) -> float:
        """The share of different texts that have the same tokens as another."""
        return self.equal / max(1, self.texts)

    def cut_share(self, limit: int) -> float:
        """Return the share of texts that have more than `limit` tokens."""
        return float((self.lengths > limit).mean()) if len(self.lengths) else 0.0

    @property
    def note(self) -> str:
        """The three shares in one sentence."""
        return (
            f"{self.tokenizer} reads train and validation with {self.unknown_share:.1%} unknown "
            f"tokens, {self.equal_share:.1%} of different texts as the same tokens as another"
            f"{self._contradicting}, {self.cut_share(self.limit):.1%} of texts cut off at "
            f"{self.limit} tokens"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each share that is too large, with what to do."""
        found = []
        if self.unknown_share >= WARN_FROM:
            found.append(f"{self.unknown_problem}: {_ANOTHER_MODEL}")
        if self.equal_share >= WARN_FROM and self.example:
            first, second = map(quote, self.example)
            found.append(
                f"{self.tokenizer} reads {self.equal_share:.1%} of different texts as the same "
                f"tokens as another, such as {first} and {second}{self._contradicting}: choose a "
                "model whose tokenizer keeps them apart (cased, with accents and vowel signs)"
            )
        cut = self.cut_share(self.limit)
        if cut >= WARN_FROM and self.limit < self.longest:
            better = [each for each in (*_LENGTHS, self.longest) if self.limit < each]
            better = [min(each, self.longest) for each in better]
            enough = next((n for n in better if self.cut_share(n) < WARN_FROM), self.longest)
            found.append(
                f"{cut:.1%} of texts have more than {self.limit} tokens for {self.tokenizer} and "
                f"are cut off there: --tokens {enough} cuts {self.cut_share(enough):.1%}"
            )
        return tuple(found)

    @property
    def unknown_problem(self) -> str:
        """What is wrong where too many tokens are unknown."""
        return (
            f"the tokenizer of {self.tokenizer} does not know {self.unknown_share:.1%} of the "
            "tokens of the train and validation texts"
        )

    @property
    def _contradicting(self) -> str:
        if not self.contradicting:
            return ""
        return f" ({self.contradicting:,} with different labels, which cannot be learned)"


_ANOTHER_MODEL = "choose a model whose vocabulary is of their language and script"


def refusal(readability: Readability) -> str | None:
    """Return why a study is refused: most tokens are unknown; else None."""
    if readability.unknown_share < REFUSE_FROM:
        return None
    return (
        f"{readability.unknown_problem}: {_ANOTHER_MODEL}, or give --allow-unknown-tokens to go on"
    )


def measure_readability(
    tokenizer: str,
    splits: Sequence[tuple[LabelledRows, EncodedSplit]],
    limit: int,
    longest: int,
) -> Readability:
    """Return how the model named `tokenizer` reads the rows of `splits`."""
    labels: dict[int, dict[RowKey, set[int]]] = {}  # of each text, by the hash of its tokens
    lengths = []
    for rows, encoded in splits:
        assert encoded.digests is not None, "the rows were tokenized here"
        assert encoded.whole_lengths is not None, "the rows were tokenized here"
        lengths.append(encoded.whole_lengths)
        pairs = rows.pairs or (None,) * len(rows)
        for digest, text, pair, label in zip(
            encoded.digests.tolist(), rows.texts, pairs, rows.labels, strict=True
        ):
            labels.setdefault(digest, {}).setdefault((text, pair), set()).add(label)
    equal = [texts for texts in labels.values() if len(texts) > 1]
    contradicting = [texts for texts in equal if len(set().union(*texts.values())) > 1]
    examples = [_text(key) for texts in (*contradicting, *equal)[:1] for key in texts]
    return Readability(
        tokenizer=tokenizer,
        tokens=sum(len(rows.ids) - rows.special * len(rows) for _, rows in splits),
        unknown=sum(rows.unknown for _, rows in splits),
        texts=sum(map(len, labels.values())),
        equal=sum(map(len, equal)),
        contradicting=sum(map(len, contradicting)),
        example=(examples[0], examples[1]) if examples else None,
        lengths=np.concatenate(lengths),
        limit=limit,
        longest=longest,
    )


def _text(key: RowKey) -> str:
    return key[0] if key[1] is None else f"{key[0]} / {key[1]}"
