"""What faults and bad input come to, counted: the figures of the page on reliability.

    python benchmarks/faults.py --kills 40 --quotas 20
    python benchmarks/faults.py --kills 0  # at every file operation

Runs the programs of tests/faults in processes of their own. Each task (running a chapter at two
profiles, a download, a training with a checkpoint, an evaluation that keeps its cells) is killed at
file operations drawn from the seed, and done with quotas on the size of files drawn from the seed;
then every public function is fed bad input. Writes a record, `book/results/laptop/faults.json`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustkit import provenance, records
from robustkit.stats import wilson

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "book" / "results" / "laptop" / "faults.json"


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


def faults(record: records.Record, kills: int, quotas: int, seed: int) -> None:
    """Let every task fail and count what is left."""
    with TemporaryDirectory() as folder:
        found = []
        for answer in answers("fault_driver.py", folder, str(kills), str(quotas), str(seed)):
            found.append(answer)
            print(f"{answer['task']:12s} {answer['kind']:6s} {answer['at']:6d} of {answer['of']}")
    killed = [fault for fault in found if fault["kind"] == "kill" and fault["status"] == -9]
    full = [fault for fault in found if fault["kind"] == "quota" and fault["status"] != 0]
    clear = [fault for fault in full if fault["status"] == 3]
    record.scalar("tasks", len({fault["task"] for fault in found}))
    record.scalar("operations", sum({fault["task"]: fault["of"] for fault in killed}.values()))
    record.scalar("kills", len(killed))
    record.scalar("full_disks", len(full))
    for name, faulty in (("killed", killed), ("full", full)):
        damaged = sum(bool(fault["damaged"]) for fault in faulty)
        resumed = sum(fault["resumed"] for fault in faulty)
        record.scalar(f"{name}_damaged", damaged)
        record.scalar(f"{name}_damaged_share", wilson(damaged, len(faulty)))
        record.scalar(f"{name}_resumed", resumed)
    record.scalar("full_clear", len(clear))
    columns = ("task", "kind", "at", "of", "status", "resumed")
    record.table("faults", {name: [fault[name] for fault in found] for name in columns})


def bad_input(record: records.Record) -> None:
    """Feed every public function bad input and count the answers."""
    told = list(answers("fuzz_worker.py"))
    for name in ("done", "refused"):
        record.scalar(f"calls_{name}", sum(answer[name] for answer in told))
    wrong = [f"{answer['target']}: {one}" for answer in told for one in answer["wrong"]]
    record.scalar("calls_wrong", len(wrong))
    record.scalar("functions", len(told))
    print("\n".join(wrong))


def main() -> None:
    """Count, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="of each task; 0: all there are")
    parser.add_argument("--quotas", type=int, default=20, help="full disks of each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    given = {"kills": options.kills, "quotas": options.quotas, "seed": options.seed}
    record = records.Record("faults", {"profile": "laptop", **given})
    checkout = provenance.commit()
    faults(record, options.kills, options.quotas, options.seed)
    bad_input(record)
    made = {**record.as_dict(), "provenance": provenance.collect({}, checkout)}
    records.write(options.out, made)
    for name, scalar in record.scalars.items():
        print(f"{name:22s} {scalar['value']}")


if __name__ == "__main__":
    main()
