import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from robustkit import grid as grids
from robustkit import runs
from robustkit.errors import UnknownNameError

ROOT = str(Path(runs.__file__).parents[1])


@pytest.fixture(autouse=True)
def _package_is_importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ROOT)


def test_every_combination_is_a_run_of_its_own_and_a_failure_stops_no_other(checkout):
    checkout.write(
        "# %%\nimport os\n"
        'Path(f"../threads-{seed}.txt").write_text(os.environ["OMP_NUM_THREADS"])\n'
        "assert (seed, scale) != (2, 0.001), 'no luck'\n"
    )
    axes = {"seed": [1, 2], "scale": [0.001, 2.0]}
    rows = grids.grid("01_tiny", {"device": "cpu"}, axes, jobs=2)
    assert [row.values for row in rows] == [
        {"seed": 1, "scale": 0.001},
        {"seed": 1, "scale": 2.0},
        {"seed": 2, "scale": 0.001},
        {"seed": 2, "scale": 2.0},
    ]
    assert [row.record and row.record["scalars"]["answer"]["value"] for row in rows] == [
        *(1.042, 85.0, None, 86.0)
    ]
    assert "AssertionError: no luck" in rows[2].error
    assert rows[0].error == ""
    assert rows[0].record["parameters"]["device"] == "cpu"
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert (checkout.folder / "threads-1.txt").read_text() == str(threads)
    # The second call finds three of the four finished.
    assert checkout.executions() == 4
    grids.grid("01_tiny", {"device": "cpu"}, {"seed": [1], "scale": [0.001, 2.0]}, jobs=2)
    assert checkout.executions() == 4


def test_no_run_starts_when_one_combination_is_not_valid(checkout):
    with pytest.raises(UnknownNameError, match="unknown profile"):
        grids.grid("01_tiny", {}, {"profile": ["smoke", "smokey"]})
    assert checkout.executions() == 0


def test_an_interrupted_grid_stops_its_runs(checkout):
    checkout.write(
        "# %%\nimport time\nif seed == 2:\n"
        '    Path("../asleep.txt").touch()\n'
        '    time.sleep(0 if Path("../awake.txt").exists() else 120)\n'
    )
    command = [sys.executable, "-m", "robustkit", "run", "1", "--grid", "seed=1,2", "-j", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for((checkout.folder / "asleep.txt").exists, "the second run")
    except BaseException:
        process.kill()
        raise
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command resumes" in said
    assert checkout.leftovers() == []
    (checkout.folder / "awake.txt").touch()
    rows = grids.grid("01_tiny", {}, {"seed": [1, 2]})
    assert all(row.record for row in rows)
    assert (checkout.folder / "executed.txt").read_text().splitlines() == ["1", "2", "2"]
