"""A tiny model of any family on a tiny task, fine-tuned for a few steps."""

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.pruning import used_token_ids
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.export.final_training import (
    FinalTraining,
    VerificationSample,
    draw_sample,
    train_final_model,
)
from autoprune.tasks.task import CleaningReport, LabelledRows, Splits, TestSplit
from autoprune.tasks.tokenization import EncodedSplit, encode, remap_tokens
from autoprune.training.budget import Budget
from autoprune.training.evaluator import LayoutEvaluator
from tiny_models import FAMILIES, NUMBERS, SPECIAL, save_model


# Training in bfloat16 depends on the machine. The patch ends with each module, because tests of
# other modules compare this process with new ones, which must make the same choice.
@pytest.fixture(scope="module", autouse=True)
def no_bfloat16():
    with pytest.MonkeyPatch.context() as patch:
        # Not the public function: modules that import it now would keep the patched one.
        patch.setattr("autoprune.training.devices._gain", lambda: 1.0)
        yield


LABELS = ("खेळ", "राज्य", "देश")
PIECES = [*SPECIAL, *NUMBERS, *"abcxyz123.,", *(f"##{letter}" for letter in "abcxyz123"), "cab"]
TOKENS = 12
BUDGET = Budget(steps=5, batch=8, tokens=TOKENS, learning_rate=0.02, checks=1)


def tiny_wordpiece():
    """Return a tokenizer of 36 pieces that writes any word made of six letters, in any case."""
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def texts(count, seed):
    """Draw texts of 1 to 14 words; the last four of `NUMBERS` and `z` occur in none."""
    draw = random.Random(seed)
    words = [*NUMBERS[:6], "cab", "Abc", "bax", "12."]
    return tuple(" ".join(draw.choices(words, k=1 + row % 14)) for row in range(count))


def rows(count, seed):
    return LabelledRows(texts(count, seed), tuple(row % 3 for row in range(count)))


def cleaned(split, count):
    return CleaningReport(split, count, 0, 0, 0, 0, count)


@dataclass(frozen=True)
class TinyExport:
    """Everything an export starts from, for one tiny model."""

    checkpoint: EncoderFiles
    tokenizer: Any
    splits: Splits
    test: TestSplit
    encoded: EncodedSplit
    evaluator: LayoutEvaluator
    sample: VerificationSample

    def training(self, layout):
        cleaned = np.array(self.test.kept)
        return FinalTraining(self.evaluator, layout, self.encoded, cleaned, self.sample.encoded)

    def train(self, layout, seed=5):
        return train_final_model(self.training(layout), seed)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a function that makes a tiny export of a family, once."""
    made = {}

    def make(family):
        if family not in made:
            folder = save_model(family, tmp_path_factory.mktemp("models") / f"tiny-{family}")
            tiny_wordpiece().save_pretrained(folder)
            made[family] = tiny_export(folder)
        return made[family]

    return make


def tiny_export(folder):
    splits = Splits(
        LABELS, rows(40, 1), rows(20, 2), (cleaned("train", 40), cleaned("validation", 20)), "f1"
    )
    held_out = rows(24, 3)
    test = TestSplit(held_out, (True,) * 22 + (False,) * 2, cleaned("test", 24), "f2")
    checkpoint = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    tokenizer = load_tokenizer(checkpoint)
    encoded = [encode(r, tokenizer, TOKENS) for r in (splits.train, splits.validation, held_out)]
    kept = used_token_ids(encoded[0].pad_id, *(split.ids for split in encoded))
    train, validation, tested = (remap_tokens(split, kept) for split in encoded)
    load = partial(load_classifier, checkpoint, LABELS)
    evaluator = LayoutEvaluator(load, train, validation, BUDGET, torch.device("cpu"))
    sample = draw_sample(splits, test, tokenizer, TOKENS, kept)
    return TinyExport(checkpoint, tokenizer, splits, test, tested, evaluator, sample)


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return request.param
