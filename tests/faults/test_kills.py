"""Real runs, killed with their whole process group at random moments, and the next call after."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fault_project
import pytest
from waiting import wait_for

import robustkit

KILLS = int(os.environ.get("ROBUSTKIT_FAULTS", "2"))
SEED = int(os.environ.get("ROBUSTKIT_FAULT_SEED", "0"))


@dataclass(frozen=True)
class Started:
    """A process, and the file of what it says."""

    process: "subprocess.Popen[bytes]"
    said: Path


Start = Callable[..., Started]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fault_project.make(tmp_path)


@pytest.fixture
def start(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `robustkit` in a session of its own; it is killed with the test.

    What it says goes to a file: a pipe would stay open as long as any kernel lives.
    """
    started: list[subprocess.Popen[bytes]] = []
    folder = tmp_path_factory.mktemp("said")

    def begin(*arguments: str, python: tuple[str, ...] = ("-m", "robustkit")) -> Started:
        said = folder / f"{len(started)}.txt"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *python, *arguments],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(Path(robustkit.__file__).parents[1])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return Started(process, said)

    yield begin
    for process in started:
        kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


def finish(started: Started, status: int = 0) -> str:
    """Wait for a process that must end with this status; return what it said."""
    started.process.wait(timeout=300)
    said = started.said.read_text()
    assert started.process.returncode == status, said
    return said


def numbers(root: Path) -> Any:
    """Return the parts of the installed record that are the same for every run."""
    page = json.loads((root / "notebooks" / f"{fault_project.CHAPTER}.ipynb").read_text())
    record = page["metadata"]["robustkit"]["record"]
    return [record["key"], record["scalars"], record["tables"]]


def test_a_run_killed_at_random_moments_is_finished_by_the_next_call(
    root: Path, start: Start
) -> None:
    begun = time.monotonic()
    finish(start("run", "01"))
    length = time.monotonic() - begun
    first = numbers(root)
    fault_project.change(root)
    before = fault_project.committed(root)
    # A chapter that sleeps cannot end before it is killed, however fast the machine is.
    (root / "runs" / "asleep.txt").touch()
    for share in fault_project.draws("moment", KILLS, seed=SEED):
        process = start("run", "01").process
        time.sleep(length * share)
        kill(process)
        assert process.returncode == -signal.SIGKILL
        assert fault_project.committed(root) == before
    (root / "runs" / "asleep.txt").unlink()
    assert "12 [0, 100]" in finish(start("run", "01"))
    assert numbers(root) != first
    assert fault_project.parts(root) == []


def test_when_one_of_two_equal_runs_is_killed_the_other_takes_over(
    root: Path, start: Start
) -> None:
    asleep, kernel = root / "runs" / "asleep.txt", root / "runs" / "kernel.txt"
    asleep.touch()
    first = start("run", "01")
    wait_for(lambda: kernel.exists() and kernel.read_text(), "the first run to work")
    second = start("run", "01")
    waits = "another process runs this very run; waiting for it"
    wait_for(lambda: waits in second.said.read_text(), "the second run to wait")
    asleep.unlink()
    kill(first.process)
    said = finish(second)
    assert "this run was killed before it finished; it starts again" in said
    assert "finished already" not in said
    assert fault_project.executions(root) == 2
    # The kernel of the killed run notices that it is alone.
    wait_for(lambda: not alive(int(kernel.read_text())), "the end of the kernels")
    assert "was finished already" in finish(start("run", "01"))
    assert fault_project.parts(root) == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_full_disk_ends_the_command_with_one_sentence(root: Path, start: Start) -> None:
    finish(start("run", "01"))
    before = fault_project.committed(root)
    fault_project.change(root)
    words = fault_project.committed(root)["noted.txt"]
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
        "sys.argv = ['robustkit', 'run', '01']; from robustkit.cli import main; main()"
    )
    said = finish(start(python=("-c", program)), status=1)
    assert "Traceback" not in said
    assert said.startswith("Error: ")
    assert "File too large" in said
    assert fault_project.committed(root) == {**before, "noted.txt": words}
    assert fault_project.parts(root) == []
