"""A mistake is one line that names it and says what to do, exit code 2, and nothing is written."""

import json
import shutil

import optuna
import pytest

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"एक {i},a\nदोन {i},b\n" for i in range(8))


@pytest.fixture
def search(run, model, task):
    """Return a function that runs the shortest search; options given again count."""

    def search(*options):
        return run(
            *("search", "--model", model, "--task", task, "--keep", 2, "--trials", 1),
            *("--epochs", 1, "--full-epochs", 1, "--seeds", 1, "--workers", 1, *options),
        )

    return search


@pytest.fixture
def refused(here):
    """Return a function that checks an answer: one line with all `words`, nothing written."""
    before = set()

    def lies():
        return {path for path in here.rglob("*") if path.suffix not in (".lock", ".guard")}

    def check(answer, *words):
        assert (answer.code, answer.out, len(answer.lines)) == (2, "", 1), answer
        assert answer.lines[0].startswith("autoprune: ")
        assert [word for word in words if word not in answer.lines[0]] == []
        assert "Traceback" not in answer.err
        assert lies() == before

    def prepared():
        before.update(lies())
        return check

    return prepared


OPTIONS = {
    "model": (["--model", "mahabert-v3"], ["mahabert-v3", "did you mean 'mahabert-v2'?"]),
    "model path": (["--model", "./nowhere"], ["./nowhere", "config.json"]),
    "rival": (["--rival", "murill"], ["murill", "did you mean 'muril'?"]),
    "task": (["--task", "lcd"], ["lcd", "did you mean 'ldc'?"]),
    "strategy": (["--strategy", "midle"], ["strategy 'midle'", "did you mean 'middle'?"]),
    "sampler": (["--sampler", "tpee"], ["sampler 'tpee'", "did you mean 'tpe'?"]),
    "pruner": (["--pruner", "medain"], ["pruner 'medain'", "did you mean 'median'?"]),
    "proxy": (["--proxy", "alignement"], ["proxy 'alignement'", "did you mean 'alignment'?"]),
    "proxy unheard": (["--proxy", "alignment", "--sampler", "random"], ["--sampler gp"]),
    "device": (["--device", "cudo"], ["device 'cudo'", "did you mean 'cuda'?"]),
    "method": (["--method", "lorra"], ["method 'lorra'", "did you mean 'lora'?"]),
    "metric": (["--metric", "acuracy"], ["metric 'acuracy'", "did you mean 'accuracy'?"]),
    "keep = depth": (["--keep", "5"], ["keep must be 1 to 4", "5 layers", "got 5"]),
    "keep > depth": (["--keep", "77"], ["keep must be 1 to 4", "got 77"]),
    "keep 0": (["--keep", "0"], ["--keep", "1"]),
    "keep -1": (["--keep", "-1"], ["--keep", "1"]),
    "keep six": (["--keep", "six"], ["--keep", "integer"]),
    "trials 0": (["--trials", "0"], ["--trials", "1"]),
    "trials -1": (["--trials", "-1"], ["--trials", "1"]),
    "seeds 0": (["--seeds", "0"], ["--seeds", "1"]),
    "seed -1": (["--seed", "-1"], ["--seed", "0"]),
    "epochs 0": (["--epochs", "0"], ["--epochs", "1"]),
    "full epochs 0": (["--full-epochs", "0"], ["--full-epochs", "1"]),
    "workers 0": (["--workers", "0"], ["--workers", "1"]),
    "batch 0": (["--batch", "0"], ["--batch", "1"]),
    "parts 0": (["--parts", "0"], ["--parts", "1"]),
    "tokens 2": (["--tokens", "2"], ["--tokens", "4"]),
    "rate 0": (["--learning-rate", "0"], ["--learning-rate", "between 0 and 1"]),
    "rate nan": (["--learning-rate", "nan"], ["--learning-rate", "got nan"]),
    "rate -1": (["--learning-rate", "-1"], ["--learning-rate", "got -1"]),
    "rate fast": (["--learning-rate", "fast"], ["--learning-rate", "number"]),
    "unknown option": (["--trails", "3"], ["--trails", "--trials"]),
    "stray word": (["more"], ["more"]),
    "study with /": (["--study", "a/b"], ["study's name", "'a/b'"]),
    "study upwards": (["--study", ".."], ["study's name", "'..'"]),
    "study absolute": (["--study", "/tmp/x"], ["study's name", "'/tmp/x'"]),
    "study hidden": (["--study", ".x"], ["study's name", "'.x'"]),
    "study empty": (["--study", ""], ["study's name", "''"]),
    "study of two lines": (["--study", "a\nb"], ["study's name", r"'a\nb'"]),
    "study too long": (["--study", "क" * 80], ["study's name", "150 bytes"]),
    "storage": (["--storage", "nonsense"], ["sqlite:///study.db", "'nonsense'"]),
    "storage mysql": (["--storage", "mysql://u:tarbuj@h/x"], ["sqlite", "postgresql", "mysql"]),
    "storage nowhere": (["--storage", "sqlite:////nowhere/x.db"], ["/nowhere/x.db", "unable"]),
    "storage in memory": (["--storage", "sqlite://"], ["sqlite:///study.db"]),
    "data dir": (["--task", "shc", "--data-dir", "nowhere"], ["SHC/SHC_Train.csv", "nowhere"]),
    "data dir without the task": (["--task", "shc", "--data-dir", "."], ["SHC/SHC_Train.csv"]),
    "text column": (["--text", "body"], ["'body'", "--text", "'text', 'label'"]),
    "label column": (["--label", "topic"], ["'topic'", "--label", "'text', 'label'"]),
    "second text": (["--text-pair", "b"], ["'b'", "--text-pair", "'text', 'label'"]),
    "one column for both": (["--text", "label"], ["different columns"]),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be(search, refused, options, words):
    check = refused()
    check(search(*options), *words)


def test_a_password_is_never_shown(search, refused, monkeypatch):
    monkeypatch.setattr("autoprune.search.storage.time.sleep", lambda seconds: None)
    check = refused()
    answer = search("--storage", "postgresql+psycopg://user:tarbuj@127.0.0.1:1/x")
    check(answer, "127.0.0.1", "connection")
    assert "tarbuj" not in answer.err
    assert "tarbuj" not in search("--storage", "mysql://user:tarbuj@host/x").err


COMMANDS = {
    "no model": (["search", "--task", "demo", "--keep", "6"], ["--model"]),
    "no task": (["search", "--model", "demo", "--keep", "6"], ["--task"]),
    "no keep": (["baseline", "--model", "demo", "--task", "demo"], ["--keep"]),
    "no depth": (["layouts", "--keep", "6"], ["--depth"]),
    "unknown command": (["serch"], ["'serch'", "'search'"]),
    "all layers": (["layouts", "--depth", "12", "--keep", "12"], ["keep must be 1 to 11"]),
    "one layer": (["layouts", "--depth", "1", "--keep", "1"], ["--depth"]),
}


@pytest.mark.parametrize(("arguments", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be(run, refused, arguments, words):
    check = refused()
    check(run(*arguments), *words)


@pytest.mark.parametrize("option", ["--keep=0", "--strategy=midle", "--study=a/b", "--seeds=0"])
def test_baseline_checks_alike(run, refused, model, task, option):
    check = refused()
    answer = run("baseline", "--model", model, "--task", task, "--keep", 2, option)
    check(answer, option.partition("=")[0].removeprefix("--"))


DATA = {
    "empty": ({"train.csv": ""}, ["train.csv", "is empty"]),
    "header only": ({"train.csv": HEADER}, ["train.csv", "rows"]),
    "missing column": ({"train.csv": "a,b\nx,y\n"}, ["--text", "'a', 'b'"]),
    "one class": ({"train.csv": HEADER + "a,x\nb,x\nc,x\n"}, ["two labels", "'x'"]),
    "a label only in test": (
        {"train.csv": GOOD, "test.csv": HEADER + "सात,zzz\nआठ,a\n"},
        ["'zzz'", "only in test"],
    ),
    "not UTF-8": ({"train.csv": b"text,label\n\xff\xe9,x\n"}, ["UTF-8", "line 2"]),
    "too many cells": ({"train.csv": HEADER + "a,b,c\n"}, ["2 columns", "line 2"]),
    "no train file": ({"notes.txt": "x"}, ["train.csv", "notes.txt"]),
    "nothing": ({}, ["train.csv"]),
    "too few rows": ({"train.csv": HEADER + "a,x\nb,y\n"}, ["train.csv", "2 rows"]),
    "all of test in train": (
        {"train.csv": GOOD, "test.csv": HEADER + "एक 1,a\nदोन 1,b\n"},
        ["test.csv", "--keep-duplicates"],
    ),
}


@pytest.mark.parametrize(("files", "words"), DATA.values(), ids=DATA)
def test_data_that_cannot_be(search, refused, here, files, words):
    folder = here / "data"
    folder.mkdir()
    for name, content in files.items():
        folder.joinpath(name).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    check = refused()
    check(search("--task", "data"), *words)


def nothing_in_it(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_off(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def garbage(folder):
    (folder / "model.safetensors").write_bytes(b"garbage" * 99)


def half_a_config(folder):
    (folder / "config.json").write_text("{")


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def deeper_than_its_weights(folder):
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 7}))


MODELS = {
    nothing_in_it: ["config.json"],
    pickled: ["pickled", "model.safetensors"],
    cut_off: ["model.safetensors", "cut off or broken"],
    garbage: ["model.safetensors", "cut off or broken"],
    half_a_config: ["config.json", "not JSON"],
    no_tokenizer: ["tokenizer.json"],
    deeper_than_its_weights: ["config.json", "missing"],
}


@pytest.mark.parametrize(
    ("spoil", "words"), MODELS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_a_model_that_cannot_be(search, refused, model, here, spoil, words):
    folder = shutil.copytree(model, here / "spoilt")
    spoil(folder)
    check = refused()
    check(search("--model", "./spoilt"), *words)


def as_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")


def as_folder(path):
    path.mkdir(parents=True)


# The tests may run as root, whom permissions do not stop: something else is in the way.
@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("studies", as_file),
        ("studies/s", as_file),
        ("studies/s/records.jsonl", as_folder),
        ("reports", as_file),
        ("reports/s.md", as_folder),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    search, refused, here, path, block
):
    block(here / path)
    check = refused()
    check(search("--study", "s"), path, "move it away")


def test_no_permission_is_found_before_the_work(search, refused, here, monkeypatch):
    monkeypatch.setattr("autoprune.cli.result.os.access", lambda path, mode: False)
    check = refused()
    check(search("--study", "s"), "studies/s", "no permission")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("journal.log", b"\x00\x01garbage\nmore\n"),
        ("journal.log", b'{"op_code":0}\n'),
        ("records.jsonl", b"garbage\nmore\n"),
        ("records.jsonl", b'{"schema":99}\n'),
    ],
)
def test_a_broken_study_is_found_before_the_work(search, refused, here, file, content):
    path = here / "studies/s" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    check = refused()
    check(search("--study", "s"), file)
    assert path.read_bytes() == content


def test_a_broken_database_is_refused(search, refused, here):
    here.joinpath("study.db").write_bytes(b"garbage" * 300)
    check = refused()
    check(search("--storage", "sqlite:///study.db"), "study.db")


@pytest.mark.parametrize("trials", [0, 2])
def test_a_study_of_another_kind_is_refused(search, here, trials):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    other = optuna.create_study(study_name="s", storage=f"sqlite:///{here}/study.db")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    answer = search("--study", "s", "--storage", "sqlite:///study.db")
    assert (answer.code, answer.out) == (2, "")
    assert answer.lines[-1] == (
        "autoprune: study s was not begun by autoprune: use another --study name"
    )
    assert not any(line.startswith("trial") for line in answer.lines)
    assert len(other.trials) == trials


@pytest.mark.parametrize("name", ["top", "found", "full", "scratch", "twin"])
def test_rivals_have_names_of_their_own(search, refused, model, here, name):
    shutil.copytree(model, here / name)
    shutil.copytree(model, here / "deeper" / "twin")
    check = refused()
    check(search("--rival", f"./{name}", "--rival", "./deeper/twin"), name)
