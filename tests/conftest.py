"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import pytest
import torch

from robustkit import inputs


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Sums are split by thread, so a fixed count makes float results repeatable.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    # Layers that a test makes without a word about seeds are the same in every run.
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_read_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a process has read adds up; each test is a process of its own.
    monkeypatch.setattr(inputs, "_noted", {})


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real datasets and weights; skips where there is none."""
    folder = Path(os.environ.get("ROBUSTKIT_HOME", "absent"))
    if not ((folder / "cifar10").is_dir() and (folder / "weights").is_dir()):
        pytest.skip("no real data: set ROBUSTKIT_HOME to a folder that has it")
    monkeypatch.setenv("ROBUSTKIT_HOME", str(folder.resolve()))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    return folder
