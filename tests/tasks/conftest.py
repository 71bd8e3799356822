"""Small data sets and a small tokenizer for the tests of `tasks`."""

import csv

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


@pytest.fixture
def write(tmp_path):
    """Write rows as CSV below the test's folder and return the path."""

    def write_csv(name, rows, header=("text", "label")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write_csv


@pytest.fixture
def official(write, tmp_path):
    """Lay a small MahaNews SHC out as the official release does, and return its folder."""
    header = ("Text", "Label")
    write(
        "data/SHC/SHC_Train.csv",
        [("a", "Auto"), ("b", "Tech"), ("a", "Auto"), ("Text", "Label"), ("c", "Auto")],
        header,
    )
    write(
        "data/SHC/SHC_Valid.csv",
        [("d", "Auto"), (" d ", "Tech"), ("b", "Tech"), ("", "Auto"), ("e", "Tech")],
        header,
    )
    write(
        "data/SHC/SHC_Test.csv",
        [("f", "Auto"), ("a", "Auto"), ("d", "Tech"), ("Text", "Label"), ("f", "Tech")],
        header,
    )
    return tmp_path / "data"


@pytest.fixture(scope="session")
def tokenizer():
    """Split at white space; the words w0 to w49 are known; at most 16 tokens a row."""
    vocabulary = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{i}" for i in range(50))]
    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=16,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
