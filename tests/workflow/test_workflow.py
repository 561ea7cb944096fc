"""The workflow plans and runs the right commands, in the right order."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ("local", "slurm", "kubernetes")
RUNS = [
    {
        "chapter": "02_sparse",
        "profile": "laptop",
        "parameters": {"seed": [0, 1], "network": "cifar10 'a'/b"},
        "shards": 3,
    },
    {"chapter": "04_corruptions", "parameters": {"images": 50}},
]
# Stands for robustkit: writes down how it was called, and leaves the record it was asked for.
COMMAND = """\
#!/bin/sh
for word in "$@"; do printf '<%s>' "$word"; done >> called.txt
echo " $OMP_NUM_THREADS" >> called.txt
while [ $# -gt 1 ]; do shift; done
echo '{}' > "$1"
"""


@pytest.fixture
def snakemake():
    """Run Snakemake in a folder; skips where it is not installed."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("snakemake", path=beside) or shutil.which("snakemake")
    if program is None:
        pytest.skip("Snakemake is not installed: robustkit[scale]")

    def run(folder, *options):
        return subprocess.run(
            [program, "--snakefile", str(ROOT / "workflow" / "Snakefile"), *options],
            cwd=folder,
            env={**os.environ, "ROBUSTKIT_HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def checkout(tmp_path):
    """A folder with a workflow of its own and a command that only pretends to run."""
    config = {"runs": RUNS, "command": str(tmp_path / "command"), "checkout": ".", "threads": 2}
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (tmp_path / "command").write_text(COMMAND)
    (tmp_path / "command").chmod(0o755)
    package = tmp_path / "robustkit"
    package.mkdir()
    (package / "one.py").write_text("1")
    return tmp_path


def called(checkout):
    path = checkout / "called.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_every_shard_runs_once_and_is_collected(checkout, snakemake):
    profile = ("--profile", str(ROOT / "workflow" / "profiles" / "local"), "--cores", "2")
    done = snakemake(checkout, *profile)
    assert done.returncode == 0, done.stderr
    lines = called(checkout)
    assert len(lines) == 9
    common = "<02_sparse><--profile><laptop><-p><seed={}><-p><network=cifar10 'a'/b>"
    for seed in (0, 1):
        own = common.format(seed)
        places = [
            next(
                at
                for at, line in enumerate(lines)
                if line.startswith(f"<run>{own}<-p><shard={shard}><-p><shards=3><--record>")
            )
            for shard in range(3)
        ]
        collected = next(
            at for at, line in enumerate(lines) if line.startswith(f"<collect><--shards><3>{own}")
        )
        assert collected > max(places)
    whole = "<run><04_corruptions><--profile><smoke><-p><images=50><--record>"
    assert sum(line.startswith(whole) for line in lines) == 1
    assert {line.split()[-1] for line in lines} == {"2"}
    found = sorted(path.name for path in (checkout / "runs/workflow/records").iterdir())
    assert found == [
        *(f"02_sparse,laptop,seed={seed},network=cifar10++a++b.json" for seed in (0, 1)),
        "04_corruptions,smoke,images=50.json",
    ]
    # Nothing to do, until the code changes.
    assert snakemake(checkout, *profile).returncode == 0
    assert len(called(checkout)) == 9
    (checkout / "robustkit" / "one.py").write_text("2")
    assert snakemake(checkout, *profile).returncode == 0
    assert len(called(checkout)) == 18


def test_a_failed_shard_stops_its_record_alone(checkout, snakemake):
    (checkout / "command").write_text(
        COMMAND.replace("while", 'case "$*" in *seed=1*shard=1*) exit 1;; esac\nwhile')
    )
    profile = ("--profile", str(ROOT / "workflow" / "profiles" / "local"), "--cores", "1")
    done = snakemake(checkout, *profile)
    assert done.returncode != 0
    found = sorted(path.name[:22] for path in (checkout / "runs/workflow/records").iterdir())
    assert found == ["02_sparse,laptop,seed=", "04_corruptions,smoke,i"]
    (checkout / "command").write_text(COMMAND)
    assert snakemake(checkout, *profile).returncode == 0
    assert len(list((checkout / "runs/workflow/records").iterdir())) == 3


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_plans_the_jobs(checkout, snakemake, name):
    options = ["--profile", str(ROOT / "workflow" / "profiles" / name), "--dry-run"]
    done = snakemake(checkout, *options)
    said = done.stdout + done.stderr
    if f"invalid choice: '{name}'" in said or "No module named" in said:
        pytest.skip(f"Snakemake has no plugin for {name}")
    assert done.returncode == 0, said
    assert "shard          6" in said
    assert "collect        3" in said
    assert called(checkout) == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_only_rules_that_exist(name):
    profile = yaml.safe_load((ROOT / "workflow" / "profiles" / name / "config.yaml").read_text())
    text = (ROOT / "workflow" / "Snakefile").read_text()
    for rule in profile.get("set-threads", {}):
        assert f"rule {rule}:" in text


def test_the_runs_that_come_with_the_repository_exist():
    from robustkit import notebooks, plans, project

    config = yaml.safe_load((ROOT / "workflow" / "config.yaml").read_text())
    assert config["runs"]
    for entry in config["runs"]:
        known = {spec.name for spec in notebooks.parameters(project.text_path(entry["chapter"]))}
        assert set(entry.get("parameters", {})) <= known
        values = {
            name: given[0] if isinstance(given, list) else given
            for name, given in entry.get("parameters", {}).items()
        }
        plans.plan(entry["chapter"], values, profile=entry["profile"])
