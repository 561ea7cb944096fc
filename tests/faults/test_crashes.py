"""What is killed at any file operation, or finds the disk full, damages nothing and goes on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FAULTS = int(os.environ.get("ROBUSTKIT_FAULTS", "2"))


@pytest.fixture(scope="module")
def faults(
    told_by: Callable[..., list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What every fault came to, drawn from ROBUSTKIT_FAULT_SEED; ROBUSTKIT_FAULTS of a kind."""
    drawn = [str(FAULTS), "1", str(FAULTS), os.environ.get("ROBUSTKIT_FAULT_SEED", "0")]
    return told_by("fault_driver.py", str(tmp_path_factory.mktemp("faults")), *drawn)


def of(faults: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found = [fault for fault in faults if fault["kind"] == kind]
    assert len({fault["task"] for fault in found}) == 5
    assert len(found) == 5 * FAULTS
    return found


def test_every_task_was_killed_or_found_no_room(faults: list[dict[str, Any]]) -> None:
    assert {fault["status"] for fault in of(faults, "kill")} == {-9}
    # A quota just above the largest file is none.
    assert sum(fault["status"] != 0 for fault in of(faults, "quota")) >= 4 * FAULTS


def test_committed_files_are_as_before_or_as_after(faults: list[dict[str, Any]]) -> None:
    assert [fault for fault in faults if fault["damaged"]] == []


def test_the_next_call_comes_to_what_an_undisturbed_one_does(faults: list[dict[str, Any]]) -> None:
    assert [fault for fault in faults if not fault["resumed"]] == []


def test_a_full_disk_is_an_error_that_says_so(faults: list[dict[str, Any]]) -> None:
    failed = [fault for fault in of(faults, "quota") if fault["status"]]
    assert [fault for fault in failed if fault["status"] != 3] == []
    for fault in failed:
        said = fault["said"]
        assert "File too large" in said or "is the disk full?" in said
        # No part stays of what did not fit.
        assert fault["left"] == []


def test_parts_stay_beside_what_was_killed_and_runs_leave_none(
    faults: list[dict[str, Any]],
) -> None:
    for fault in of(faults, "kill"):
        folders = {str(Path(left).parent) for left in fault["left"]}
        assert folders <= {"home", "home/cells", "notebooks", "book/results/laptop"}
        assert all(left.endswith(".part") for left in fault["left"])
