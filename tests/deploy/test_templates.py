"""Templates for clusters: each is valid for its system, and its command is a valid worker."""

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
    """Return a function that runs the script with an `srun` that prints its arguments."""
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
    """Return the parameters that autoprune reads from a command."""
    name, *arguments = command
    return typer.main.get_command(app).commands[name].make_context(name, arguments).params


def test_slurm_script_is_valid_bash():
    assert subprocess.run(["bash", "-n", SLURM], capture_output=True, text=True).stderr == ""
    assert os.access(SLURM, os.X_OK)


def test_slurm_script_passes_the_storage_in_the_environment_only(submit, secret):
    done = submit("muril-ldc-keep6", "--data-dir", "my data", SLURM_CPUS_PER_TASK="3")
    assert (done.returncode, done.stderr) == (0, "")
    threads, program, *command, storage = done.stdout.splitlines()
    assert (threads, program) == ("--cpus-per-task=3", "autoprune")
    assert storage == f"storage={SECRET}"
    read = options_of(command)
    assert (read["study"], read["data_dir"]) == ("muril-ldc-keep6", Path("my data"))


def test_slurm_script_keeps_a_given_storage(submit):
    assert "storage=sqlite:///a.db" in submit("study", AUTOPRUNE_STORAGE="sqlite:///a.db").stdout


def test_slurm_script_with_a_secret_that_others_can_read_stops(submit, secret):
    secret.chmod(0o640)
    done = submit("study")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{secret} can be read by others: chmod 600 {secret}\n"


def test_slurm_script_without_secret_or_study_says_so(submit):
    assert submit("study").returncode == 2
    assert ".config/autoprune/storage must hold the URL" in submit("study").stderr
    assert (submit().returncode, submit().stderr[:14]) == (2, "usage: sbatch ")


def test_manifest_is_a_job_by_the_strict_schema(manifest):
    assert kubernetes_validate.validate(manifest, "1.33", strict=True) == "1.33"
    assert (manifest["kind"], manifest["spec"]["completionMode"]) == ("Job", "Indexed")


@pytest.mark.parametrize(
    ("key", "value"), [("parallelism", "eight"), ("backoffLimitPerIndices", 6)]
)
def test_schema_refuses_a_wrong_manifest(manifest, key, value):
    wrong = copy.deepcopy(manifest)
    wrong["spec"][key] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_manifest_starts_a_valid_worker(container):
    program, *command = [*container["command"], *container["args"]]
    assert program == "autoprune"
    assert options_of(command)["study"] == "muril-ldc-keep6"
    assert options_of(command)["storage"] is None  # nothing of it on the command line


def test_manifest_reads_the_storage_from_a_secret_and_has_time_to_stop(manifest, container):
    [storage] = [
        variable for variable in container["env"] if variable["name"] == "AUTOPRUNE_STORAGE"
    ]
    assert storage == {
        "name": "AUTOPRUNE_STORAGE",
        "valueFrom": {"secretKeyRef": {"name": "autoprune-storage", "key": "url"}},
    }
    assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    assert set(container["resources"]) == {"requests", "limits"}
