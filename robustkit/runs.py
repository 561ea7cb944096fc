"""Runs: execute a chapter with parameters, once, and keep its notebook and record.

A run lies in `runs/<chapter>/<prekey>/`, where the prekey covers the code of the chapter and its
parameters, not its prose. It is finished when its record is whole and all it has read (package
source, data, weights) is unchanged; only then is it not run again. Files move in whole, the record
last. A chapter with the parameters `shard` and `shards` splits; see `robustkit.collecting`.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from robustkit import inputs, notebooks, piece_folders, project, records, strict_json
from robustkit.errors import DataError, RunError
from robustkit.files import write_atomic
from robustkit.plans import Plan, hashed, plan

__all__ = ["Plan", "RunResult", "carry_out", "find", "plan", "run"]

log = logging.getLogger("robustkit")


@dataclass(frozen=True)
class RunResult:
    """A finished run: its parameters, folder and record, and whether it had finished before."""

    chapter: str
    parameters: dict[str, Any]
    folder: Path
    record: dict[str, Any]
    cached: bool


def run(
    chapter: str,
    parameters: Mapping[str, Any],
    *,
    profile: str = "smoke",
    force: bool = False,
    timeout: float | None = None,
) -> RunResult:
    """Run a chapter with parameters unless that run is finished; `force` runs it regardless.

    A run at default parameters is installed where the book reads it: the smoke notebook beside
    its text and with the prose of today, the records of other profiles under `book/results/`.
    `timeout` is in seconds a cell.

    Raises `InputError` before anything runs, and `RunError` that says what cannot be written, or
    names the failed cell and where the notebook is kept; a failed or interrupted run leaves the
    previous record whole, and the pieces of work that it had finished for the next one.
    """
    planned = plan(chapter, parameters, profile=profile)
    return carry_out(planned, force=force, timeout=timeout)


def carry_out(
    planned: Plan,
    *,
    force: bool = False,
    timeout: float | None = None,
    shards: Callable[[], list[dict[str, Any]]] | None = None,
) -> RunResult:
    """Run what is planned, as `run` does; with `shards`, from the pieces that these have made.

    `shards` is asked only when it must run, and returns one entry of provenance for each shard.
    """
    with _lock(planned):
        finished = None if force else find(planned)
        if finished is None:
            collected = shards() if shards else []
            if force and not collected:
                piece_folders.clear(planned.pieces, *planned.shard)
            if not collected:
                piece_folders.begin(planned.pieces, *planned.shard)
            finished = _execute(planned, timeout, collected)
            if not collected and planned.prekey == planned.whole:
                piece_folders.clear(planned.pieces, *planned.shard)
        if planned.installs:
            _install(finished, planned.text)
    return finished


def find(planned: Plan) -> RunResult | None:
    """Return the finished run of a plan, or None when it must run (again)."""
    folder = planned.folder
    if not (folder / "record.json").exists():
        return None
    try:
        record = records.read(folder / "record.json")
        read_files = strict_json.read(folder / "inputs.json")
        shown = records.embedded(folder / f"{planned.chapter}.ipynb")
        today = {name: inputs.digest(_paths(entry)) for name, entry in read_files.items()}
    except (DataError, AttributeError, KeyError, TypeError) as error:
        log.warning("the run in %s is damaged and runs again (%s)", folder, error)
        return None
    if today != record["provenance"].get("inputs"):
        return None
    if shown is None or strict_json.encode(shown) != strict_json.encode(record):
        return None
    return RunResult(planned.chapter, planned.parameters, folder, record, cached=True)


def _execute(planned: Plan, timeout: float | None, collected: list[dict[str, Any]]) -> RunResult:
    from robustkit import execution

    folder = planned.folder
    # Only the holder of the lock makes these; what is there was left by a killed process, whose
    # kernel may live a second longer and write there still.
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        log.warning("this run was killed before it finished; it starts again")
        shutil.rmtree(leftover, ignore_errors=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        output = Path(name) / f"{planned.chapter}.ipynb"
        start = time.perf_counter()
        try:
            notebook = execution.execute(
                notebooks.from_text(planned.text),
                planned.injected,
                output,
                folder=project.root() / "notebooks",
                environment={
                    records.RUN_FOLDER: name,
                    piece_folders.FOLDER: str(planned.pieces),
                    piece_folders.COLLECTED: str(len(collected)),
                },
                timeout=timeout,
            )
            record = _completed(planned, Path(name), time.perf_counter() - start)
            if collected:
                record["provenance"]["shards"] = collected
        except RunError as error:
            reason = str(error).rstrip(".")
            kept = execution.keep_failed(output, folder / "failed.ipynb")
            raise RunError(f"chapter {planned.chapter} failed: {reason}; {kept}") from error
        notebooks.clean(notebook)
        notebooks.write(output, notebook, record)
        records.write(Path(name) / "record.json", record)
        folder.mkdir(exist_ok=True)
        for file in (output.name, "inputs.json", "record.json"):
            os.replace(Path(name) / file, folder / file)
    (folder / "failed.ipynb").unlink(missing_ok=True)
    return RunResult(planned.chapter, planned.parameters, folder, record, cached=False)


def _completed(planned: Plan, written: Path, seconds: float) -> dict[str, Any]:
    if not (written / "record.json").exists():
        raise RunError("it left no record; its last cell must call record.finish().")
    record = records.read(written / "record.json")
    if record["chapter"] != planned.chapter:
        raise RunError(f"its record calls itself {record['chapter']!r}; give Record its own name.")
    provenance = record["provenance"]
    return {
        **record,
        # The chapter knows better: what device="auto" came to, for instance.
        "parameters": {**strict_json.encode(planned.parameters), **record["parameters"]},
        "provenance": {
            **provenance,
            "notebook": planned.code,
            "wall_seconds": round(seconds, 1),
        },
        "key": hashed([planned.prekey, provenance["inputs"]]),
    }


def _install(result: RunResult, text: str) -> None:
    profile = result.parameters["profile"]
    if profile == "smoke":
        target = project.notebook_path(result.chapter)
        content = _page(result, text).encode()
    else:
        target = project.results_path(result.chapter, profile)
        content = (result.folder / "record.json").read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_atomic(target, content)


def _page(result: RunResult, text: str) -> str:
    import nbformat

    executed = nbformat.read(result.folder / f"{result.chapter}.ipynb", as_version=4)
    page = notebooks.refreshed(executed, notebooks.from_text(text))
    return notebooks.dumps_with(page, result.record)


@contextmanager
def _lock(planned: Plan) -> Iterator[None]:
    folder = planned.folder
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("another process runs this very run; waiting for it")
            lock.acquire()
        yield
    except OSError as error:
        raise RunError(
            f"the files of chapter {planned.chapter} cannot be written: {error}. The record of "
            "before, if there is one, is whole; see to the disk and run it again."
        ) from error
    finally:
        lock.release()


def _paths(entry: dict[str, Any]) -> list[Path]:
    return [Path(file) for file in entry["files"]]
