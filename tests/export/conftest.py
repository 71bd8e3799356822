"""A tiny model of any family on a tiny task, fine-tuned for a few steps, as an export meets it."""

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from autoprune.encoders.embeddings import used_token_ids
from autoprune.encoders.files import read_checkpoint
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.export.final_training import VerificationSample, draw_sample, train_final_model
from autoprune.tasks.task import CleaningReport, LabelledRows, Splits, TestSplit
from autoprune.tasks.tokenization import EncodedSplit, encode, remap_tokens
from autoprune.training.budget import Budget
from autoprune.training.evaluator import LayoutEvaluator
from tiny_models import FAMILIES, NUMBERS, SPECIAL, save_model


# Which machines would train in bfloat16 is not what is tested here. Others hold what runs in this
# process against processes of their own, which must choose alike: so it ends with each module.
@pytest.fixture(scope="module", autouse=True)
def no_bfloat16():
    with pytest.MonkeyPatch.context() as patch:
        # Not the function that others import: who did so meanwhile would keep the one put here.
        patch.setattr("autoprune.training.devices._gain", lambda: 1.0)
        yield


LABELS = ("खेळ", "राज्य", "देश")
PIECES = [*SPECIAL, *NUMBERS, *"abcxyz123.,", *(f"##{letter}" for letter in "abcxyz123"), "cab"]
TOKENS = 12
BUDGET = Budget(steps=5, batch=8, tokens=TOKENS, learning_rate=0.02, checks=1)


def tiny_wordpiece():
    """Return a tokenizer of 36 pieces that writes any word made of six letters, in any case."""
    tokenizer = Tokenizer(
        models.WordPiece({piece: place for place, piece in enumerate(PIECES)}, unk_token="[UNK]")
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
    return tuple(" ".join(draw.choices(words, k=1 + place % 14)) for place in range(count))


def rows(count, seed):
    return LabelledRows(texts(count, seed), tuple(place % 3 for place in range(count)))


def cleaned(split, count):
    return CleaningReport(split, count, 0, 0, 0, 0, count)


@dataclass(frozen=True)
class Place:
    """Everything an export starts from, for one tiny model."""

    checkpoint: EncoderFiles
    tokenizer: Any
    splits: Splits
    test: TestSplit
    encoded: EncodedSplit
    bench: LayoutEvaluator
    sample: VerificationSample

    def train(self, layout, seed=5):
        kept = np.array(self.test.kept)
        return train_final_model(self.bench, layout, seed, self.encoded, kept, self.sample.encoded)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Return a function that makes the place of a family, once."""
    made = {}

    def make(family):
        if family not in made:
            folder = save_model(family, tmp_path_factory.mktemp("models") / f"tiny-{family}")
            tiny_wordpiece().save_pretrained(folder)
            made[family] = place_of(folder)
        return made[family]

    return make


def place_of(folder):
    splits = Splits(
        LABELS, rows(40, 1), rows(20, 2), (cleaned("train", 40), cleaned("validation", 20)), "f1"
    )
    held_out = rows(24, 3)
    test = TestSplit(held_out, (True,) * 22 + (False,) * 2, cleaned("test", 24), "f2")
    checkpoint = read_checkpoint(Encoder(folder.name, str(folder)), folder)
    tokenizer = load_tokenizer(checkpoint)
    encoded = [encode(r, tokenizer, TOKENS) for r in (splits.train, splits.validation, held_out)]
    kept = used_token_ids(encoded[0].pad_id, *(one.ids for one in encoded))
    train, validation, tested = (remap_tokens(one, kept) for one in encoded)
    load = partial(load_classifier, checkpoint, LABELS)
    bench = LayoutEvaluator(load, train, validation, BUDGET, torch.device("cpu"))
    chosen = draw_sample(splits, test, tokenizer, TOKENS, kept)
    return Place(checkpoint, tokenizer, splits, test, tested, bench, chosen)


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return request.param
