"""The TOML file of a study on the command line: options win, mistakes are one line."""

import tomllib

import pytest

TEXT = """
model = "{model}"
task = "{task}"
keep = {keep}
[budget]
epochs = 1
full_epochs = 1
batch = 16
[comparison]
seeds = 1
strategies = ["top"]
"""


@pytest.fixture
def write_config(model, task, tmp_path):
    """Return a function that writes study.toml, with more text at its end."""

    def write_config(keep="2", more=""):
        path = tmp_path / "study.toml"
        path.write_text(TEXT.format(model=model, task=task, keep=keep) + more)
        return path

    return write_config


def test_config_file_gives_the_study_and_options_win(run, write_config, tmp_path):
    path = write_config(more="[search]\ntrials = 5\n")
    options = ("--trials", 1, "--strategy", "middle", "--workers", 1, "--json")
    answer = run("search", "--config", path, *options, "--write-config", "resolved.toml")
    assert answer.code == 0, answer.err
    assert answer.result["trials"] == 1
    assert [row["origin"] for row in answer.result["comparison"]] == [
        *("found", "middle", "full", "scratch", "majority", "tf-idf")
    ]
    resolved = tomllib.loads((tmp_path / "resolved.toml").read_text())
    assert (resolved["keep"], resolved["search"]["trials"]) == (2, 1)
    assert resolved["comparison"] == {
        "seeds": 1,
        "race": True,
        "strategies": ["middle"],
        "rivals": [],
    }
    again = run("search", "--config", "resolved.toml", "--workers", 1, "--json")
    assert again.result == answer.result


def test_config_file_with_several_keeps_is_resolved(run, write_config, tmp_path):
    run("baseline", "--config", write_config("[2, 3]"), "--write-config", "resolved.toml")
    assert tomllib.loads((tmp_path / "resolved.toml").read_text())["keep"] == "2-3"


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ("[search]\ntrial = 3\n", (), "unknown setting 'trial', did you mean 'trials'"),
        ("[search]\ntrials = 0\n", (), "trials must be greater than or equal to 1, got 0"),
        ("", ("--keep", "6,x"), "--keep takes integers"),
        ("[budget", (), "is no TOML"),
    ],
)
def test_config_file_with_a_mistake_is_refused(run, write_config, more, options, message):
    path = write_config(more=more)
    assert message in run("search", "--config", path, *options).refusal()


def test_study_without_a_model_is_refused(run):
    assert "missing option '--model'" in run("search", "--task", "demo", "--keep", 3).refusal()
