"""Keyed random numbers: independent of the batch, well distributed, fixed for ever."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robustkit import rng
from robustkit.errors import InputError

MASK = 2**64 - 1
GOLDEN = [[0.33655002613726204, 0.10698088001988948], [0.8495446753173705, 0.9949366554911839]]


def splitmix(state: int) -> int:
    """The published mixing function on Python integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


@given(st.integers(0, MASK))
@settings(max_examples=100, deadline=None)
def test_mixing_equals_the_published_function(state: int):
    signed = state - 2**64 if state >= 2**63 else state
    assert int(rng._mix(torch.tensor(signed))) & MASK == splitmix(state)


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
@given(st.permutations(range(6)), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_numbers_depend_on_the_index_alone(draw, order: list[int], count: int):
    indices = torch.tensor(order)[:count]
    whole = draw(3, "noise", torch.arange(6), (2, 5))
    assert torch.equal(draw(3, "noise", indices, (2, 5)), whole[indices])


@pytest.mark.parametrize("change", [(4, "noise"), (3, "other")])
def test_seed_and_stream_change_every_number(change: tuple[int, str]):
    first = rng.uniform(3, "noise", torch.arange(50), (20,))
    assert (first != rng.uniform(*change, torch.arange(50), (20,))).float().mean() > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distributions(dtype: torch.dtype):
    uniform = rng.uniform(0, "a", torch.arange(200), (1001,), dtype)
    normal = rng.normal(0, "a", torch.arange(200), (1001,), dtype)
    assert uniform.dtype == normal.dtype == dtype
    assert 0 <= uniform.min() < uniform.max() < 1
    assert scipy_stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-3
    assert scipy_stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-3
    # Neither neighbours within an image nor the same place in two images are related.
    for values in (uniform.double().numpy(), normal.double().numpy()):
        for a, b in [(values[:, :-1], values[:, 1:]), (values[:-1], values[1:])]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


def test_golden_values_never_change():
    found = rng.uniform(0, "golden", torch.tensor([0, 1]), (2,), torch.float64)
    expected = torch.tensor(GOLDEN, dtype=torch.float64)
    assert torch.equal(found, expected)


def test_the_global_generator_is_not_touched():
    before = torch.random.get_rng_state()
    rng.normal(0, "a", torch.arange(4), (8,))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_indices_must_be_a_vector_of_integers():
    with pytest.raises(InputError, match="int64"):
        rng.uniform(0, "a", torch.arange(4, dtype=torch.int32), (2,))
