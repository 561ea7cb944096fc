"""Tests of this folder that are given a row of book/parity.yml have to hold something to it."""

import corruption_parity
import pytest

pytest_pyfunc_call = pytest.hookimpl(wrapper=True)(corruption_parity.require_check)
