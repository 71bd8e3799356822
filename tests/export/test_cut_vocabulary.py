"""Which texts a vocabulary is cut to, and which it is judged on."""

from types import SimpleNamespace

import numpy as np
import pytest

from autoprune.errors import OptionError
from autoprune.export import trim_vocabulary


@pytest.fixture
def calls(place, monkeypatch):
    """Take down what is cut to what, and judged on what, instead of cutting."""
    seen = []

    def trim(model, tokenizer, texts, held_out):
        seen.append((model, list(texts), list(held_out)))
        return SimpleNamespace(
            tokenizer=tokenizer,
            kept=np.arange(5),
            before=36,
            after=5,
            unknown_before=0.01,
            unknown_after=0.0234,
        )

    monkeypatch.setattr(trim_vocabulary, "trim_tokenizer", trim)
    return seen


def cut(place, *corpus):
    made = place("bert")
    model = made.bench.load(0)
    done = trim_vocabulary.cut_vocabulary(model, made.tokenizer, made.splits, made.test, corpus)
    return made, model, done


def test_without_a_corpus_a_trial_on_train_texts_is_judged(place, calls):
    made, model, done = cut(place)
    [trial, whole] = calls
    held_out = [*made.splits.validation.texts, *made.test.rows.texts]
    assert trial[0] is not model
    assert trial[1:] == ([*made.splits.train.texts], held_out)
    assert whole[0] is model
    assert whole[1] == [*made.splits.train.texts, *held_out]
    assert "from 36 to 5 tokens" in done.note
    assert "1.00 % unknown tokens before, 2.34 % after" in done.note
    mean = np.mean([len(made.tokenizer.tokenize(text)) for text in held_out])
    assert f"{mean:.1f} tokens a text before" in done.note


def test_of_a_corpus_every_tenth_line_is_left_out_and_judged(place, calls, tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("".join(f"a{number}\n\n" for number in range(1, 22)))
    second.write_text("".join(f"b{number}\n" for number in range(1, 11)))
    made, model, done = cut(place, first, second)
    [whole] = calls
    assert whole[0] is model
    assert whole[2] == ["a10", "a20", "b10"]
    words = [f"a{number}" for number in range(1, 22)] + [f"b{number}" for number in range(1, 11)]
    own = [*made.splits.train.texts, *made.splits.validation.texts, *made.test.rows.texts]
    assert whole[1] == own + [word for word in words if word not in whole[2]]
    assert "3 lines of the corpus left out for it" in done.note


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the corpus .*: No such file"),
        (b"", "has none"),
        (b"\n \n", "has none"),
        (b"\xff\xfe\n", "a text file in UTF-8, .* is not"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_one_line(tmp_path, content, says):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content or b"")
    missing = {True: tmp_path / "nowhere.txt", False: path}[content is None]
    with pytest.raises(OptionError, match=says):
        trim_vocabulary.check_corpus([missing])
