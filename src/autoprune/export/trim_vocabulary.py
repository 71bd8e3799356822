"""Vocabulary trimming: a model and its tokenizer are cut to the tokens that texts use."""

import copy
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.config import silence_libraries
from autoprune.encoders.profiling import count_parameters
from autoprune.encoders.pruning import used_token_ids
from autoprune.errors import DataError, ModelError, format_count
from autoprune.export.tokenizer_vocab import VocabularyPieces, script_of, scripts_of
from autoprune.tasks.task import LabelledRows, Splits, TestSplit
from autoprune.tasks.text_lines import read_corpus

HELD_OUT_INTERVAL = 10  # every so many lines of a corpus, one is held out

MAX_HELD_OUT_TEXTS = 10_000  # more would change no figure that is shown

MAX_CHECKED = 10_000  # texts whose tokens are compared before and after

TRIM_CHUNK = 1_000  # texts that are tokenized together

_TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


@dataclass(frozen=True, slots=True, eq=False)
class TrimmedVocabulary:
    """A tokenizer with fewer tokens; `numbers` has the new number of each kept one, rising.

    `before` and `after` are the sizes of the vocabulary, `unknown_before` and `unknown_after` the
    shares of unknown tokens in the held-out texts.
    """

    tokenizer: PreTrainedTokenizerBase
    numbers: dict[int, int]
    before: int
    after: int
    unknown_before: float
    unknown_after: float


def cut_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    corpus: Sequence[Path],
) -> tuple[TrimmedVocabulary, tuple[str, ...]]:
    """Cut `model` in place to the tokens of all texts of the task and of the files `corpus`.

    Returns the cut vocabulary, and sentences on what was cut.

    The texts of the task keep all their tokens, so they cannot show what happens to new texts.
    With a corpus, every tenth of its lines is held out to measure that. Without one, a second cut
    to the train texts alone is measured on those of validation and test. Raises `DataError` for
    unreadable files.
    """
    before = count_parameters(model).total
    texts = [*_texts(splits.train), *_texts(splits.validation), *_texts(test.rows)]
    if corpus:
        held_out = [text for text, is_held_out in _read_lines(corpus) if is_held_out]
        held_out = held_out[:MAX_HELD_OUT_TEXTS]
        used = (text for text, is_held_out in _read_lines(corpus) if not is_held_out)
        cut = trim_tokenizer(model, tokenizer, chain(texts, used), held_out)
        measured, source = (
            cut,
            f"{format_count(len(held_out), 'line')} of the corpus left out for it",
        )
    else:
        held_out = [*_texts(splits.validation), *_texts(test.rows)][:MAX_HELD_OUT_TEXTS]
        measured = trim_tokenizer(copy.deepcopy(model), tokenizer, _texts(splits.train), held_out)
        cut = trim_tokenizer(model, tokenizer, texts, held_out)
        source = "validation and test texts, by a cut to the train texts alone"
    after = count_parameters(model).total
    pieces = [_mean_tokens(each, held_out) for each in (tokenizer, measured.tokenizer)]
    vocabulary = f"Vocabulary cut from {cut.before:,} to {cut.after:,} tokens. " + (
        f"On held-out text ({source}): {measured.unknown_before * 100:.2f} % unknown tokens "
        f"before, {measured.unknown_after * 100:.2f} % after; {pieces[0]:.1f} tokens a text "
        f"before, {pieces[1]:.1f} after."
        if held_out
        else f"What new texts lose was not measured: fewer than {HELD_OUT_INTERVAL} lines of text."
    )
    weights = f"Weights cut from {before * 4 / 1e6:.1f} to {after * 4 / 1e6:.1f} MB."
    return cut, (vocabulary, weights)


def check_corpus(corpus: Sequence[Path]) -> None:
    """Raise `DataError` for a file of the corpus that cannot be read, or has no text."""
    for path in corpus:
        if next(_read_lines([path]), None) is None:
            raise DataError(f"a corpus is a text file with one text per line, {path} has none")


def check_trimmable(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ModelError` for a tokenizer whose vocabulary cannot be cut."""
    VocabularyPieces(_backend(tokenizer))


def _read_lines(corpus: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield the lines with a text, and whether each is held out."""
    for path in corpus:
        for number, text in enumerate(read_corpus(path), start=1):
            yield text, number % HELD_OUT_INTERVAL == 0


def _texts(rows: LabelledRows) -> list[str]:
    return [*rows.texts, *(rows.pairs or ())]


def _mean_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Return the mean number of tokens of a text."""
    if not texts:
        return 0.0
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return sum(map(len, rows)) / len(rows)


def trim_tokenizer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    held_out: Sequence[str],
    keeps: Callable[[str], bool] = lambda _: True,
) -> TrimmedVocabulary:
    """Cut `model` in place, and a copy of `tokenizer`, to the tokens that `texts` use.

    Special tokens stay, and single characters of the scripts in use (those for which `keeps` is
    true), so that other texts can still be encoded. The tokens of `texts` and the logits on them do
    not change. Raises `ModelError` for tokenizers that cannot be cut.
    """
    backend = _backend(tokenizer)
    pieces = VocabularyPieces(backend)
    used, characters, checked = _count_used(backend, texts)
    if backend.normalizer is not None:
        characters = characters.union(*map(backend.normalizer.normalize_str, characters))
    scripts = scripts_of(characters)
    used |= pieces.always() | set(tokenizer.all_special_ids)
    used |= {
        number for text, number in pieces.characters() if script_of(text) in scripts and keeps(text)
    }
    used |= set(_config_tokens(model).values()) & set(pieces.numbers.values())
    ids = np.array(sorted(pieces.with_parts(used)), dtype=np.int32)
    kept = used_token_ids(_position_padding(model, tokenizer), ids)
    numbers = {int(old): new for new, old in enumerate(kept)}
    trimmed = _rewrite_tokenizer(tokenizer, pieces.cut(numbers), numbers)
    trimmed_backend = _backend(trimmed)
    _check_same_tokens(backend, trimmed_backend, numbers, checked)
    _cut_model(model, numbers)
    return TrimmedVocabulary(
        tokenizer=trimmed,
        numbers=numbers,
        before=len(tokenizer),
        after=len(trimmed),
        unknown_before=_unknown_share(backend, tokenizer, held_out),
        unknown_after=_unknown_share(trimmed_backend, trimmed, held_out),
    )


def _backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy of the backend of a fast tokenizer, without truncation and padding."""
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


def _encode(
    backend: Tokenizer, texts: Iterable[str]
) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Yield texts in chunks, and the tokens of each without special ones."""
    rest = iter(texts)
    while chunk := list(islice(rest, TRIM_CHUNK)):
        yield chunk, [row.ids for row in backend.encode_batch(chunk, add_special_tokens=False)]


def _count_used(backend: Tokenizer, texts: Iterable[str]) -> tuple[set[int], set[str], list[str]]:
    """Return the tokens and the characters of all texts, and the first `MAX_CHECKED` texts."""
    used: set[int] = set()
    characters: set[str] = set()
    first: list[str] = []
    for chunk, rows in _encode(backend, texts):
        used.update(*rows)
        characters.update(*chunk)
        if len(first) < MAX_CHECKED:
            first += chunk
    return used, characters, first


def _position_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the padding's number where positions are counted from it (RoBERTa), else 0.

    Such a model has a position for each place after that number, so the number is small.
    """
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int), "a task's rows were padded"
    return pad if pad < getattr(model.config, "max_position_embeddings", 0) else 0


def _config_tokens(model: PreTrainedModel) -> dict[str, int]:
    """Return the tokens that the model's config holds by number, such as `sep_token_id`."""
    return {
        name: number
        for name, number in model.config.to_dict().items()
        if name.endswith("_token_id") and type(number) is int
    }


def _rewrite_tokenizer(
    tokenizer: PreTrainedTokenizerBase, spec: str, numbers: Mapping[int, int]
) -> PreTrainedTokenizerBase:
    """Return `tokenizer` as it would be read from a folder whose `tokenizer.json` is `spec`."""
    with tempfile.TemporaryDirectory() as path, silence_libraries():
        folder = Path(path)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            if file.name not in _TOKENIZER_FILES:  # the vocabulary in the slow tokenizer's form
                file.unlink()
        folder.joinpath("tokenizer.json").write_text(spec, encoding="utf-8")
        config = folder / "tokenizer_config.json"
        entries: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        if "added_tokens_decoder" in entries:
            entries["added_tokens_decoder"] = {
                str(numbers[int(number)]): token
                for number, token in entries["added_tokens_decoder"].items()
                if int(number) in numbers
            }
            config.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
        rewritten: PreTrainedTokenizerBase = type(tokenizer).from_pretrained(folder)
    rewritten.name_or_path = tokenizer.name_or_path
    return rewritten


def _check_same_tokens(
    before: Tokenizer, after: Tokenizer, numbers: Mapping[int, int], texts: Sequence[str]
) -> None:
    """Raise `ModelError` unless texts have the same tokens as before, by their new numbers."""
    for (chunk, expected), (_, actual) in zip(
        _encode(before, texts), _encode(after, texts), strict=True
    ):
        for text, old, new in zip(chunk, expected, actual, strict=True):
            if [numbers[token] for token in old] != new:
                raise ModelError(
                    "this tokenizer cannot be cut, it would write a text of the task in other "
                    f"tokens: {text[:60]!r}; export without --trim-vocabulary"
                )


def _cut_model(model: PreTrainedModel, numbers: Mapping[int, int]) -> None:
    """Leave only the embedding rows of kept tokens, and change the config accordingly."""
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding), "an encoder has a table of token embeddings"
    kept = list(numbers)
    if kept[-1] >= len(table.weight):
        raise ModelError(
            f"the tokenizer has a token {kept[-1]}, the model only {len(table.weight)} tokens: "
            "export without --trim-vocabulary"
        )
    rows = table.weight.detach()[torch.tensor(kept)].clone()
    pad = None if table.padding_idx is None else numbers.get(table.padding_idx)
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=pad))
    for name, old in _config_tokens(model).items():
        setattr(model.config, name, numbers.get(old))
    model.config.vocab_size = len(kept)


def _unknown_share(
    backend: Tokenizer, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> float:
    """Return the share of unknown tokens in texts; 0 where there is no unknown token."""
    unknown, total = 0, 0
    for _, rows in _encode(backend, texts):
        total += sum(map(len, rows))
        unknown += sum(row.count(tokenizer.unk_token_id) for row in rows)
    return unknown / total if total else 0.0
