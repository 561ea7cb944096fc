"""Feed every public function bad input; answers one line of JSON a target.

    python fuzz_worker.py [TARGET ...]

An answer counts the calls that succeeded and those that robustkit refused, and lists the others:
which argument was bad in which way, and what came of it.
"""

import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Never

import fuzz_targets
import fuzz_values
import torch
from fuzz_exceptions import NOT_FED, NOT_SPOILED
from fuzz_spoilers import spoiled

from robustkit.errors import RobustkitError

# Seconds of the processor that a call with bad input may take, and memory beyond what is in use.
_PATIENCE, _MEMORY = 20.0, 3 * 2**30


class TooLong(Exception):
    """A call that goes on and on."""


def _stop(number: int, frame: FrameType | None) -> Never:
    raise TooLong(f"took more than {_PATIENCE:.0f} s")


def outcome(target: fuzz_targets.Target, given: dict[str, Any]) -> str:
    """Return "done", "refused" or a description of anything else."""
    signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE)
    try:
        fuzz_values.call(target, given)
        return "done"
    except RobustkitError:
        return "refused"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if f"{os.sep}robustkit{os.sep}" in f.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"{type(error).__name__} in {where}: {str(error).strip()[:160]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def fed(target: fuzz_targets.Target) -> dict[str, Any]:
    """Return a good value of each argument that is to be exchanged for bad ones."""
    return {
        parameter.name: fuzz_values.good(target, parameter)
        for parameter in target.parameters
        if f"{target.name}.{parameter.name}" not in NOT_SPOILED
    }


def cases(target: fuzz_targets.Target) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the name of the bad argument, what is wrong with it, and all arguments."""
    for name, good in fed(target).items():
        for what, bad in spoiled(good):
            yield name, what, {**fuzz_values.arguments(target), name: bad}


def told(target: fuzz_targets.Target) -> dict[str, Any]:
    """Return what became of the good call and of all bad ones."""
    start = time.process_time()
    answer: dict[str, Any] = {"target": target.name, "done": 0, "refused": 0, "wrong": []}
    answer["good"] = outcome(target, fuzz_values.arguments(target))
    answer["kinds"] = {
        name: type(good).__name__
        for name, good in fed(target).items()
        if next(spoiled(good), None) is None
    }
    generators = torch.get_rng_state(), random.getstate()
    for name, what, given in cases(target):
        came = outcome(target, given)
        if came in ("done", "refused"):
            answer[came] += 1
        else:
            answer["wrong"].append(f"{name} {what}: {came}")
    after = torch.get_rng_state(), random.getstate()
    answer["seconds"] = round(time.process_time() - start, 2)
    answer["kept"] = torch.equal(generators[0], after[0]) and generators[1] == after[1]
    return answer


def main(*names: str) -> None:
    """Print an answer for each target."""
    # What is said by Python alone: progress lines, prints and warnings are no answers.
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGVTALRM, _stop)
    torch.set_num_threads(1)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + _MEMORY, in_use + _MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ROBUSTKIT_HOME=folder, ROBUSTKIT_OFFLINE="1", TMPDIR=folder)
        tempfile.tempdir = folder
        os.chdir(folder)
        for target in fuzz_targets.targets():
            if target.name not in NOT_FED and (not names or target.name in names):
                faulthandler.dump_traceback_later(600, exit=True)
                print(json.dumps(told(target)), file=answers, flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
