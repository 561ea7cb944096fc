"""Make tasks fail at chosen points, in processes of their own; answers one line of JSON a fault.

    python fault_driver.py FOLDER KILLS MOMENTS QUOTAS SEED [TASK ...]

Every process is a fork of this one, which has imported all it needs and started no thread. For a
kill, an audit hook sees each operation of Python on a file below the root (open, rename, remove,
make a folder, change its mode) before it happens; at the chosen one the process kills its group.
At a moment, an alarm ends the process wherever it is, in the middle of a write perhaps. For a full
disk, no file may grow beyond a quota of bytes. KILLS, MOMENTS and QUOTAS faults of each task are
drawn from SEED; with KILLS=0 the task is killed at every operation.
"""

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fault_project
import torch
from fault_tasks import TASKS

from robustkit.errors import RobustkitError

Task = Callable[[Path], Any]
_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}


def in_a_fork(work: Callable[[], Any]) -> tuple[int, Any]:
    """Return the exit status of a fork that does `work`, negative if killed, and its answer.

    The status is 0 after success, 3 after an error of robustkit and 1 after any other; the answer
    is the result or the message.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.setsid()
        # What a task prints is not an answer of this program.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            status, answer = 0, work()
        except RobustkitError as error:
            status, answer = 3, str(error)
        except BaseException:
            status, answer = 1, traceback.format_exc()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(said) if said else None


def watched(root: Path, work: Callable[[], Any], at: int | None) -> tuple[Any, int]:
    """Return the result of `work` and how many operations it took; killed before number `at`."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _WATCHED and str(arguments[0]).startswith(str(root)):
            count += 1
            if count == at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
    return work(), count


def alarmed(work: Callable[[], Any], seconds: float) -> Any:
    """Return the result of `work` unless the process is killed before, after some seconds."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return work()


def limited(work: Callable[[], Any], size: int) -> Any:
    """Return the result of `work` where no file may grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return work()


def prepare(root: Path, task: Task) -> None:
    """Write a checkout at `root` in which the task was done once and is out of date since."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    fault_project.make(root)
    status, said = in_a_fork(lambda: task(root))
    assert status == 0, said
    fault_project.change(root)
    shutil.rmtree(root / "home", ignore_errors=True)
    shutil.rmtree(_kept(root), ignore_errors=True)
    shutil.copytree(root, _kept(root))


def restore(root: Path) -> None:
    """Make the checkout what `prepare` left; it must lie where it was, for records name files."""
    shutil.rmtree(root)
    shutil.copytree(_kept(root), root)


def _kept(root: Path) -> Path:
    return root.with_name("kept")


def fail(root: Path, task: Task, fault: Callable[[], Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Do a task with a fault, look at what is left, and do it once more without."""
    restore(root)
    before = fault_project.committed(root)
    status, said = in_a_fork(fault)
    after = fault_project.committed(root)
    # Old or new, and nothing between.
    damaged = [
        name
        for name in before | after
        if after.get(name) not in (before.get(name), whole["files"].get(name))
    ]
    again, result = in_a_fork(lambda: task(root))
    return {
        "status": status,
        "said": said if status > 0 else "",
        "damaged": damaged,
        "resumed": again == 0 and result == whole["result"],
        "said_again": result if again else "",
        "left": fault_project.parts(root),
    }


def faults(
    root: Path, name: str, kills: int, moments: int, quotas: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Let one task fail in every way that is asked for."""
    task = TASKS[name]
    prepare(root, task)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    status, answer = in_a_fork(
        lambda: [*watched(root, lambda: task(root), None), sorted(sys.modules)]
    )
    assert status == 0, answer
    result, count, modules = answer
    # What a task imports late, every fork would import again.
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    gc.freeze()
    whole = {"result": result, "files": fault_project.committed(root)}
    written = [path for path in root.rglob("*") if path.is_file()]
    largest = max(path.stat().st_size for path in written if before.get(path) != path.read_bytes())
    drawn = fault_project.draws(f"kill/{name}", kills, seed=seed)
    for at in [1 + int(count * share) for share in drawn] or range(1, count + 1):
        found = fail(root, task, lambda at=at: watched(root, lambda: task(root), at), whole)
        yield {"task": name, "kind": "kill", "at": at, "of": count, **found}
    restore(root)
    begun = time.monotonic()
    in_a_fork(lambda: task(root))
    length = time.monotonic() - begun
    for share in fault_project.draws(f"moment/{name}", moments, seed=seed):
        at = length * share
        found = fail(root, task, lambda at=at: alarmed(lambda: task(root), at), whole)
        yield {"task": name, "kind": "moment", "at": round(at, 3), "of": round(length, 3), **found}
    for share in fault_project.draws(f"quota/{name}", quotas, seed=seed):
        size = int(largest * share)
        found = fail(root, task, lambda size=size: limited(lambda: task(root), size), whole)
        yield {"task": name, "kind": "quota", "at": size, "of": largest, **found}


def main(folder: str, kills: str, moments: str, quotas: str, seed: str, *names: str) -> None:
    """Print what every fault came to."""
    torch.set_num_threads(1)
    root = Path(folder).resolve() / "checkout"
    for name in names or TASKS:
        for found in faults(root, name, int(kills), int(moments), int(quotas), int(seed)):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
