"""Trimming: a model and its tokenizer cut to the tokens that texts use."""

import copy
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autoprune.encoders.embeddings import used_token_ids
from autoprune.encoders.files import silence_libraries
from autoprune.errors import ModelError, OptionError
from autoprune.export.tokenizer_vocab import VocabularyPieces, script_of, scripts_of
from autoprune.tasks.task import LabelledRows, Splits, TestSplit

TRIM_CHUNK = 1_000  # texts that are tokenised together

MAX_CHECKED = 10_000  # texts whose tokens are compared before and after

_READ = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


@dataclass(frozen=True, slots=True, eq=False)
class TrimmedVocabulary:
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


def trim_tokenizer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    held_out: Sequence[str],
) -> TrimmedVocabulary:
    """Cut `model` in place, and a copy of `tokenizer`, to the tokens that `texts` use.

    Special tokens stay, and single characters of the scripts seen, so that other texts can still
    be written. Tokens of `texts` and logits on them do not change. Raises `ModelError` for
    tokenizers that cannot be cut.
    """
    backend = _backend(tokenizer)
    pieces = VocabularyPieces(backend)
    used, characters, first = _used(backend, texts)
    seen = scripts_of(_as_read(backend, characters))
    used |= pieces.always() | set(tokenizer.all_special_ids)
    used |= {number for text, number in pieces.characters() if script_of(text) in seen}
    used |= set(_named(model).values()) & set(pieces.numbers.values())
    ids = np.array(sorted(pieces.with_parts(used)), dtype=np.int32)
    kept = used_token_ids(_counted_pad(model, tokenizer), ids)
    numbers = {int(old): new for new, old in enumerate(kept)}
    cut = _rewritten(tokenizer, pieces.cut(numbers), numbers)
    after = _backend(cut)
    _check_same(backend, after, numbers, first)
    _cut_model(model, kept, numbers)
    return TrimmedVocabulary(
        tokenizer=cut,
        kept=kept,
        before=len(tokenizer),
        after=len(cut),
        unknown_before=_unknown(backend, tokenizer, held_out),
        unknown_after=_unknown(after, cut, held_out),
    )


def check_trimmable(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise `ModelError` for a tokenizer whose vocabulary cannot be cut."""
    VocabularyPieces(_backend(tokenizer))


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
    while chunk := list(islice(rest, TRIM_CHUNK)):
        yield chunk, [one.ids for one in backend.encode_batch(chunk, add_special_tokens=False)]


def _used(backend: Tokenizer, texts: Iterable[str]) -> tuple[set[int], set[str], list[str]]:
    """Return the tokens and the characters of all texts, and the first `MAX_CHECKED` texts."""
    used: set[int] = set()
    characters: set[str] = set()
    first: list[str] = []
    for chunk, rows in _ids(backend, texts):
        used.update(*rows)
        characters.update(*chunk)
        if len(first) < MAX_CHECKED:
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
    with tempfile.TemporaryDirectory() as place, silence_libraries():
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


CHECK_EVERY = 10  # of a corpus, each line with such a number is held out

MAX_UNKNOWN_SHARE = 10_000  # held-out texts; more would change no figure that is shown


@dataclass(frozen=True, slots=True, eq=False)
class VocabularyCut:
    """A tokenizer with fewer tokens: new token `i` was token `kept[i]`; `note` is one sentence."""

    tokenizer: PreTrainedTokenizerBase
    kept: NDArray[np.int64]
    note: str


def cut_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    test: TestSplit,
    corpus: Sequence[Path],
) -> VocabularyCut:
    """Cut `model` in place to the tokens of all texts of the task and of the files `corpus`.

    Texts of the task all keep their tokens, so they cannot tell how new text fares. With a corpus
    every tenth of its lines is left out and judged; without one a trial cut to the train texts
    alone is judged on those of validation and test. Raises `OptionError` for unreadable files.
    """
    seen = [*_texts(splits.train), *_texts(splits.validation), *_texts(test.rows)]
    if corpus:
        held_out = [text for text, apart in _lines(corpus) if apart][:MAX_UNKNOWN_SHARE]
        kept_apart = (text for text, apart in _lines(corpus) if not apart)
        whole = trim_tokenizer(model, tokenizer, chain(seen, kept_apart), held_out)
        tried, where = whole, f"{len(held_out):,} lines of the corpus left out for it"
    else:
        held_out = [*_texts(splits.validation), *_texts(test.rows)][:MAX_UNKNOWN_SHARE]
        tried = trim_tokenizer(copy.deepcopy(model), tokenizer, _texts(splits.train), held_out)
        whole = trim_tokenizer(model, tokenizer, seen, held_out)
        where = "validation and test texts, by a cut to the train texts alone"
    pieces = _pieces(tokenizer, held_out), _pieces(tried.tokenizer, held_out)
    note = (
        f"Vocabulary cut from {whole.before:,} to {whole.after:,} tokens. On held-out text "
        f"({where}): {_share(tried.unknown_before)} unknown tokens before, "
        f"{_share(tried.unknown_after)} after; {pieces[0]:.1f} tokens a text before, "
        f"{pieces[1]:.1f} after."
    )
    return VocabularyCut(whole.tokenizer, whole.kept, note)


def check_corpus(corpus: Sequence[Path]) -> None:
    """Raise `OptionError` for a file of the corpus that cannot be read, or has no text."""
    for path in corpus:
        if next(_lines([path]), None) is None:
            raise OptionError(f"a corpus is a text file with a text a line, {path} has none")


def _lines(corpus: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield the lines with a text, and whether each is held out."""
    for path in corpus:
        try:
            with path.open(encoding="utf-8") as file:
                texts = (line.strip() for line in file)
                for number, text in enumerate(filter(None, texts), start=1):
                    yield text, number % CHECK_EVERY == 0
        except OSError as error:
            raise OptionError(f"cannot read the corpus {path}: {error.strerror}") from error
        except ValueError as error:
            raise OptionError(f"a corpus is a text file in UTF-8, {path} is not") from error


def _texts(rows: LabelledRows) -> Iterable[str]:
    return [*rows.texts, *(rows.pairs or ())]


def _share(share: float) -> str:
    return f"{share * 100:.2f} %"


def _pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Return the mean number of tokens that a text is written in."""
    if not texts:
        return 0.0
    rows = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return sum(map(len, rows)) / len(rows)
