"""Trimming WordPiece, BPE, Unigram and word-level vocabularies: used texts do not change."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import (
    SentencePieceBPETokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from autoprune.errors import DataError, ModelError
from autoprune.export import trim_vocabulary
from autoprune.export.tokenizer_vocab import script_of, scripts_of
from autoprune.export.trim_vocabulary import check_corpus, cut_vocabulary, trim_tokenizer
from tiny_models import _SIZES, jitter_, tiny_tokenizer

# Vocabularies are cut to texts that hold some of these words.
VOCABULARY = (
    "शाळा शाळेत मुंबई मुंबईत पुणे पुण्यात सामना सामन्यात खेळ खेळाडू राज्य राज्यात सरकार सरकारने "
    "निवडणूक निवडणुकीत पाऊस पावसाने शेती शेतकरी क्रिकेट क्रिकेटपटू cricket cricketer match "
    "Mumbai India indian १२ २०२४ 2024 3.14 café naïve मॅच रन रनांनी पहिला पहिल्या दुसरा दुसऱ्या"
)
WORDS = VOCABULARY.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def texts(count, seed, words=WORDS):
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]


CORPUS = texts(400, 0)
SEEN = texts(60, 1, WORDS[:16])
NEW = texts(60, 2, WORDS[16:])


def frame(tokenizer, cls="[CLS]", sep="[SEP]"):
    ends = [(name, tokenizer.token_to_id(name)) for name in (cls, sep)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=ends
    )
    return tokenizer


def fast(tokenizer, **options):
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    tokens = {f"{kind}_token": name for kind, name in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**tokens, **options})


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=SPECIAL, show_progress=False, initial_alphabet=list("xyzकखग")
    )
    tokenizer.train_from_iterator([*CORPUS, "ভারত বাংলা"] * 2, trainer)
    return frame(tokenizer)


def bert_class():
    return BertTokenizer(vocab=wordpiece().get_vocab(), do_lower_case=False)


def bpe_of_bytes():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def roberta_class():
    whole = json.loads(bpe_of_bytes().to_str())["model"]
    return RobertaTokenizer(vocab=whole["vocab"], merges=[tuple(m) for m in whole["merges"]])


def bpe(**marks):
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", **marks))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, show_progress=False, **marks
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return frame(tokenizer)


def bpe_with_fallback():
    made = SentencePieceBPETokenizer()
    made.train_from_iterator(CORPUS, vocab_size=300, special_tokens=[*SPECIAL], show_progress=False)
    spec = json.loads(made.to_str())
    vocabulary = spec["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    spec["model"].update(byte_fallback=True, unk_token="[UNK]")
    return frame(Tokenizer.from_str(json.dumps(spec)))


def unigram(fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    spec = json.loads(tokenizer.to_str())
    # Written with a token of two characters, of which one has no token of its own.
    spec["model"]["vocab"] += [["ओळ", -11.5], ["ळओ", -14.75]]
    return frame(Tokenizer.from_str(json.dumps(spec)))


def xlm_roberta_class():
    vocabulary = json.loads(unigram().to_str())["model"]["vocab"]
    own = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]
    pieces = [(piece, score) for piece, score in [*own, *vocabulary[len(SPECIAL) :]]]
    return XLMRobertaTokenizer(vocab=pieces)


def word_level():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([*WORDS, "*"])
    return tokenizer


KINDS = {
    "WordPiece": lambda: fast(wordpiece()),
    "BertTokenizer": bert_class,
    "BPE of bytes": lambda: fast(
        bpe_of_bytes(),
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
    ),
    "RobertaTokenizer": roberta_class,
    "BPE": lambda: fast(bpe()),
    "BPE with prefixes": lambda: fast(bpe(continuing_subword_prefix="##")),
    "BPE with suffixes": lambda: fast(bpe(end_of_word_suffix="</w>")),
    "BPE with fallback": lambda: fast(bpe_with_fallback()),
    "Unigram": lambda: fast(unigram()),
    "XLMRobertaTokenizer": xlm_roberta_class,
    "word level": word_level,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


def model_for(tokenizer, family="roberta"):
    torch.manual_seed(0)
    sizes = {**_SIZES, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(family, **{**sizes, "max_position_embeddings": 80})
    model = AutoModelForSequenceClassification.from_config(config).eval()
    jitter_(model)
    return model


def logits(model, tokenizer, rows):
    batch = tokenizer(list(rows), padding=True, truncation=True, max_length=70, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits


def test_trimming_keeps_tokens_and_logits_of_used_texts(tokenizer, tmp_path):
    model = model_for(tokenizer)
    before = logits(model, tokenizer, SEEN)
    pieces = [tokenizer.tokenize(text) for text in SEEN]
    trimmed = trim_tokenizer(model, tokenizer, SEEN, NEW)
    assert (trimmed.before, trimmed.after) == (len(tokenizer), len(trimmed.tokenizer))
    assert trimmed.after == len(trimmed.numbers) == model.config.vocab_size < trimmed.before
    model.save_pretrained(tmp_path)
    trimmed.tokenizer.save_pretrained(tmp_path)
    cut = AutoTokenizer.from_pretrained(tmp_path)
    assert [cut.tokenize(text) for text in SEEN] == pieces
    assert type(cut) is type(trimmed.tokenizer) is type(tokenizer)
    numbers = trimmed.numbers
    pairs = list(zip(SEEN, reversed(SEEN), strict=True))
    for rows in (SEEN, pairs):
        wanted = [[numbers[token] for token in row] for row in tokenizer(rows)["input_ids"]]
        assert cut(rows)["input_ids"] == wanted
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert (logits(again, cut, SEEN) - before).abs().max() <= 1e-6
    assert before.std() > 0.01
    for kind in ("pad", "unk", "cls", "sep", "mask"):
        name = getattr(tokenizer, f"{kind}_token")
        assert getattr(cut, f"{kind}_token") == name
        assert cut.convert_tokens_to_ids(name) == numbers[tokenizer.convert_tokens_to_ids(name)]


def test_trimming_leaves_new_texts_of_the_same_scripts_known(tokenizer):
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, SEEN, NEW)
    words = [word for word in WORDS[16:] if scripts_of(word) <= scripts_of("".join(SEEN))]
    assert len(words) > 5
    if type(tokenizer.backend_tokenizer.model).__name__ == "WordLevel":
        words = WORDS[:16]
    for word in words:
        assert tokenizer.unk_token not in trimmed.tokenizer.tokenize(word), word
        assert len(trimmed.tokenizer.tokenize(word)) >= len(tokenizer.tokenize(word))


def test_trimming_to_more_texts_keeps_more_tokens(tokenizer):
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, [*SEEN, *NEW], NEW)
    few = trim_tokenizer(model_for(tokenizer), tokenizer, SEEN, NEW)
    assert set(few.numbers) < set(trimmed.numbers)
    for text in NEW:
        assert trimmed.tokenizer.tokenize(text) == tokenizer.tokenize(text)
    assert trimmed.unknown_after == trimmed.unknown_before


def test_trimming_removes_unused_scripts_and_counts_unknown_tokens():
    tokenizer = KINDS["WordPiece"]()
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, SEEN, ["ভারত शाळा", "শ"])
    vocabulary = trimmed.tokenizer.get_vocab()
    assert {"x", "ভ", "क", "##ल", "."} <= set(tokenizer.get_vocab())
    assert {"x", "ভ", "क", "##ल", "."} & set(vocabulary) == {"क", "##ल", "."}
    whole = tokenizer.tokenize("ভারত शाळा") + tokenizer.tokenize("শ")
    assert (
        trimmed.unknown_before == whole.count("[UNK]") / len(whole) == pytest.approx(1 / len(whole))
    )
    cut = trimmed.tokenizer.tokenize("ভারত शाळा") + trimmed.tokenizer.tokenize("শ")
    assert trimmed.unknown_after == cut.count("[UNK]") / len(cut) > trimmed.unknown_before


def test_trimming_keeps_the_characters_that_are_asked_for():
    tokenizer = KINDS["WordPiece"]()
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, ["क"], [], lambda text: text != ".")
    assert {"क", "ख", "."} & set(tokenizer.get_vocab()) - set(trimmed.tokenizer.get_vocab()) == {
        "."
    }


def test_trimming_keeps_the_score_of_unknown_characters():
    # Unknown ळ and then ओ must not become cheaper than the rare piece that holds both.
    tokenizer = KINDS["Unigram"]()
    text = "ळओ ळ"
    assert "ळओ" in tokenizer.tokenize(text)
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, [*SEEN, text], [])
    assert trimmed.tokenizer.tokenize(text) == tokenizer.tokenize(text)
    trimmed = trim_tokenizer(model_for(tokenizer), tokenizer, SEEN, [])
    assert lowest_score(trimmed.tokenizer) == lowest_score(tokenizer)


def lowest_score(tokenizer):
    pieces = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    return min(score for _, score in pieces)


def test_trimming_moves_a_padding_token_at_the_end():
    spec = json.loads(wordpiece().to_str())
    names = list(spec["model"]["vocab"])
    behind = [*names[1:], names[0]]  # [PAD] comes last, as in ModernBERT
    spec["model"]["vocab"] = {name: at for at, name in enumerate(behind)}
    for token in spec["added_tokens"]:
        token["id"] = behind.index(token["content"])
    spec["added_tokens"].sort(key=lambda token: token["id"])
    raw = Tokenizer.from_str(json.dumps(spec))
    tokenizer = fast(frame(raw))
    assert tokenizer.pad_token_id == len(tokenizer) - 1 > 80
    model = model_for(tokenizer, "modernbert")
    before = logits(model, tokenizer, SEEN)
    trimmed = trim_tokenizer(model, tokenizer, SEEN, [])
    assert trimmed.after < trimmed.before
    assert model.config.pad_token_id == trimmed.tokenizer.pad_token_id == trimmed.after - 1
    assert (logits(model, trimmed.tokenizer, SEEN) - before).abs().max() <= 1e-6


def test_trimming_halves_a_model_with_a_large_vocabulary(tmp_path):
    # A sixteenth of its width and vocabulary: 64 % of its weights are the token table.
    tokenizer = KINDS["WordPiece"]()
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    vocabulary.update({f"x{at}": at for at in range(len(vocabulary), 197_285 // 16)})
    tokenizer = fast(Tokenizer.from_str(json.dumps(spec)))
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=192,
        max_position_embeddings=32,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(tmp_path / "whole")
    trim_tokenizer(model, tokenizer, CORPUS, [])
    model.save_pretrained(tmp_path / "cut")
    whole, cut = (
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "cut")
    )
    assert cut < whole / 2


def test_trimming_a_model_with_fewer_tokens_than_its_tokenizer_is_refused():
    tokenizer = KINDS["BPE of bytes"]()
    model = model_for(tokenizer)
    model.resize_token_embeddings(len(tokenizer) - 1)  # the mask token is the last one
    with pytest.raises(ModelError, match=r"the tokenizer has a token .* without --trim-vocabulary"):
        trim_tokenizer(model, tokenizer, SEEN, [])


def test_trimming_that_changes_a_text_is_refused(monkeypatch):
    tokenizer = KINDS["BPE"]()
    monkeypatch.setattr(
        "autoprune.export.tokenizer_vocab.VocabularyPieces.with_parts",
        lambda _, numbers: set(numbers),
    )
    model = model_for(tokenizer)
    with pytest.raises(ModelError, match=r"cannot be cut, .* other tokens"):
        trim_tokenizer(model, tokenizer, SEEN, [])
    assert model.config.vocab_size == len(tokenizer)


def test_trimming_a_slow_tokenizer_is_refused():
    tokenizer = KINDS["BPE"]()
    with pytest.raises(ModelError, match="is for fast tokenizers"):
        trim_tokenizer(model_for(tokenizer), object(), SEEN, [])


@pytest.fixture
def trims(monkeypatch):
    """Return the list of calls to `trim_tokenizer`, which cuts nothing."""
    calls = []

    def trim(model, tokenizer, texts, held_out):
        calls.append((model, list(texts), list(held_out)))
        return SimpleNamespace(
            tokenizer=tokenizer,
            numbers={number: number for number in range(5)},
            before=36,
            after=5,
            unknown_before=0.01,
            unknown_after=0.0234,
        )

    monkeypatch.setattr(trim_vocabulary, "trim_tokenizer", trim)
    return calls


def cut(tiny, *corpus):
    bert = tiny("bert")
    model = bert.evaluator.load(0)
    _, notes = cut_vocabulary(model, bert.tokenizer, bert.splits, bert.test, corpus)
    return bert, model, notes[0]


def test_cut_without_a_corpus_is_measured_by_one_to_train_texts(tiny, trims):
    bert, model, note = cut(tiny)
    [measured, whole] = trims
    held_out = [*bert.splits.validation.texts, *bert.test.rows.texts]
    assert measured[0] is not model
    assert measured[1:] == ([*bert.splits.train.texts], held_out)
    assert whole[0] is model
    assert whole[1] == [*bert.splits.train.texts, *held_out]
    assert "from 36 to 5 tokens" in note
    assert "1.00 % unknown tokens before, 2.34 % after" in note
    mean = np.mean([len(bert.tokenizer.tokenize(text)) for text in held_out])
    assert f"{mean:.1f} tokens a text before" in note


def test_cut_with_a_corpus_holds_out_every_tenth_line(tiny, trims, tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("".join(f"a{number}\n\n" for number in range(1, 22)))
    second.write_text("".join(f"b{number}\n" for number in range(1, 11)))
    bert, model, note = cut(tiny, first, second)
    [whole] = trims
    assert whole[0] is model
    assert whole[2] == ["a10", "a20", "b10"]
    words = [f"a{number}" for number in range(1, 22)] + [f"b{number}" for number in range(1, 11)]
    own = [*bert.splits.train.texts, *bert.splits.validation.texts, *bert.test.rows.texts]
    assert whole[1] == own + [word for word in words if word not in whole[2]]
    assert "3 lines of the corpus left out for it" in note
    second.write_text("b1\n")
    assert "was not measured: fewer than 10 lines of text" in cut(tiny, second)[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "has none"),
        (b"\n \n", "has none"),
        (b"\xff\xfe\n", "a text file in UTF-8, .* is not"),
    ],
)
def test_corpus_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content or b"")
    missing = {True: tmp_path / "nowhere.txt", False: path}[content is None]
    with pytest.raises(DataError, match=message):
        check_corpus([missing])


@pytest.mark.parametrize(
    ("characters", "scripts"),
    [
        ("शा१", {"DEVANAGARI"}),
        ("7,. +\u0301😀▁", set()),
        ("aé", {"LATIN"}),
        ("京あ", {"CJK", "HIRAGANA"}),
    ],
)
def test_scripts_of_characters(characters, scripts):
    assert scripts_of(characters) - {""} == scripts
    assert {script_of(each) for each in characters} - {""} == scripts
