"""Tokenizer: loaded from a model's folder, and checked where transformers has to convert it."""

from pathlib import Path

from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from autoprune.encoders.config import silence_libraries
from autoprune.encoders.files import VOCABULARY_FILES
from autoprune.encoders.registry import EncoderFiles
from autoprune.errors import ModelError, first_line


def load_tokenizer(checkpoint: EncoderFiles) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer, the fast one where there is one; raises `ModelError`."""
    model = _only_sentencepiece(checkpoint)
    try:
        with silence_libraries():
            if model is not None:  # transformers would take what it cannot read for another format
                SentencePieceProcessor(model_file=str(model))
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                trust_remote_code=checkpoint.trust_remote_code,
            )
            tokenizer("a")
            min(1, tokenizer.model_max_length)  # raises where the file holds no number
    except Exception as error:  # the tokenizers library raises no other class
        files = model.name if model else "tokenizer.json and tokenizer_config.json"
        raise ModelError(
            f"cannot load the tokenizer of {checkpoint.encoder}: {first_line(error)}; fetch "
            f"{files} again, or save them again"
        ) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if model is not None:
        _check_pieces(model, tokenizer)
    return tokenizer


def _only_sentencepiece(checkpoint: EncoderFiles) -> Path | None:
    """Return the SentencePiece model of a folder without any other vocabulary."""
    if any((checkpoint.folder / name).is_file() for name in VOCABULARY_FILES):
        return None
    return min(checkpoint.folder.glob("*.model"), default=None)


def _check_pieces(model: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that transformers made of a SentencePiece model without its pieces.

    It does so where the family's tokenizer is of another kind, and loses special tokens of some.
    """
    pieces = SentencePieceProcessor(model_file=str(model))
    known, size = tokenizer.get_vocab(), pieces.get_piece_size()
    normal = [n for n in range(size) if not (pieces.is_control(n) or pieces.is_unknown(n))]
    lost = [piece for piece in map(pieces.id_to_piece, normal) if piece not in known]
    unknown = tokenizer("\U0010fffd", add_special_tokens=False)["input_ids"]
    has_unknown = tokenizer.unk_token_id in unknown or any(map(pieces.is_byte, range(size)))
    if lost or not has_unknown or not tokenizer.num_special_tokens_to_add():
        raise ModelError(
            f"transformers cannot read {model} as a tokenizer of this kind of model "
            f"({type(tokenizer).__name__}): save the tokenizer as tokenizer.json there, from where "
            "it works"
        )
