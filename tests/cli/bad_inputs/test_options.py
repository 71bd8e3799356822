"""Bad options and arguments: each is refused in one line that names it."""

import shutil

import pytest

OPTIONS = {
    "model": (["--model", "mahabert-v3"], ["mahabert-v3", "did you mean 'mahabert-v2'?"]),
    "model path": (["--model", "./nowhere"], ["./nowhere", "config.json"]),
    "rival": (["--rival", "murill"], ["murill", "did you mean 'muril'?"]),
    "task": (["--task", "lcd"], ["lcd", "did you mean 'ldc'?"]),
    "strategy": (["--strategy", "midle"], ["strategy 'midle'", "did you mean 'middle'?"]),
    "sampler": (["--sampler", "tpee"], ["sampler 'tpee'", "did you mean 'tpe'?"]),
    "pruner": (["--pruner", "medain"], ["pruner 'medain'", "did you mean 'median'?"]),
    "proxy": (["--proxy", "alignement"], ["proxy 'alignement'", "did you mean 'alignment'?"]),
    "proxy without its sampler": (
        ["--proxy", "alignment", "--sampler", "random"],
        ["--sampler gp"],
    ),
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
    "rates with a word": (["--learning-rates", "1e-4,fast"], ["--learning-rates", "5e-5"]),
    "rates with 2": (["--learning-rates", "1e-4,2"], ["--learning-rates", "'1e-4,2'"]),
    "one rate": (["--learning-rates", "1e-4"], ["--learning-rates", "two or more"]),
    "no rates": (["--learning-rates", ""], ["--learning-rates", "got ''"]),
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
    "data dir": (["--task", "shc", "--data-dir", "nowhere"], ["--data-dir", "none at nowhere"]),
    "data dir of the demo": (["--task", "demo", "--data-dir", "nowhere"], ["none at nowhere"]),
    "data dir without the task": (["--task", "shc", "--data-dir", "."], ["SHC/SHC_Train.csv"]),
    "text column": (["--text", "body"], ["'body'", "--text", "'text', 'label'"]),
    "label column": (["--label", "topic"], ["'topic'", "--label", "'text', 'label'"]),
    "second text": (["--text-pair", "b"], ["'b'", "--text-pair", "'text', 'label'"]),
    "one column for both": (["--text", "label"], ["different columns"]),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_search_refuses_bad_option(search, refused, options, words):
    refused(*search(*options), words=words)


def test_password_of_a_storage_is_never_shown(search, refused, monkeypatch):
    monkeypatch.setattr("autoprune.storage.storage.time.sleep", lambda seconds: None)
    answer = refused(
        *search("--storage", "postgresql+psycopg://user:tarbuj@127.0.0.1:1/x"),
        words=["127.0.0.1", "connection"],
    )
    assert "tarbuj" not in answer.err
    answer = refused(*search("--storage", "mysql://user:tarbuj@host/x"), words=["mysql"])
    assert "tarbuj" not in answer.err


COMMANDS = {
    "no model": (["search", "--task", "demo", "--keep", "6"], ["--model"]),
    "no task": (["search", "--model", "demo", "--keep", "6"], ["--task"]),
    "no keep": (["baseline", "--model", "demo", "--task", "demo"], ["--keep"]),
    "no depth": (["layouts", "--keep", "6"], ["--depth"]),
    "unknown command": (["serch"], ["'serch'", "'search'"]),
    "all layers": (["layouts", "--depth", "12", "--keep", "12"], ["keep must be 1 to 11"]),
    "one layer": (["layouts", "--depth", "1", "--keep", "1"], ["--depth"]),
    "negative depth": (["layouts", "--depth", "-3", "--keep", "1"], ["--depth"]),
    "no study": (["report", "nonesuch"], ["nonesuch", "studies", "known: none"]),
    "study upwards": (["report", "../../etc"], ["../../etc", "no study"]),
    "compare one": (["compare", "one"], ["'second'"]),
    "compare none": (["compare", "one", "two"], ["no study 'one'"]),
    "export none": (["export", "nonesuch", "--out", "x"], ["nonesuch", "no study"]),
    "cost none": (["cost", "nonesuch"], ["nonesuch"]),
    "predict nothing": (["predict", "nowhere", "texts.csv"], ["FILE", "texts.csv"]),
    "dashboard of another kind": (["dashboard", "redis://u:tarbuj@h"], ["sqlite", "redis"]),
    "NUL in a name": (["search", "--model", "a\0b", "--task", "demo", "--keep", "6"], ["a\\x00b"]),
    "NUL in a task": (
        ["search", "--model", "demo", "--task", "a\0b", "--keep", "6"],
        ["a\\\\x00b"],
    ),
}


@pytest.mark.parametrize(("arguments", "words"), COMMANDS.values(), ids=COMMANDS)
def test_command_refuses_bad_arguments(refused, arguments, words):
    answer = refused(*arguments, words=words)
    assert "tarbuj" not in answer.err


@pytest.mark.parametrize("option", ["--keep=0", "--strategy=midle", "--study=a/b", "--seeds=0"])
def test_baseline_refuses_bad_option(baseline, refused, option):
    refused(*baseline(option), words=[option.partition("=")[0].removeprefix("--")])


@pytest.mark.parametrize("name", ["top", "found", "full", "scratch", "majority", "tf-idf", "twin"])
def test_search_refuses_a_rival_with_a_name_in_use(search, refused, model, tmp_path, name):
    shutil.copytree(model, tmp_path / name)
    shutil.copytree(model, tmp_path / "deeper" / "twin")
    refused(*search("--rival", f"./{name}", "--rival", "./deeper/twin"), words=[name, "rename"])
