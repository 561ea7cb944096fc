"""Shards of a chapter, collected into the very record of the run that was never split."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from waiting import wait_for

from robustkit import cli, notebooks, records, runs
from robustkit.collecting import collect
from robustkit.errors import InputError, RunError

CHAPTER = """\
# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # of the network and the images
shard: int = 0  # which part of the images
shards: int = 1  # how many parts

# %%
import os
import time
from pathlib import Path

import torch
from torch import nn

from robustkit import attacks, records, rng, stats
from robustkit.pieces import Pieces

record = records.Record(
    "01_split", {"profile": profile, "seed": seed, "shard": shard, "shards": shards}
)
Path("../kernel.txt").write_text(str(os.getpid()))
work = Pieces(shard, shards, block=4)
rows = work.rows(22)


def said(what):
    with Path("../said.txt").open("a") as file:
        file.write(f"{shard}/{shards} {what}\\n")


def train(place):
    said("trains")
    return {"weight": torch.randn(5, 48, generator=torch.Generator().manual_seed(seed))}


def attack(images, labels, keys):
    said(f"attacks {keys.tolist()}")
    while Path("../stop.txt").exists() and keys[0] >= 12:
        time.sleep(0.05)
    return attacks.random_pixels(model, images, labels, components=8, seed=seed, indices=keys)


model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5, bias=False)).eval()
model[1].load_state_dict(work.once("training", train))
images = rng.uniform(seed, "images", rows, (3, 4, 4))
labels = model(images).argmax(1)
kept = (rows % 5 != 2).nonzero().flatten()
inside, own = images[kept], rows[kept]
far = work.by_image(
    "far", lambda x: attacks.deepfool(model, x, bounds=None), inside, rows=own, of=model
)
near = work.by_image("random", attack, inside, labels[kept], own, rows=own, of=model)

# %%
record.scalar("far", stats.median(far.distance(2).tolist()))
record.scalar("calls", far.backward_calls)
record.scalar("fooled", stats.wilson(int(near.success.sum()), len(near)))
record.scalar("seconds", work.seconds("far") > 0)
record.table("images", {"row": own, "far": far.distance(2), "random": near.distance(2)})

# %%
record.finish()
"""


def checkout_at(folder: Path) -> Path:
    for name in ("notebooks", "book"):
        (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "notebooks" / "01_split.py").write_text(CHAPTER)
    return folder


def said(folder: Path) -> list[str]:
    path = folder / "said.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def never_split(tmp_path_factory):
    """The folder and the run of the chapter in one piece."""
    folder = checkout_at(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, runs.run("01_split", {})


@pytest.fixture(scope="module")
def three_shards(tmp_path_factory):
    """A folder with three finished shards, one of which was killed in its second block."""
    folder = checkout_at(tmp_path_factory.mktemp("split"))
    (folder / "stop.txt").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "robustkit", "run", "1", "-p", "shards=3", "-p", "shard=2"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(runs.__file__).parents[1])},
    )
    try:
        wait_for(lambda: "2/3 attacks [20, 21]" in said(folder), "the second block")
    finally:
        # With its kernel, as when a machine goes down.
        process.kill()
        process.wait()
        os.kill(int((folder / "kernel.txt").read_text()), signal.SIGKILL)
    (folder / "stop.txt").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert runs.find(runs.plan("01_split", {"shard": 2, "shards": 3})) is None
        for shard in (2, 0, 1):
            runs.run("01_split", {"shard": shard, "shards": 3})
    return folder


@pytest.fixture
def split(three_shards, tmp_path, monkeypatch):
    """A copy of the three shards to work on; the working folder is there."""
    folder = tmp_path / "split"
    shutil.copytree(three_shards, folder)
    monkeypatch.chdir(folder)
    return folder


def without_times(record):
    provenance = dict(record["provenance"])
    for name in ("wall_seconds", "peak_memory_mib", "shards"):
        provenance.pop(name, None)
    return {**record, "provenance": provenance}


def test_the_collected_record_is_that_of_the_run_in_one_piece(never_split, split):
    whole_folder, whole = never_split
    before = said(split)
    # Six blocks, dealt out in turn. The first shard alone trained, and after it was killed it did
    # again what it had not finished, and nothing else.
    assert before == [
        "2/3 trains",
        *("2/3 attacks [8, 9, 10, 11]", "2/3 attacks [20, 21]", "2/3 attacks [20, 21]"),
        *("0/3 attacks [0, 1, 3]", "0/3 attacks [13, 14, 15]"),
        *("1/3 attacks [4, 5, 6]", "1/3 attacks [16, 18, 19]"),
    ]
    result = collect("01", {}, shards=3)
    assert said(split) == before
    assert not result.cached
    assert repr(without_times(result.record)) == repr(without_times(whole.record))
    assert result.record["key"] == whole.record["key"]
    assert [sorted(made) for made in result.record["provenance"]["shards"]] == 3 * [
        ["cores", "cpu", "peak_memory_mib", "threads", "wall_seconds"]
    ]
    assert (split / "notebooks" / "01_split.ipynb").exists()
    assert len(said(whole_folder)) == 7
    # Again, and as a run of its own: it has finished.
    for again in (collect("01", {}, shards=3), runs.run("01", {})):
        assert again.cached
        assert repr(again.record) == repr(result.record)
    done = CliRunner().invoke(cli.cli, ["collect", "1", "--shards", "3", "--record", "a/copy.json"])
    assert done.exit_code == 0, done.output
    assert "was finished already" in done.output
    assert repr(records.read(split / "a" / "copy.json")) == repr(result.record)
    assert said(split) == before
    assert not (whole.folder / "pieces").exists()


def test_a_shard_is_a_record_of_its_images_and_is_not_installed(three_shards, monkeypatch):
    monkeypatch.chdir(three_shards)
    run = runs.run("01_split", {"shard": 1, "shards": 3})
    assert run.cached
    assert run.record["tables"]["images"]["row"] == [4, 5, 6, 16, 18, 19]
    assert run.record["scalars"]["fooled"]["count"] == 6
    assert not (three_shards / "notebooks" / "01_split.ipynb").exists()


def test_shards_that_are_missing_or_stale_are_named_with_what_to_do(split):
    lost, damaged = (
        runs.plan("01", {"shard": shard, "shards": 3}).folder / "record.json" for shard in (0, 2)
    )
    lost.unlink()
    damaged.write_text("{")
    with pytest.raises(RunError) as caught:
        collect("01", {}, shards=3)
    said = str(caught.value)
    assert "2 of 3 shards cannot be collected: 0, 2." in said
    assert "Shard 0 has not finished: robustkit run 01_split -p shards=3 -p shard=0" in said
    assert "Shard 2 is damaged, or the package or its data changed since: robustkit run" in said
    done = CliRunner().invoke(cli.cli, ["collect", "1", "--shards", "3"])
    assert done.exit_code == 1
    assert "Shard 0 has not finished" in done.output


def test_shards_of_other_parameters_are_refused(split):
    with pytest.raises(RunError, match=r"3 of 3 shards .*\n.*\n.*\n.*\n.*shards with seed=0;"):
        collect("01", {"seed": 1}, shards=3)
    with pytest.raises(RunError, match=r"2 of 2 shards .*\n.*\n.*\n.*shards with shards=3;"):
        collect("01", {}, shards=2)
    assert not (split / "notebooks" / "01_split.ipynb").exists()


def test_shards_of_two_versions_of_a_package_are_refused(split):
    path = runs.plan("01", {"shard": 1, "shards": 3}).folder / "record.json"
    record = records.read(path)
    record["provenance"]["packages"]["torch"] = "1.0.0"
    records.write(path, record)
    # The notebook carries the same record, or the run counts as damaged.
    notebook = path.with_name("01_split.ipynb")
    notebooks.write(notebook, nbformat.read(notebook, as_version=4), record)
    with pytest.raises(RunError, match=r"shard 1 was run with torch 1.0.0, here it is"):
        collect("01", {}, shards=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shards", "1"], "shards must be at least 2, got 1"),
        (["--shards", "3", "-p", "shard=1", "-p", "shards=3"], "leave shard and shards out"),
        (["--shards", "3", "-p", "sed=1"], "unknown parameter 'sed'"),
        ([], "Missing option '--shards'"),
    ],
)
def test_what_cannot_be_collected_is_said_at_once(split, arguments, message):
    done = CliRunner().invoke(cli.cli, ["collect", "1", *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_a_chapter_without_shards_does_not_split(checkout):
    with pytest.raises(InputError, match="01_tiny does not split"):
        collect("01_tiny", {}, shards=2)


@pytest.mark.parametrize(("shard", "shards"), [(3, 3), (-1, 2), (0, 0)])
def test_a_shard_outside_its_range_is_refused(split, shard, shards):
    with pytest.raises(InputError, match=r"shard must lie in \[0, shards\), got shard"):
        runs.plan("01", {"shard": shard, "shards": shards})
