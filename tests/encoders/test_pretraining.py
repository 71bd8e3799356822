"""Pre-training: what is masked, packed and kept apart, and that a training goes on bit for bit."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from autoprune.errors import DataError, OptionError, TrialError
from autoprune.pretraining.data import (
    TokenStream,
    batch_for_step,
    count_blocks,
    cut_blocks,
    mask_tokens,
    read_stream,
    read_texts,
    scan_corpus,
    token_kinds,
    write_stream,
)
from autoprune.pretraining.model import (
    build_encoder,
    cooccurrence_counts,
    encoder_shape,
    initialise_,
    masked_loss_sum,
    warm_start_,
)
from autoprune.pretraining.training import (
    PretrainingSchedule,
    PretrainingState,
    perplexity,
    pretraining_optimizer,
    shallow_encoder,
    stack_layers,
    train_masked,
)
from autoprune.pretraining.workspace import (
    STATE_FILE,
    check_same_settings,
    prepare_corpus,
    read_prepared_corpus,
    restore_state,
    save_state,
)
from tiny_models import NUMBERS, jitter_

KINDS = token_kinds(50, [0, 1, 2, 3, 4], 4)
CLS = 2


def blocks_of(seed, blocks=64, length=32):
    """Draw blocks that begin with [CLS], hold a [SEP] now and then, and words of 1 to 4 pieces."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, 50, (blocks, length))
    tokens[rng.random(tokens.shape) < 0.05] = 3
    tokens[:, 0] = CLS
    begins = rng.random(tokens.shape) < 0.5
    begins |= (tokens < 5) | (np.roll(tokens, 1, axis=1) < 5)
    return tokens, begins


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
@settings(max_examples=30, deadline=None)
def test_a_word_is_hidden_whole_or_not_at_all(seed, share):
    tokens, begins = blocks_of(seed)
    seen, hidden = mask_tokens(tokens, begins, KINDS, np.random.default_rng(seed), share)
    for row in range(len(tokens)):
        for word in np.split(hidden[row], np.flatnonzero(begins[row])):
            assert word.all() or not word.any()
    assert not hidden[tokens < 5].any()
    assert (seen[~hidden] == tokens[~hidden]).all()
    words = begins & (tokens >= 5)
    error = 4 * (share * (1 - share) / words.sum()) ** 0.5
    assert abs(hidden[words].mean() - share) < error


def test_of_what_is_hidden_most_becomes_the_mask_and_some_another_token():
    tokens, begins = blocks_of(1, blocks=2000)
    seen, hidden = mask_tokens(tokens, begins, KINDS, np.random.default_rng(1), 0.2)
    became, was = seen[hidden], tokens[hidden]
    assert (became == 4).mean() == pytest.approx(0.8, abs=0.02)
    # Of those replaced by a token drawn from 45, one in 45 is what it was.
    assert (became == was).mean() == pytest.approx(0.1 + 0.1 / 45, abs=0.02)
    assert set(became[(became != was)]) == {4, *range(5, 50)}


@given(st.integers(1, 300), st.integers(3, 40), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_pass_over_the_blocks_takes_each_token_and_at_most_a_block_twice(n, length, size, seed):
    stream = TokenStream(np.arange(5, 5 + n, dtype=np.uint32), np.ones(n, dtype=bool))
    per_pass = count_blocks(stream, length)
    steps = -(-2 * per_pass // size)
    batches = [batch_for_step(stream, step, size, length, CLS, seed)[0] for step in range(steps)]
    for once in (0, 1):
        blocks = np.concatenate(batches)[once * per_pass : (once + 1) * per_pass]
        assert (blocks[:, 0] == CLS).all()
        seen = np.bincount(blocks[:, 1:].ravel() - 5, minlength=n)
        assert seen.min() >= 1
        assert seen.sum() - n < length - 1


def test_passes_differ_in_order_and_in_where_they_cut():
    stream = TokenStream(np.arange(5, 505, dtype=np.uint32), np.ones(500, dtype=bool))
    per_pass = count_blocks(stream, 11)
    first, second = (batch_for_step(stream, at, per_pass, 11, CLS, 0)[0] for at in (0, 1))
    assert {tuple(row) for row in first}.isdisjoint(map(tuple, second))
    assert (batch_for_step(stream, 1, per_pass, 11, CLS, 0)[0] == second).all()
    for blocks in (first, second):
        assert len(set(np.diff(blocks[:, 1]) % 500)) > 2  # in the order of the stream: one


def test_what_a_block_cuts_off_counts_as_a_word():
    stream = TokenStream(np.arange(5, 15, dtype=np.uint32), np.zeros(10, dtype=bool))
    _, begins = cut_blocks(stream, np.array([0, 1]), 5, 1, CLS)
    assert begins.tolist() == [[True, True, False, False, False]] * 2


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    texts = [" ".join(rng.choice(NUMBERS, 9)) + f" {at}" for at in range(400)]
    path.write_text("\n".join([*texts, texts[0], "", "  "]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(corpus_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "prepared"
    prepare_corpus(scan_corpus([corpus_file]), None, 150, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["prepared"]
    return read_prepared_corpus(folder, 16)


def decoded(prepared, texts):
    """Return the texts of a stream, in the tokenizer's normal form."""
    whole = prepared.tokenizer.decode(texts.stream.tokens.tolist())
    return [text.strip() for text in whole.split("[SEP]")][:-1]


def test_what_is_kept_apart_is_never_learned_from(corpus_file, prepared):
    corpus = scan_corpus([corpus_file])
    learned, apart = (list(read_texts(corpus, one)) for one in (False, True))
    assert corpus.texts == len(learned) + len(apart) == 401
    assert 1 <= len(set(apart)) < 20
    assert set(learned).isdisjoint(apart)
    assert decoded(prepared, prepared.learned) == learned
    assert decoded(prepared, prepared.apart) == apart


@pytest.mark.parametrize("count", [2, 3, 10])
def test_even_a_few_texts_are_parted(count, tmp_path):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(NUMBERS[:count]), encoding="utf-8")
    corpus = scan_corpus([path])
    learned, apart = (list(read_texts(corpus, one)) for one in (False, True))
    assert sorted([*learned, *apart]) == sorted(NUMBERS[:count])
    assert learned and apart


BAD = {
    "missing": (None, "is not there"),
    "empty": (b"", "has none"),
    "blank": (b"\n \n", "has none"),
    "not UTF-8": ("एक\nदोन\n".encode() + b"caf\xe9\n", "line 3 is not (byte 4)"),
    "binary": (b"one\ntwo\0three\n", "line 2 has control characters"),
    "one text": (b"one\none\n", "two different texts"),
    "a line too long": (b"one\n" + b"x" * (1 << 20) + b"\n", "line 2 is over 1 MiB"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_corpus_that_is_none_is_refused(kind, tmp_path):
    content, said = BAD[kind]
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        scan_corpus([path])
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_vowel_signs_stay_and_letters_get_small(prepared):
    tokenizer = prepared.tokenizer
    assert tokenizer.decode(tokenizer("दोन पाच")["input_ids"]) == "[CLS] दोन पाच [SEP]"
    assert tokenizer.backend_tokenizer.normalizer.normalize_str("É Ab") == "é ab"
    assert len(tokenizer) <= 150


def test_words_of_several_pieces_begin_once(prepared, tmp_path):
    write_stream(["एक 12345", "दोन"], prepared.tokenizer, tmp_path / "two")
    stream = read_stream(tmp_path / "two")
    pieces = prepared.tokenizer.convert_ids_to_tokens(stream.tokens.tolist())
    assert stream.begins.tolist() == [not piece.startswith("##") for piece in pieces]
    assert pieces.count("[SEP]") == 2
    assert any(piece.startswith("##") for piece in pieces)


def test_the_loss_is_that_of_the_masked_places_of_the_whole_model(prepared):
    model = build_encoder(encoder_shape(2, 16, 2, None, 16), prepared.tokenizer, 0)
    jitter_(model)
    seen = torch.randint(5, len(prepared.tokenizer), (3, 16))
    hidden = torch.tensor([1, 5, 40])
    meant = torch.tensor([7, 8, 9])
    labels = torch.full((48,), -100)
    labels[hidden] = meant
    whole = model(input_ids=seen, labels=labels.view(3, 16)).loss
    torch.testing.assert_close(masked_loss_sum(model, seen, hidden, meant) / 3, whole)


MEASURES = encoder_shape(2, 16, 2, 24, 16)
COURSE = PretrainingSchedule(
    batch=4, learning_rate=0.01, seed=3, seconds=None, budget_tokens=4 * 16 * 12
)


def fresh(prepared, layers=2):
    model = build_encoder(replace(MEASURES, layers=layers), prepared.tokenizer, COURSE.seed)
    return PretrainingState(model, pretraining_optimizer(model))


def go_on(prepared, folder, until=None):
    """Train on, from the last checkpoint if there is one, and stop after step `until`."""
    state = restore_state(folder, partial(fresh, prepared)) or fresh(prepared)
    steps = check_same_settings(
        state, prepared.learned, COURSE, False, folder, lambda: state.step == until, every=0.0
    )
    losses = []
    try:
        losses.extend(step.loss for step in steps)
    except KeyboardInterrupt:
        assert state.step == until
    return state, losses


def test_a_training_goes_on_bit_for_bit(prepared, tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()
    undisturbed, losses = go_on(prepared, whole)
    assert len(losses) == 12
    go_on(prepared, parted, until=5)
    assert len(list(parted.iterdir())) == STATE_FILE
    before, newest = sorted(parted.iterdir())
    assert newest.stem == "step-0000000005"
    newest.write_bytes(newest.read_bytes()[:-100])  # so that it goes on from the one before it
    resumed, rest = go_on(prepared, parted)
    assert rest == losses[int(before.stem[5:]) :]
    for one, other in zip(undisturbed.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert {path.suffix for path in parted.iterdir()} == {".safetensors"}


def test_without_the_moments_it_would_not(prepared, tmp_path):
    _, losses = go_on(prepared, tmp_path)
    state = fresh(prepared)
    list(zip(range(5), train_masked(state, prepared.learned, COURSE, False), strict=False))
    bare = PretrainingState(
        state.model, pretraining_optimizer(state.model), state.step, state.seconds
    )
    rest = [step.loss for step in train_masked(bare, prepared.learned, COURSE, False)]
    assert rest[0] == losses[5]
    assert rest[2] != losses[7]


def test_it_learns_and_perplexity_says_so(prepared, tmp_path):
    course = PretrainingSchedule(8, 0.02, 0, None, 8 * 16 * 60)
    state = fresh(prepared)
    before, count = perplexity(state.model, prepared.apart, 4, 10_000, False)
    list(train_masked(state, prepared.learned, course, False))
    after, same = perplexity(state.model, prepared.apart, 3, 10_000, False)
    assert before == pytest.approx(len(prepared.tokenizer), rel=0.2)
    assert after < before / 2
    assert count == same > 0


def test_a_loss_that_is_no_number_ends_it(prepared):
    with pytest.raises(TrialError, match="smaller --learning-rate"):
        list(
            train_masked(
                fresh(prepared),
                prepared.learned,
                PretrainingSchedule(4, 1e30, 0, None, 10**4),
                False,
            )
        )


def test_a_course_by_time_ends_when_it_is_over(prepared):
    ticks = iter(range(10**6))
    steps = train_masked(
        fresh(prepared),
        prepared.learned,
        PretrainingSchedule(2, 0.01, 0, 7.0, None),
        False,
        1,
        lambda: next(ticks),
    )
    assert [step.seconds for step in steps] == [1, 2, 3, 4, 5, 6, 7]


def test_warm_embeddings_put_tokens_with_like_neighbours_near_each_other(prepared):
    pairs = np.array([[10, 20], [11, 20], [30, 21], [31, 21]], dtype=np.uint32)
    rng = np.random.default_rng(0)
    tokens = np.insert(pairs[rng.integers(0, 4, 400)], 2, 3, axis=1).ravel()
    tokens = np.repeat(tokens.reshape(-1, 3), [1, 1, 5], axis=1).ravel()  # [SEP]s between them
    stream = TokenStream(tokens, np.ones(len(tokens), dtype=bool))
    model = build_encoder(MEASURES, prepared.tokenizer, 0)
    before = model.get_input_embeddings().weight.detach().clone()
    warm_start_(model, stream, prepared.tokenizer.all_special_ids, 0)
    weights = model.get_input_embeddings().weight.detach()
    like = torch.nn.functional.cosine_similarity
    assert like(weights[10], weights[11], dim=0) > 0.9 > like(weights[10], weights[30], dim=0)
    changed = (weights != before).any(1).nonzero().flatten().tolist()
    assert changed == [10, 11, 20, 21, 30, 31]
    assert weights[changed].std() == pytest.approx(model.config.initializer_range, rel=0.05)
    near = cooccurrence_counts(stream, 50, [3]).toarray()
    assert near[10, 20] == near[20, 10] == (tokens == 10).sum()
    assert near[3].sum() == 0


def test_texts_of_one_token_leave_the_embeddings_random(prepared):
    model = build_encoder(MEASURES, prepared.tokenizer, 0)
    before = model.get_input_embeddings().weight.detach().clone()
    stream = TokenStream(np.array([9, 3] * 9, dtype=np.uint32), np.ones(18, dtype=bool))
    warm_start_(model, stream, prepared.tokenizer.all_special_ids, 0)
    near = cooccurrence_counts(stream, len(before), prepared.tokenizer.all_special_ids)
    assert near[9, 9] > 0  # [SEP] takes a place, but parts no texts
    assert torch.isfinite(model.get_input_embeddings().weight).all()


def test_plain_transformers_loads_it_with_the_same_logits(prepared, tmp_path):
    state = fresh(prepared)
    jitter_(state.model)
    initialise_(state.model)
    state.model.save_pretrained(tmp_path)
    prepared.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    again, told = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is BertForMaskedLM
    assert not told["missing_keys"] and not told["unexpected_keys"]
    _, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert all(key.startswith("pooler.") for key in told["missing_keys"])
    rows = tokenizer(["एक दोन", "तीन"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(
            again(**rows).logits, state.model.eval()(**rows).logits, rtol=0, atol=1e-6
        )
    assert again.config.hidden_dropout_prob == 0.1


def test_half_the_layers_are_stacked_with_their_moments(prepared):
    whole = replace(MEASURES, layers=5)
    state = fresh(prepared, shallow_encoder(whole).layers)
    assert state.model.config.num_hidden_layers == 3
    steps = list(train_masked(state, prepared.learned, COURSE, False, 0.5))
    assert [step.done < 0.5 for step in steps] == [True] * 5 + [False]
    grown = stack_layers(state, whole, prepared.tokenizer, 0)
    layers, old = grown.model.bert.encoder.layer, state.model.bert.encoder.layer
    for at, came in enumerate([0, 1, 2, 0, 1]):
        one, other = layers[at].output.dense.weight, old[came].output.dense.weight
        assert torch.equal(one, other)
        for name, moment in state.optimizer.state[other].items():
            assert torch.equal(grown.optimizer.state[one][name], moment)
    embeddings = [one.model.get_input_embeddings().weight for one in (state, grown)]
    assert torch.equal(*embeddings)
    before = embeddings[0].detach().clone()
    assert len(list(train_masked(grown, prepared.learned, COURSE, False))) == 6
    assert torch.equal(embeddings[0], before)  # the old model was copied, not shared
    assert not torch.equal(embeddings[1], before)


def test_a_checkpoint_knows_its_depth(prepared, tmp_path):
    save_state(fresh(prepared, 1), tmp_path)
    again = restore_state(tmp_path, partial(fresh, prepared))
    assert again.model.config.num_hidden_layers == 1


def test_heads_share_the_width():
    with pytest.raises(OptionError, match="multiple of --heads, got 16 and 3"):
        encoder_shape(1, 16, 3, None, 16)


def test_checkpoints_are_kept_two_at_most(prepared, tmp_path):
    state = fresh(prepared)
    for state.step in (9, 10, 11):
        save_state(state, Path(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-0000000010.safetensors",
        "step-0000000011.safetensors",
    ]
