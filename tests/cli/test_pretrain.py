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
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tiny_models import NUMBERS, tiny_tokenizer


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
    assert str(corpus.parent) not in card.split("## To repeat it")[0]


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
}


@pytest.mark.parametrize("kind", WRONG)
def test_pretrain_with_wrong_options_is_one_line_and_writes_nothing(run, corpus, tmp_path, kind):
    options, said = WRONG[kind]
    answer = run("pretrain", "--corpus", corpus, "--out", "made/small", *options)
    assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
    assert [words for words in said if words not in answer.lines[0]] == []
    assert not list(tmp_path.iterdir())


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
