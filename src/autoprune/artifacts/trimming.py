"""Trimming: a model and its tokenizer cut to the tokens that texts use."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.artifacts.pieces import Pieces
from autoprune.artifacts.scripts import script_of, scripts_of
from autoprune.artifacts.silence import silence
from autoprune.encoders.vocabulary import touched
from autoprune.errors import ModelError

CHUNK = 1_000  # texts that are tokenised together
CHECKED = 10_000  # texts whose tokens are compared before and after
_READ = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


@dataclass(frozen=True, slots=True, eq=False)
class Trimmed:
    """A tokenizer of which new token `i` was token `kept[i]`, a rising number.

    `before` and `after` are sizes of the vocabulary, `unknown_...` the shares of unknown tokens on
    the held-out texts.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: NDArray[np.int64]
    before: int
    after: int
    unknown_before: float
    unknown_after: float


def trim(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    held_out: Sequence[str],
) -> Trimmed:
    """Cut `model` in place, and a copy of `tokenizer`, to the tokens that `texts` use.

    Special tokens stay, and single characters of the scripts seen, so that other texts can still
    be written. Tokens of `texts` and logits on them do not change. Raises `ModelError` for
    tokenizers that cannot be cut.
    """
    backend = _backend(tokenizer)
    pieces = Pieces(backend)
    used, characters, first = _used(backend, texts)
    seen = scripts_of(_as_read(backend, characters))
    used |= pieces.always() | set(tokenizer.all_special_ids)
    used |= {number for text, number in pieces.characters() if script_of(text) in seen}
    used |= set(_named(model).values()) & set(pieces.numbers.values())
    ids = np.array(sorted(pieces.with_parts(used)), dtype=np.int32)
    kept = touched(_counted_pad(model, tokenizer), ids)
    numbers = {int(old): new for new, old in enumerate(kept)}
    cut = _rewritten(tokenizer, pieces.cut(numbers), numbers)
    after = _backend(cut)
    _check_same(backend, after, numbers, first)
    _cut_model(model, kept, numbers)
    return Trimmed(
        tokenizer=cut,
        kept=kept,
        before=len(tokenizer),
        after=len(cut),
        unknown_before=_unknown(backend, tokenizer, held_out),
        unknown_after=_unknown(after, cut, held_out),
    )


def check_trimmable(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ModelError` for a tokenizer whose vocabulary cannot be cut."""
    Pieces(_backend(tokenizer))


def _backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy of a fast tokenizer's own, which neither cuts off nor pads."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(inner, Tokenizer):
        raise ModelError(
            "--trim-vocabulary is for fast tokenizers (tokenizer.json), this one is a "
            f"{type(tokenizer).__name__}"
        )
    backend: Tokenizer = Tokenizer.from_str(inner.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _ids(backend: Tokenizer, texts: Iterable[str]) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Yield texts in chunks, and the tokens of each without special ones."""
    rest = iter(texts)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk, [one.ids for one in backend.encode_batch(chunk, add_special_tokens=False)]


def _used(backend: Tokenizer, texts: Iterable[str]) -> tuple[set[int], set[str], list[str]]:
    """Return the tokens and the characters of all texts, and the first `CHECKED` texts."""
    used: set[int] = set()
    characters: set[str] = set()
    first: list[str] = []
    for chunk, rows in _ids(backend, texts):
        used.update(*rows)
        characters.update(*chunk)
        if len(first) < CHECKED:
            first += chunk
    return used, characters, first


def _as_read(backend: Tokenizer, characters: set[str]) -> set[str]:
    """Return characters as they are, and what the tokenizer makes of each before it cuts."""
    if backend.normalizer is None:
        return characters
    return characters.union(*(backend.normalizer.normalize_str(each) for each in characters))


def _counted_pad(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the padding's number where positions are counted from it, else 0.

    Such a model has a place for each position behind that number, so it is a small one.
    """
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int), "a task's rows were padded"
    return pad if pad < getattr(model.config, "max_position_embeddings", 0) else 0


def _named(model: PreTrainedModel) -> dict[str, int]:
    """Return the tokens that the model's config names by number, `sep_token_id` say."""
    entries = model.config.to_dict().items()
    return {name: at for name, at in entries if name.endswith("_token_id") and type(at) is int}


def _rewritten(
    tokenizer: PreTrainedTokenizerBase, spec: str, numbers: Mapping[int, int]
) -> PreTrainedTokenizerBase:
    """Return `tokenizer` as it would be read from a folder whose `tokenizer.json` is `spec`."""
    with tempfile.TemporaryDirectory() as place, silence():
        folder = Path(place)
        tokenizer.save_pretrained(folder)
        for path in folder.iterdir():
            if path.name not in _READ:  # the vocabulary in the slow tokenizer's form
                path.unlink()
        folder.joinpath("tokenizer.json").write_text(spec, encoding="utf-8")
        config = folder / "tokenizer_config.json"
        entries: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        if "added_tokens_decoder" in entries:
            old = {int(at): token for at, token in entries["added_tokens_decoder"].items()}
            entries["added_tokens_decoder"] = {
                str(numbers[at]): token for at, token in old.items() if at in numbers
            }
            config.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
        cut: PreTrainedTokenizerBase = type(tokenizer).from_pretrained(folder)
    cut.name_or_path = tokenizer.name_or_path
    return cut


def _check_same(
    before: Tokenizer, after: Tokenizer, numbers: Mapping[int, int], texts: Sequence[str]
) -> None:
    """Raise `ModelError` unless texts have the same tokens as before, by their new numbers."""
    for (chunk, wanted), (_, got) in zip(_ids(before, texts), _ids(after, texts), strict=True):
        for text, old, new in zip(chunk, wanted, got, strict=True):
            if [numbers[token] for token in old] != new:
                raise ModelError(
                    "this tokenizer cannot be cut, it would write a text of the task in other "
                    f"tokens: {text[:60]!r}; export without --trim-vocabulary"
                )


def _cut_model(model: PreTrainedModel, kept: NDArray[np.int64], numbers: Mapping[int, int]) -> None:
    """Leave only the embedding rows `kept`, and say so in the config."""
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding), "an encoder looks its tokens up in a table"
    if kept[-1] >= len(table.weight):
        raise ModelError(
            f"the tokenizer has a token {kept[-1]}, the model only {len(table.weight)} tokens: "
            "export without --trim-vocabulary"
        )
    rows = table.weight.detach()[torch.from_numpy(kept)].clone()
    pad = None if table.padding_idx is None else numbers.get(table.padding_idx)
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pad))
    for name, old in _named(model).items():
        setattr(model.config, name, numbers.get(old))
    model.config.vocab_size = len(kept)


def _unknown(backend: Tokenizer, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Return the share of unknown tokens among all of texts; 0 where there is no such token."""
    unknown, total = 0, 0
    for _, rows in _ids(backend, texts):
        total += sum(map(len, rows))
        unknown += sum(row.count(tokenizer.unk_token_id) for row in rows)
    return unknown / total if total else 0.0
