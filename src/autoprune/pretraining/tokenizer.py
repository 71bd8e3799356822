"""Tokenizer for pre-training: WordPiece, trained on the corpus, or taken from another model."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import WordPieceTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autoprune.encoders.config import UNREADABLE
from autoprune.errors import ModelError, first_line

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

LONGEST_INPUT = 512  # tokens

_MAX_ALPHABET = 1000  # characters that get a token of their own


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer with at most `size` tokens, BERT's special tokens included.

    Texts are changed to NFC and lower case. BERT's own normalizer would take the vowel signs of
    Marathi for accents and remove them. The library breaks ties between tokens at random and takes
    no seed.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=size,
        # A character may also get a token inside a word; all of them count against `size`.
        limit_alphabet=max(1, min(_MAX_ALPHABET, (size - len(SPECIAL)) // 4)),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LONGEST_INPUT,
    )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer in `folder`. Raises `ModelError` where it does not fit pre-training."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except UNREADABLE as error:
        raise ModelError(f"cannot read a tokenizer in {folder}: {first_line(error)}") from error
    return check_tokenizer(tokenizer, str(folder))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerFast:
    """Return `tokenizer` if it is a fast one with all special tokens. Raises `ModelError`."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"pre-training needs a fast tokenizer (tokenizer.json), {name} has none: "
            "name another model"
        )
    for kind in ("pad", "unk", "cls", "sep", "mask"):
        if getattr(tokenizer, f"{kind}_token_id") is None:
            raise ModelError(
                f"pre-training needs a {kind} token, the tokenizer of {name} has none: name "
                "another model"
            )
    return tokenizer
