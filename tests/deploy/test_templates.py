"""The templates for clusters: each is what its system takes, and starts a worker that parses."""

import copy
import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml

from autoprune.cli.app import app

DEPLOY = Path(__file__).parents[2] / "deploy"
SLURM = DEPLOY / "slurm.sh"
SECRET = "postgresql+psycopg://ann:open-sesame@db/studies"


@pytest.fixture
def manifest():
    return yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())


@pytest.fixture
def container(manifest):
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    return container


@pytest.fixture
def submit(tmp_path):
    """Return a function that runs the script with a `srun` that tells what it was given."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho "storage=$AUTOPRUNE_STORAGE"\n')
    srun.chmod(0o755)

    def submit(*arguments, **environment):
        environment = {
            "PATH": f"{srun.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            **environment,
        }
        return subprocess.run(
            ["bash", SLURM, *arguments], env=environment, capture_output=True, text=True
        )

    return submit


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / ".config" / "autoprune" / "storage"
    path.parent.mkdir(parents=True)
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def options_of(command):
    """Return what autoprune reads from the words of a command."""
    name, *arguments = command
    return typer.main.get_command(app).commands[name].make_context(name, arguments).params


def test_the_script_is_bash():
    assert subprocess.run(["bash", "-n", SLURM], capture_output=True, text=True).stderr == ""
    assert os.access(SLURM, os.X_OK)


def test_the_script_starts_a_worker_with_the_storage_in_its_environment_only(submit, secret):
    done = submit("muril-ldc-keep6", "--data-dir", "my data", SLURM_CPUS_PER_TASK="3")
    assert (done.returncode, done.stderr) == (0, "")
    threads, program, *command, storage = done.stdout.splitlines()
    assert (threads, program) == ("--cpus-per-task=3", "autoprune")
    assert storage == f"storage={SECRET}"
    read = options_of(command)
    assert (read["study"], read["data_dir"]) == ("muril-ldc-keep6", Path("my data"))


def test_the_script_leaves_a_storage_that_is_given(submit):
    assert "storage=sqlite:///a.db" in submit("one", AUTOPRUNE_STORAGE="sqlite:///a.db").stdout


def test_the_script_refuses_a_secret_that_others_can_read(submit, secret):
    secret.chmod(0o640)
    done = submit("one")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{secret} can be read by others: chmod 600 {secret}\n"


def test_the_script_says_what_is_missing(submit):
    assert submit("one").returncode == 2
    assert ".config/autoprune/storage must hold the URL" in submit("one").stderr
    assert (submit().returncode, submit().stderr[:14]) == (2, "usage: sbatch ")


def test_the_manifest_is_a_job_by_the_strict_schema(manifest):
    assert kubernetes_validate.validate(manifest, "1.33", strict=True) == "1.33"
    assert (manifest["kind"], manifest["spec"]["completionMode"]) == ("Job", "Indexed")


@pytest.mark.parametrize(
    ("key", "value"), [("parallelism", "eight"), ("backoffLimitPerIndices", 6)]
)
def test_the_schema_refuses_what_is_no_job(manifest, key, value):
    wrong = copy.deepcopy(manifest)
    wrong["spec"][key] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_the_manifest_starts_a_worker_that_parses(container):
    program, *command = [*container["command"], *container["args"]]
    assert program == "autoprune"
    assert options_of(command)["study"] == "muril-ldc-keep6"
    assert options_of(command)["storage"] is None  # nothing of it on the command line


def test_the_manifest_takes_the_storage_from_a_secret_and_leaves_time_to_stop(manifest, container):
    [storage] = [one for one in container["env"] if one["name"] == "AUTOPRUNE_STORAGE"]
    assert storage == {
        "name": "AUTOPRUNE_STORAGE",
        "valueFrom": {"secretKeyRef": {"name": "autoprune-storage", "key": "url"}},
    }
    assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    assert set(container["resources"]) == {"requests", "limits"}
