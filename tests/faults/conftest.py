"""Programs of this folder that several tests read the answers of, each run once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import robustkit

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def told_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """Return the lines of JSON that a program of this folder prints, run by one worker alone.

    It runs in a process of its own, where robustkit is as its users import it: without the checks
    of shapes that the test session adds.
    """

    def tell(program: str, *arguments: str) -> list[Any]:
        session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        base = tmp_path_factory.getbasetemp()
        answer = (base.parent / session if session else base) / f"{program}.json"
        answer.parent.mkdir(exist_ok=True)
        with FileLock(answer.with_suffix(".lock")):
            if not answer.exists():
                answer.write_text(_run(program, *arguments))
        return [json.loads(line) for line in answer.read_text().splitlines()]

    return tell


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / program), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(robustkit.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
