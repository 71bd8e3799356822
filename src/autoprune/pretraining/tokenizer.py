"""Word pieces: the tokenizer, trained on the corpus or taken from another model."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import WordPieceTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autoprune.encoders.files import UNREADABLE, first_line
from autoprune.errors import ModelError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

LONGEST_INPUT = 512

_COMMON = 1000  # characters that get a piece of their own, at most


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer with at most `size` pieces, BERT's special ones among them.

    In NFC and lower case. BERT's own normalizer would take the vowel signs of Marathi for accents
    and strip them. Ties between pieces are broken by chance, which the library offers no seed for.
    """
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=size,
        # Each may also get a piece inside a word, and all of them count against `size`.
        limit_alphabet=max(1, min(_COMMON, (size - len(SPECIAL)) // 4)),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    ends = [(name, SPECIAL.index(name)) for name in ("[SEP]", "[CLS]")]
    pieces.post_processor = processors.BertProcessing(*ends)
    pieces.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LONGEST_INPUT,
    )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer in `folder`; raises `ModelError` for one that cannot be trained with."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except UNREADABLE as error:
        raise ModelError(f"cannot read a tokenizer in {folder}: {first_line(error)}") from error
    return check_tokenizer(tokenizer, str(folder))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerFast:
    """Return `tokenizer` if it is a fast one with all special tokens; raises `ModelError`."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"pre-training needs a tokenizer that tells words apart, {name} has none")
    for kind in ("pad", "unk", "cls", "sep", "mask"):
        if getattr(tokenizer, f"{kind}_token_id") is None:
            raise ModelError(f"pre-training needs a {kind} token, the tokenizer of {name} has none")
    return tokenizer
