"""Waiting for what other processes do."""

import time
from collections.abc import Callable

import pytest


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail, naming what was waited for, when it never does."""
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"waited too long for {what}")
