"""Grids: a chapter at every combination of some parameters, one process a run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustkit import runs
from robustkit.progress import progress

_GRACE = 30.0


@dataclass(frozen=True)
class GridRow:
    """One combination: its values on the axes, and its record or the reason why there is none."""

    values: dict[str, Any]
    record: dict[str, Any] | None
    error: str = ""


@dataclass
class _Running:
    index: int
    process: "subprocess.Popen[bytes]"
    said: Path


def grid(
    chapter: str,
    base: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
    *,
    jobs: int = 1,
    profile: str = "smoke",
    force: bool = False,
) -> list[GridRow]:
    """Run a chapter at every combination of `axes` over the parameters `base`, `jobs` at a time.

    The processor's threads are divided among the jobs. A run that fails is reported in its row
    and the others go on; finished runs are not repeated. All combinations are checked before the
    first runs: raises `UnknownNameError` and `InputError`.
    """
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    plans = [runs.plan(chapter, {**base, **values}, profile=profile) for values in combinations]
    errors = _run_all(plans, max(1, jobs), force)
    rows = []
    for index, values in enumerate(combinations):
        found = None if index in errors else runs.find(plans[index])
        lost = "the run finished, but its inputs have changed since; run it again"
        record = found.record if found else None
        rows.append(GridRow(values, record, errors.get(index, "" if found else lost)))
    return rows


def _run_all(plans: list[runs.Plan], jobs: int, force: bool) -> dict[int, str]:
    waiting = list(enumerate(plans))
    running: list[_Running] = []
    errors: dict[int, str] = {}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with (
        TemporaryDirectory() as folder,
        progress(len(plans), plans[0].chapter, unit="run") as line,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    index, planned = waiting.pop(0)
                    said = Path(folder) / f"{index}.txt"
                    running.append(_Running(index, _start(planned, force, threads, said), said))
                for child in [child for child in running if child.process.poll() is not None]:
                    running.remove(child)
                    line.update(1)
                    if child.process.returncode:
                        errors[child.index] = _last_line(child)
                time.sleep(0.05)
        finally:
            _stop(running)
    return errors


def _start(planned: runs.Plan, force: bool, threads: int, said: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "robustkit", "run", planned.chapter]
    for name, value in planned.parameters.items():
        command += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    with said.open("wb") as output:
        return subprocess.Popen(
            [*command, *(["--force"] if force else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            # The terminal's Ctrl-C reaches this process alone, which passes it on exactly once.
            start_new_session=True,
        )


def _stop(running: list[_Running]) -> None:
    for child in running:
        child.process.send_signal(signal.SIGINT)
    for child in running:
        try:
            child.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def _last_line(child: _Running) -> str:
    lines = child.said.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {child.process.returncode}"
