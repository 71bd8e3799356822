"""Tokenizer: one that is there as a SentencePiece model only reads texts as that model does."""

import json
import shutil

import pytest
import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from autoprune.encoders.hub import fetch
from autoprune.encoders.loading import load_classifier, load_tokenizer
from autoprune.encoders.registry import find_encoder
from autoprune.errors import ModelError
from tiny_models import NUMBERS, save_model

TEXT = "एक दोन तीन"

# The file's name, the settings of its training, and how many tokens the family adds to its pieces.
KINDS = {
    "xlm-roberta": ("sentencepiece.bpe.model", {}, 2),
    "camembert": ("sentencepiece.bpe.model", {}, 5),
    "albert": (
        "spiece.model",
        {
            **{"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1},
            "control_symbols": "[CLS],[SEP],[MASK]",
        },
        0,
    ),
    "deberta-v2": (
        "spm.model",
        {
            **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
            **{"bos_piece": "[CLS]", "eos_piece": "[SEP]"},
            **{"pad_piece": "[PAD]", "unk_piece": "[UNK]"},
        },
        1,
    ),
}


def train_sentencepiece(path, **settings):
    words = [*NUMBERS, *(f"{one} {other}" for one in NUMBERS for other in NUMBERS)]
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(words * 5),
            model_writer=file,
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
            **settings,
        )
    return SentencePieceProcessor(model_file=str(path))


@pytest.fixture
def only_sentencepiece(tmp_path):
    """Return a function that makes a model folder with a SentencePiece model only."""

    def make(family, name, settings, more=10):
        pieces = train_sentencepiece(tmp_path / name, **settings)
        sizes = {"vocab_size": pieces.get_piece_size() + more}
        folder = save_model(family, tmp_path / "pieces", **sizes)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / file).unlink(missing_ok=True)
        shutil.move(tmp_path / name, folder / name)
        return folder, pieces

    return make


@pytest.mark.parametrize("family", KINDS)
def test_model_with_sentencepiece_only_reads_as_sentencepiece(only_sentencepiece, family):
    name, settings, more = KINDS[family]
    folder, pieces = only_sentencepiece(family.replace("albert", "electra"), name, settings)
    if family == "albert":  # without keep_accents it strips the vowel signs of Marathi
        config = {"tokenizer_class": "AlbertTokenizer", "keep_accents": True}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(fetch(find_encoder(str(folder))))
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.is_fast
    assert tokenizer.convert_ids_to_tokens(ids)[1:-1] == pieces.encode(TEXT, out_type=str)
    assert [ids[0], ids[-1]] == [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert len(tokenizer) == pieces.get_piece_size() + more
    unknown = tokenizer("\U0010fffd", add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id in unknown


def test_encoder_with_sentencepiece_only_runs_and_its_file_is_in_the_fingerprint(
    only_sentencepiece,
):
    folder, _ = only_sentencepiece("xlm-roberta", "sentencepiece.bpe.model", {})
    checkpoint = fetch(find_encoder(str(folder)))
    model, tokenizer = load_classifier(checkpoint, ["a", "b"], 0), load_tokenizer(checkpoint)
    with torch.no_grad():
        logits = model(**tokenizer([TEXT], return_tensors="pt")).logits  # (1, 2)
    assert logits.shape == (1, 2)
    train_sentencepiece(folder / "sentencepiece.bpe.model", add_dummy_prefix=False)
    assert fetch(find_encoder(str(folder))).commit != checkpoint.commit


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("bert", {}),  # its tokenizer is WordPiece: all words would be unknown
        ("rembert", KINDS["deberta-v2"][1]),  # without [CLS] and [SEP], and unknown is [CLS]
    ],
)
def test_family_that_does_not_read_sentencepiece_is_refused(only_sentencepiece, family, settings):
    folder, _ = only_sentencepiece(family, "sentencepiece.model", settings)
    with pytest.raises(ModelError, match=r"save the tokenizer as tokenizer\.json") as raised:
        load_tokenizer(fetch(find_encoder(str(folder))))
    assert "\n" not in str(raised.value)
    assert str(folder / "sentencepiece.model") in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"cut off", b"version https://git-lfs.github.com/spec"])
def test_broken_sentencepiece_model_is_named_and_no_package_is_blamed(only_sentencepiece, content):
    folder, _ = only_sentencepiece("xlm-roberta", "sentencepiece.bpe.model", {})
    (folder / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(ModelError, match=r"fetch sentencepiece\.bpe\.model again") as raised:
        load_tokenizer(fetch(find_encoder(str(folder))))
    assert "\n" not in str(raised.value)
    assert "tiktoken" not in str(raised.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("depth", [200, 5000, 100_000])
def test_deep_nesting_in_a_tokenizer_is_an_error_of_one_line(bert, name, depth):
    whole = json.loads((bert / name).read_text())
    text = json.dumps({**whole, "normalizer": 0})
    nested = '{"x": ' * depth + "1" + "}" * depth
    (bert / name).write_text(text.replace('"normalizer": 0', f'"normalizer": {nested}'))
    try:
        load_tokenizer(fetch(find_encoder(str(bert))))
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        assert (name, depth) == ("tokenizer_config.json", 200)  # a field that is not used


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("tokenizer_config.json", "fast_tokenizer_files", ["../outside/tokenizer.4.0.0.json"]),
        ("special_tokens_map.json", "tokenizer_file", "outside/tokenizer.4.0.0.json"),
    ],
)
def test_tokenizer_from_elsewhere_is_refused(bert, tmp_path, monkeypatch, name, field, value):
    monkeypatch.chdir(tmp_path)
    other = json.loads((bert / "tokenizer.json").read_text())
    words = other["model"]["vocab"]
    words[NUMBERS[0]], words[NUMBERS[1]] = words[NUMBERS[1]], words[NUMBERS[0]]
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "tokenizer.4.0.0.json").write_text(json.dumps(other))
    content = json.loads((bert / "tokenizer_config.json").read_text())
    content.pop("added_tokens_decoder", None)  # it comes before the map of special tokens
    (bert / "tokenizer_config.json").write_text(json.dumps(content))
    files = fetch(find_encoder(str(bert)))
    expected = load_tokenizer(files)(TEXT)["input_ids"]
    content = json.loads((bert / name).read_text()) if (bert / name).exists() else {}
    (bert / name).write_text(json.dumps({**content, field: value}))
    for read in (lambda: fetch(find_encoder(str(bert))), lambda: load_tokenizer(files)):
        with pytest.raises(ModelError, match=f"names another file in {field}") as raised:
            assert load_tokenizer(read())(TEXT)["input_ids"] == expected
        assert str(bert / name) in str(raised.value)


def test_vocabulary_that_transformers_finds_by_itself_is_in_the_fingerprint(bert):
    before = fetch(find_encoder(str(bert))).commit
    (bert / "tekken.json").write_text("{}")
    assert fetch(find_encoder(str(bert))).commit != before


@pytest.mark.parametrize(
    "names", [["chat_template.jinja"], [f"additional_chat_templates/{n}.jinja" for n in "abc"]]
)
def test_chat_templates_beyond_all_reason_are_refused_unread(bert, names):
    files = fetch(find_encoder(str(bert)))
    for name in names:
        (bert / name).parent.mkdir(exist_ok=True)
        with (bert / name).open("wb") as file:
            file.truncate((17 << 20) // len(names))
    for read in (lambda: fetch(find_encoder(str(bert))), lambda: load_tokenizer(files)):
        with pytest.raises(ModelError, match="chat templates, more than 16 MiB: remove") as raised:
            read()
        assert str(bert / names[0]) in str(raised.value)


@pytest.mark.parametrize("limit", [-1, 0, 2, 3.5, True, float("nan")])
def test_longest_text_that_is_none_is_refused(bert, limit):
    set_limit(bert, limit)
    with pytest.raises(ModelError, match="whole number from 3 as model_max_length") as raised:
        load_tokenizer(fetch(find_encoder(str(bert))))
    assert "correct tokenizer_config.json" in str(raised.value)


@pytest.mark.parametrize("limit", [3, 512, 512.0, int(1e30), 1e30, None])
def test_longest_text_is_a_whole_number(bert, limit):
    set_limit(bert, limit)
    tokenizer = load_tokenizer(fetch(find_encoder(str(bert))))
    assert (type(tokenizer.model_max_length), tokenizer.model_max_length) == (
        int,
        int(limit or 1e30),
    )
    assert len(tokenizer(TEXT, truncation=True)["input_ids"]) == min(limit or 5, 5)


def set_limit(folder, limit):
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "model_max_length": limit}))
