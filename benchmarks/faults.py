"""What faults and bad input come to, counted: the figures of the page on reliability.

    python benchmarks/faults.py --kills 40 --moments 20 --quotas 20
    python benchmarks/faults.py --kills 0  # at every file operation

Runs the programs of tests/faults in processes of their own. Each task (running a chapter at two
profiles, a download, a training with a checkpoint, an evaluation that keeps its cells) is killed at
file operations and at moments drawn from the seed, and done with quotas on the size of files drawn
from the seed; then every public function is fed bad input. Writes a record,
`book/results/laptop/faults.json`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustkit import provenance, records
from robustkit.stats import wilson

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "book" / "results" / "laptop" / "faults.json"
TASKS = {
    "smoke": "a chapter at the smoke profile",
    "laptop": "a chapter at the laptop profile",
    "download": "a download",
    "checkpoint": "a training with a checkpoint",
    "cells": "an evaluation that keeps its cells",
}
# Of a fault that killed its process: SIGKILL at an operation, SIGALRM at a moment.
KILLED = (-9, -14)


def answers(program: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Yield what a program of the tests says, line by line; its complaints are shown."""
    command = [sys.executable, str(ROOT / "tests" / "faults" / program), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"{program} ended with status {process.returncode}")


def faults(record: records.Record, options: argparse.Namespace) -> None:
    """Let every task fail and count what is left."""
    drawn = [str(number) for number in (options.kills, options.moments, options.quotas)]
    found = []
    with TemporaryDirectory() as folder:
        for answer in answers("fault_driver.py", folder, *drawn, str(options.seed)):
            # Names of folders and of parts are drawn by the system.
            said = answer["said"].replace(f"{Path(folder).resolve()}/", "")
            found.append({**answer, "said": re.sub(r"\b[0-9a-f]{16}\b", "...", said)})
            print(f"{answer['task']:12s} {answer['kind']:6s} {answer['at']} of {answer['of']}")
    killed = [fault for fault in found if fault["status"] in KILLED]
    full = [fault for fault in found if fault["kind"] == "quota" and fault["status"] != 0]
    record.scalar("tasks", len({fault["task"] for fault in found}))
    operations = {fault["task"]: fault["of"] for fault in found if fault["kind"] == "kill"}
    record.scalar("operations", sum(operations.values()))
    record.scalar("kills_at_operations", sum(fault["kind"] == "kill" for fault in killed))
    record.scalar("kills_at_moments", sum(fault["kind"] == "moment" for fault in killed))
    for name, faulty in (("killed", killed), ("full", full)):
        damaged = sum(bool(fault["damaged"]) for fault in faulty)
        record.scalar(name, len(faulty))
        record.scalar(f"{name}_damaged", damaged)
        record.scalar(f"{name}_damaged_share", wilson(damaged, len(faulty)))
        record.scalar(f"{name}_resumed", sum(fault["resumed"] for fault in faulty))
    record.scalar("full_clear", sum(fault["status"] == 3 for fault in full))
    record.table("tasks", by_task(killed, full))
    says = {fault["task"]: fault["said"] for fault in full}
    record.table("messages", {"task": [TASKS[name] for name in says], "message": [*says.values()]})
    columns = ("task", "kind", "at", "of", "status", "resumed")
    table = {name: [fault[name] for fault in found] for name in columns}
    record.table("faults", {**table, "damaged": [bool(fault["damaged"]) for fault in found]})


def by_task(killed: list[dict[str, Any]], full: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Count the faults of each task, and what came of them."""
    columns: dict[str, list[Any]] = {}
    for name, words in TASKS.items():
        own = [fault for fault in [*killed, *full] if fault["task"] == name]
        row = {
            "task": words,
            "killed at an operation": sum(fault["kind"] == "kill" for fault in own),
            "killed at a moment": sum(fault["kind"] == "moment" for fault in own),
            "disk full": sum(fault["kind"] == "quota" for fault in own),
            "committed files damaged": sum(bool(fault["damaged"]) for fault in own),
            "finished by the next call": sum(fault["resumed"] for fault in own),
        }
        for column, value in row.items():
            columns.setdefault(column, []).append(value)
    return columns


def bad_input(record: records.Record) -> None:
    """Feed every public function bad input and count the answers."""
    told = list(answers("fuzz_worker.py"))
    for name in ("done", "refused"):
        record.scalar(f"calls_{name}", sum(answer[name] for answer in told))
    wrong = [f"{answer['target']}: {one}" for answer in told for one in answer["wrong"]]
    record.scalar("calls_wrong", len(wrong))
    record.scalar("functions", len(told))
    modules = dict.fromkeys(answer["target"].partition(".")[0] for answer in told)
    columns: dict[str, list[Any]] = {"module": list(modules)}
    for module in modules:
        own = [answer for answer in told if answer["target"].startswith(f"{module}.")]
        row = {
            "functions, classes, methods": len(own),
            "refused": sum(answer["refused"] for answer in own),
            "done": sum(answer["done"] for answer in own),
            "neither": sum(len(answer["wrong"]) for answer in own),
        }
        for column, value in row.items():
            columns.setdefault(column, []).append(value)
    record.table("modules", columns)
    print("\n".join(wrong))


def main() -> None:
    """Count, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="of each task; 0: all there are")
    parser.add_argument("--moments", type=int, default=20, help="kills at any time, of each task")
    parser.add_argument("--quotas", type=int, default=20, help="full disks of each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("kills", "moments", "quotas", "seed")}
    start = time.perf_counter()
    record = records.Record("faults", {"profile": "laptop", **given})
    checkout = provenance.commit()
    faults(record, options)
    bad_input(record)
    made = {**record.as_dict(), "provenance": provenance.collect({}, checkout)}
    made["provenance"]["wall_seconds"] = round(time.perf_counter() - start, 1)
    records.write(options.out, made)
    for name, scalar in record.scalars.items():
        print(f"{name:22s} {scalar['value']}")


if __name__ == "__main__":
    main()
