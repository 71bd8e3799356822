"""The pretrain command: a small encoder from a corpus, stopped, resumed, and searched."""

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from autoprune.cli.pretrain_progress import PretrainingDisplay
from autoprune.pretraining.training import StepResult
from tiny_models import NUMBERS, save_model, tiny_tokenizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    texts = [" ".join(draw.choices(NUMBERS, k=8)) + f" {at}" for at in range(300)]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def command(corpus):
    """Return a function that gives the arguments of a training of so many steps."""

    def command(steps, *options):
        return [
            *("pretrain", "--corpus", corpus, "--layers", 2, "--hidden", 16, "--tokens", 16),
            *("--batch", 4, "--budget-tokens", steps * 64, "--out", "made/small"),
            *("--learning-rate", 0.01, "--device", "cpu", *options),
        ]

    return command


def test_pretrain_makes_a_model_from_a_corpus(run, command, tmp_path, corpus):
    answer = run(*command(30, "--vocabulary", 120))
    assert (answer.code, answer.out) == (0, ""), answer.err
    assert re.search(
        r"^made/small: 2 layers, [\d,]+ parameters, 1,920 tokens seen in \d+ s; perplexity "
        r"[\d.]+ of \d+ masked tokens in held-out texts$",
        answer.lines[-1],
    )
    assert re.search(r"^100.0%  loss [\d.]+  [\d,]+ tokens a second", answer.lines[-2])
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["small"]
    names = ["README.md", "config.json", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "made/small").iterdir()) == [
        *names,
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    model = AutoModelForMaskedLM.from_pretrained("made/small")
    assert model.config.num_hidden_layers == 2
    assert len(AutoTokenizer.from_pretrained("made/small")) == model.config.vocab_size <= 120
    card = (tmp_path / "made/small/README.md").read_text(encoding="utf-8")
    [perplexity] = re.findall(r"perplexity ([\d.]+)", answer.lines[-1])
    assert f"Perplexity {perplexity} of" in card
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: fill-mask\n")
    assert str(corpus.parent) not in card
    assert corpus.name not in card
    assert "--corpus TEXTS.txt" in card


def test_pretrained_model_serves_as_model_and_as_rival(run, command, task, tmp_path):
    assert run(*command(3, "--vocabulary", 120)).code == 0
    answer = run(
        *("baseline", "--model", "made/small", "--task", task, "--keep", 1, "--strategy", "top"),
        *("--rival", "made/small", "--full-epochs", 1, "--seeds", 1, "--workers", 1, "--json"),
    )
    assert answer.code == 0, answer.err
    assert "small" in json.dumps(answer.result)


def digest(path):
    """Return the digest of a file; pytest takes minutes to show how long bytes differ."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_alone(start, arguments, folder):
    """Run the command in a new process, without traces of other tests; return its lines."""
    with start(*arguments, folder=folder) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return err.splitlines()


@pytest.mark.slow
def test_pretrain_that_is_resumed_gives_the_same_bytes(run, start, command, tokenizer, tmp_path):
    arguments = command(400, "--tokenizer", tokenizer)
    with start(*arguments, folder=tmp_path) as process:
        for line in process.stderr:
            if " tokens in the corpus, blocks of 16, on cpu" in line:
                process.send_signal(signal.SIGINT)  # while there is half the depth
                break
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    last = err.splitlines()[-1]
    assert re.match(r"stopped after step \d+, which is kept in .*; the same command", last)
    assert not (tmp_path / "made/small").exists()
    other = run(*command(400, "--tokenizer", tokenizer, "--seed", 1))
    assert (other.code, len(other.lines)) == (2, 1)
    assert "--seed was 0 and is 1: give the same again" in other.lines[0]
    [damaged] = tmp_path.glob("made/.small*/prepared/tokenizer.json")
    text = damaged.read_text()
    damaged.write_text("")
    assert run(*arguments).code == 2
    damaged.write_text(text)  # and the steps are still there
    whole = partial(run_alone, start, arguments, tmp_path)
    lines = whole()
    assert lines[0].startswith("resuming after step ")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["small"]
    resumed = digest(tmp_path / "made/small/model.safetensors")
    shutil.rmtree(tmp_path / "made")
    whole()
    assert digest(tmp_path / "made/small/model.safetensors") == resumed


WRONG = {
    "no budget": ([], ["--minutes or by --budget-tokens"]),
    "two budgets": (["--minutes", 1, "--budget-tokens", 9], ["give one of them"]),
    "heads": (["--minutes", 1, "--heads", 3], ["multiple of --heads, got 128 and 3"]),
    "both": (["--minutes", 1, "--tokenizer", "demo", "--vocabulary", 200], ["leave out"]),
    "tokenizer": (["--minutes", 1, "--tokenizer", "murill"], ["did you mean 'muril'?"]),
    "minutes": (["--minutes", 0], ["--minutes must be a number above 0"]),
    "corpus": (["--minutes", 1, "--corpus", "none.txt"], ["none.txt cannot be read"]),
    "rate": (["--minutes", 1, "--learning-rate", 2], ["--learning-rate must lie between 0 and 1"]),
    "device": (["--minutes", 1, "--device", "cup"], ["did you mean 'cpu'?"]),
    "from": (["--minutes", 1, "--from", "murill"], ["did you mean 'muril'?"]),
    "from none": (["--minutes", 1, "--from", "./none"], ["found none at './none'"]),
    "layout": (["--minutes", 1, "--layout", "12:0-3"], ["name that with --from"]),
    "layout text": (["--minutes", 1, "--from", "demo", "--layout", "x"], ["like 12:0-3,8,11"]),
    "layout depth": (
        ["--minutes", 1, "--from", "demo", "--layout", "6:0-3"],
        ["6:0-3 is for 6 layers, demo has 12"],
    ),
    **{
        f"from and {option[0]}": (
            ["--minutes", 1, "--from", "demo", *option],
            ["--from trains a model as it is", option[0]],
        )
        for option in (
            *(("--tokenizer", "demo"), ("--vocabulary", 500), ("--layers", 6), ("--hidden", 128)),
            *(("--heads", 2), ("--inner", 64), ("--warm-embeddings",), ("--random-embeddings",)),
            *(("--stack",), ("--no-stack",)),
        )
    },
}


@pytest.mark.parametrize("kind", WRONG)
def test_pretrain_with_wrong_options_is_one_line_and_writes_nothing(run, corpus, tmp_path, kind):
    options, said = WRONG[kind]
    answer = run("pretrain", "--corpus", corpus, "--out", "made/small", *options)
    assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
    assert [words for words in said if words not in answer.lines[0]] == []
    assert not list(tmp_path.iterdir())


@pytest.fixture
def further(corpus):
    """Return a function that gives the arguments of a further training of so many steps."""

    def further(model, steps, *options):
        return [
            *("pretrain", "--from", model, "--corpus", corpus, "--tokens", 16, "--batch", 4),
            *("--budget-tokens", steps * 64, "--out", "made/more", "--learning-rate", 0.01),
            *("--device", "cpu", *options),
        ]

    return further


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return a RoBERTa of five layers with its own head, and with dropout."""
    folder = tmp_path_factory.mktemp("given")
    return save_model("roberta", folder, hidden_dropout_prob=0.25)


def test_pretrain_trains_a_given_model_further(run, further, given, task, tmp_path):
    answer = run(*further(given, 40))
    assert (answer.code, answer.out) == (0, ""), answer.err
    assert answer.lines[-1].startswith("made/more: 5 layers, ")
    [before] = re.findall(r"^perplexity ([\d,.]+) in held-out texts before", answer.err, re.M)
    [after] = re.findall(r"perplexity ([\d,.]+) of \d+ masked tokens", answer.lines[-1])
    assert float(after) < 0.7 * float(before)
    assert sorted(path.name for path in (tmp_path / "made/more").iterdir()) == [
        *("README.md", "config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    old, new = (AutoModelForMaskedLM.from_pretrained(each) for each in (given, "made/more"))
    changed = (old.get_input_embeddings().weight != new.get_input_embeddings().weight).any(1)
    tokenizer = AutoTokenizer.from_pretrained("made/more")
    known = {*tokenizer.get_vocab().values()}  # 15 of the model's 40
    assert {*changed.nonzero().flatten().tolist()} == known
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(given).get_vocab()
    ignored = {"architectures", "dtype", "transformers_version", "_name_or_path"}
    configs = [
        {name: value for name, value in model.config.to_dict().items() if name not in ignored}
        for model in (old, new)
    ]
    assert configs[0] == configs[1]
    assert new.config.hidden_dropout_prob == 0.25
    _, report = AutoModel.from_pretrained("made/more", output_loading_info=True)
    assert all("pooler" in name for name in report["missing_keys"])
    card = (tmp_path / "made/more/README.md").read_text(encoding="utf-8")
    assert re.search(rf"The encoder {given.name}@sha256:[0-9a-f]+, all its layers", card)
    assert f"Perplexity {after} of" in card
    assert f"Before this training it was {before}." in card
    assert "2,560 tokens seen" in card
    assert "with its own head" in card
    answer = run(
        *("baseline", "--model", "./made/more", "--task", task, "--keep", 2, "--strategy", "top"),
        *("--full-epochs", 1, "--seeds", 1, "--workers", 1, "--json"),
    )
    assert answer.code == 0, answer.err


def test_pretrain_further_makes_a_head_and_keeps_the_layers_of_a_layout(run, further, tmp_path):
    model = AutoModel.from_pretrained(save_model("bert", tmp_path / "whole", num_hidden_layers=4))
    model.save_pretrained(tmp_path / "bare")
    tiny_tokenizer().save_pretrained(tmp_path / "bare")
    answer = run(*further("bare", 1, "--layout", "4:0,2-3", "--learning-rate", 1e-9))
    assert answer.code == 0, answer.err
    made = AutoModel.from_pretrained("made/more")
    assert made.config.num_hidden_layers == 3
    for layer, source in zip(made.encoder.layer, (0, 2, 3), strict=True):
        expected = model.encoder.layer[source].output.dense.weight
        torch.testing.assert_close(layer.output.dense.weight, expected, rtol=0, atol=1e-6)
    card = (tmp_path / "made/more/README.md").read_text(encoding="utf-8")
    assert "its layers 4:0,2-3, trained further" in card
    assert "with a head of random weights" in card
    AutoModelForMaskedLM.from_pretrained("made/more", output_loading_info=True)


def test_pretrain_further_cuts_blocks_to_the_positions_of_the_model(run, further, given):
    answer = run(*further(given, 1, "--tokens", 64))
    assert answer.code == 0, answer.err
    assert "blocks of 39," in answer.err  # 40 positions, counted from the padding on


@pytest.mark.slow
def test_pretrain_further_that_is_resumed_gives_the_same_bytes(
    run, start, further, given, tmp_path
):
    arguments = further(given, 400)
    with start(*arguments, folder=tmp_path) as process:
        for line in process.stderr:
            if " tokens in the corpus, blocks of 16, on cpu" in line:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    other = save_model("roberta", tmp_path / "other", layer_norm_eps=0.01)
    for arguments_of_another, name in (
        (further(other, 400), r"--from was given\d+@sha256:\w+ and is other@sha256:\w+"),
        (further(given, 400, "--layout", "5:0-2"), "--layout was None and is 5:0-2"),
    ):
        answer = run(*arguments_of_another)
        assert (answer.code, len(answer.lines)) == (2, 1), answer.err
        assert re.search(f"{name}: give the same again", answer.lines[0])
    whole = partial(run_alone, start, arguments, tmp_path)
    lines = whole()
    assert re.match("perplexity", lines[0])
    assert lines[1].startswith("resuming after step ")
    names = ("model.safetensors", "config.json")
    resumed = [digest(tmp_path / "made/more" / name) for name in names]
    before = lines[0]
    shutil.rmtree(tmp_path / "made")
    assert before in whole()
    assert [digest(tmp_path / "made/more" / name) for name in names] == resumed


def test_pretrain_from_a_tokenizer_without_a_mask_token_is_refused(run, further, given, tmp_path):
    model = shutil.copytree(given, tmp_path / "model")
    config = json.loads((model / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    answer = run(*further("model", 1))
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert "needs a mask token, the tokenizer of model has none" in answer.lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pretrain_from_pickled_weights_is_refused(run, further, given, tmp_path):
    model = shutil.copytree(given, tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    answer = run(*further("model", 1))
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert "only pickled weights" in answer.lines[0]


def test_pretrain_from_a_model_with_code_of_its_own_is_refused(run, further, given, tmp_path):
    model = shutil.copytree(given, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    answer = run(*further("model", 1))
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert "model runs its own code, which pretrain does not do" in answer.lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pretrain_from_a_family_without_masked_language_modelling_is_refused(
    run, further, given, tmp_path
):
    model = shutil.copytree(given, tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"model_type": "gpt2"}
    (model / "config.json").write_text(json.dumps(config))
    answer = run(*further("model", 1))
    assert (answer.code, len(answer.lines)) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pretrain_from_a_tokenizer_with_more_tokens_than_embeddings_is_refused(
    run, further, tmp_path
):
    save_model("bert", tmp_path / "model", vocab_size=12)
    answer = run(*further("model", 1, "--out", "more"))
    assert answer.code == 2
    assert "the model knows 12 tokens" in answer.lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pretrain_runs_no_code_of_a_tokenizer(tokenizer, corpus, tmp_path):
    """The user is not asked, whatever the input holds."""
    strange = shutil.copytree(tokenizer, tmp_path / "strange")
    config = json.loads((strange / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": [None, "mine.Mine"]}}
    (strange / "tokenizer_config.json").write_text(json.dumps(config))
    (strange / "config.json").unlink(missing_ok=True)
    (strange / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    arguments = ["--corpus", corpus, "--out", "small", "--minutes", 1, "--tokenizer", strange]
    done = subprocess.run(
        [sys.executable, "-m", "autoprune", "pretrain", *map(str, arguments)],
        input="y\ny\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not (tmp_path / "ran").exists()
    assert "[y/N]" not in done.stdout + done.stderr
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr


def test_pretrain_with_a_tokenizer_that_does_not_know_the_corpus_is_refused(
    run, tokenizer, tmp_path
):
    (tmp_path / "other.txt").write_text("only words\nof another script\n")
    answer = run(
        *("pretrain", "--corpus", "other.txt", "--out", "small", "--minutes", 1),
        *("--tokenizer", tokenizer),
    )
    assert answer.code == 2
    assert "of its tokens are unknown: take another --tokenizer" in answer.lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_pretrain_into_a_folder_that_is_not_empty_is_refused(run, corpus, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    answer = run("pretrain", "--corpus", corpus, "--out", "full", "--minutes", 1)
    assert answer.code == 2
    assert "full is not empty" in answer.lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_pretrain_resumed_tells_the_time_left_by_its_own_steps(capsys):
    with PretrainingDisplay().training() as show:
        show(StepResult(loss=9.0, tokens=100_000, seconds=5000.0, done=0.04))
        show(StepResult(loss=9.0, tokens=125_000, seconds=5010.0, done=0.05))
    assert "2,500 tokens a second  125,000 tokens  15.8 min left" in capsys.readouterr().err
