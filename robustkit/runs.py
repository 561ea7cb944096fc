"""Runs: execute a chapter with parameters, once, and keep its notebook and record.

A run lies in `runs/<chapter>/<prekey>/`, where the prekey covers the code of the chapter and its
parameters, not its prose. It is finished when its record is whole and all it has read (package
source, data, weights) is unchanged; only then is it not run again. Files move in whole, the record
last.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from robustkit import inputs, notebooks, project, records, strict_json
from robustkit.errors import DataError, RunError
from robustkit.files import write_atomic
from robustkit.parameters import resolve

log = logging.getLogger("robustkit")


@dataclass(frozen=True)
class RunResult:
    """A finished run: its parameters, folder and record, and whether it had finished before."""

    chapter: str
    parameters: dict[str, Any]
    folder: Path
    record: dict[str, Any]
    cached: bool


@dataclass(frozen=True)
class Plan:
    """A run to be: text, hash of its code, checked parameters, those to inject, and its folder."""

    chapter: str
    text: str
    code: str
    parameters: dict[str, Any]
    injected: dict[str, Any]
    prekey: str

    @property
    def folder(self) -> Path:
        return project.root() / "runs" / self.chapter / self.prekey[:16]

    @property
    def installs(self) -> bool:
        """Whether this is the run that the book shows: all at its default but the profile."""
        return set(self.injected) <= {"profile"}


def plan(chapter: str, parameters: Mapping[str, Any], *, profile: str = "smoke") -> Plan:
    """Check a chapter and its parameters, without running; "profile" in `parameters` wins.

    Raises `UnknownNameError` and `InputError` for what the chapter does not accept.
    """
    chapter = project.chapter(chapter)
    path = project.text_path(chapter)
    text = notebooks.source(path)
    notebook = notebooks.from_text(text)
    specs = notebooks.parameters_of(notebook, path.name)
    resolved = resolve(specs, {"profile": profile, **parameters})
    # What is at its default is not injected, so that a default run keeps the cells of the text.
    defaults = resolve(specs, {})
    injected = {name: value for name, value in resolved.items() if value != defaults[name]}
    code = notebooks.code_hash(notebook)
    prekey = _hash([chapter, code, strict_json.encode(resolved)])
    return Plan(chapter, text, code, resolved, injected, prekey)


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
    previous record whole.
    """
    planned = plan(chapter, parameters, profile=profile)
    with _lock(planned):
        finished = None if force else find(planned)
        result = finished or _execute(planned, timeout)
        if planned.installs:
            _install(result, planned.text)
    return result


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


def _execute(planned: Plan, timeout: float | None) -> RunResult:
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
                environment={records.RUN_FOLDER: name},
                timeout=timeout,
            )
            record = _completed(planned, Path(name), time.perf_counter() - start)
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
        "key": _hash([planned.prekey, provenance["inputs"]]),
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


def _hash(item: Any) -> str:
    text = item if isinstance(item, str) else json.dumps(item, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
