"""Draws: the published generator on plain integers, exact laws, and nothing but the key matters."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robustkit import rng
from robustkit.corruptions import draws
from robustkit.corruptions.draws import Draws
from robustkit.errors import InputError

MASK = 2**64 - 1
GOLDEN_BITS = [-1988717313, 203063861, 2015071607]
GOLDEN_NORMALS = [-1.1738714, -0.0702953, 0.3178703]
METHODS = ("bits", "uniform", "normal")


def drawn(count=6, seed=3, stream="fog/2", start=0):
    return Draws(seed, stream, torch.arange(start, start + count))


def splitmix(state):
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def plain_lanes(seed, stream, index, count):
    """The first 32-bit lanes of one image, on Python integers, as unsigned numbers."""
    key = int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:8], "little")
    golden = 0x9E3779B97F4A7C15
    state = splitmix(splitmix((index * golden + key) & MASK) ^ key)
    words = [splitmix((state + c * golden) & MASK) for c in range(1, count // 2 + 1)]
    return np.array([half for word in words for half in (word & 0xFFFFFFFF, word >> 32)])


def test_bits_uniforms_and_integers_are_the_published_generator_exactly():
    lanes = np.stack([plain_lanes(3, "fog/2/a", index, 14) for index in range(6)])[:, :13]
    bits = drawn().bits("a", (13,))
    assert bits.dtype == torch.int32
    assert np.array_equal(bits.numpy().astype(np.int64) & 0xFFFFFFFF, lanes)
    # An offset of one half takes the place of the sign.
    expected = ((lanes >> 8) ^ 2**23) * 2.0**-24
    assert np.array_equal(drawn().uniform("a", (13,)).double().numpy(), expected)
    assert np.array_equal(drawn().integers("a", -3, 7, (13,)).numpy(), (lanes * 10 >> 32) - 3)


def test_normals_are_box_muller_of_the_bits():
    size, half = 10, 3
    values = drawn().normal("a", (2, 5)).reshape(6, size).double().numpy()
    for index in range(6):
        radius, angle = (
            plain_lanes(3, f"fog/2/a/{part}", index, 2 * half).astype(np.uint32).view(np.int32)
            for part in ("radius", "angle")
        )
        length = np.sqrt(-2 * np.log(np.abs(radius.astype(np.float64)) / 2**31))
        turn = 2 * math.pi * (angle >> 8) / 2**24
        expected = np.concatenate([length * np.cos(turn), length * np.sin(turn)])[:size]
        assert np.abs(values[index] - expected).max() < 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 5), (4, 4, 2)])
@given(order=st.permutations(range(6)), count=st.integers(1, 6))
@settings(max_examples=5, deadline=None)
def test_numbers_depend_on_the_index_alone(method, shape, order, count):
    whole = getattr(drawn(), method)("a", shape)
    indices = torch.tensor(order)[:count]
    part = getattr(Draws(3, "fog/2", indices), method)("a", shape)
    assert part.shape == (count, *shape)
    assert torch.equal(part, whole[indices])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [1, 3, 8, 64])
def test_the_blocks_change_nothing(method, block, monkeypatch):
    whole = getattr(drawn(), method)("a", (3, 7))
    monkeypatch.setattr(draws, "_BLOCKS", {"cpu": block})
    assert torch.equal(getattr(drawn(), method)("a", (3, 7)), whole)


@given(count=st.integers(0, 5), size=st.integers(0, 9), block=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_parts_cover_the_words_once_and_are_no_larger_than_asked(count, size, block):
    whole = torch.zeros(count, size, dtype=torch.int64)
    for rows, columns, part in rng.words(1, "a", torch.arange(count), size, block):
        assert part.numel() <= max(block, 1)
        assert (whole[rows, columns] == 0).all()
        whole[rows, columns] = part
    assert torch.equal(whole, rng._bits(1, "a", torch.arange(count), size))


@pytest.mark.parametrize("method", METHODS)
def test_seed_stream_and_name_change_every_number(method):
    first = getattr(drawn(50), method)("a", (20,))
    others = [
        getattr(drawn(50, seed=4), method)("a", (20,)),
        getattr(drawn(50, stream="fog/3"), method)("a", (20,)),
        getattr(drawn(50), method)("b", (20,)),
        getattr(drawn(50, start=50), method)("a", (20,)),
    ]
    for other in others:
        assert (first != other).float().mean() > 0.999


def test_distributions():
    uniform = drawn(200).uniform("a", (1001,))
    normal = drawn(200).normal("a", (1001,))
    assert uniform.dtype == normal.dtype == torch.float32
    assert 0 <= uniform.min() < uniform.max() < 1
    assert scipy_stats.kstest(uniform.flatten().double().numpy(), "uniform").pvalue > 1e-3
    assert scipy_stats.kstest(normal.flatten().double().numpy(), "norm").pvalue > 1e-3
    # Neither neighbours in an image, nor cosine and sine of one pair, nor two images are related.
    for values in (uniform.double().numpy(), normal.double().numpy()):
        pairs = [(values[:, :-1], values[:, 1:]), (values[:-1], values[1:])]
        pairs.append((values[:, :498], values[:, 502:1000]))
        for one, other in pairs:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_the_tails_of_normals_are_right():
    values = drawn(100).normal("tails", (100_000,)).abs()
    for threshold in (3.0, 4.0, 4.5):
        expected = 2 * scipy_stats.norm.sf(threshold) * values.numel()
        found = int((values > threshold).sum())
        assert abs(found - expected) < 4 * math.sqrt(expected)
    assert values.max() < 6.7


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-4, 4), (5, 6), (-10, 993)])
def test_integers_are_uniform(low, high):
    values = drawn(100).integers("a", low, high, (1000,))
    assert values.dtype == torch.int64
    counts = torch.bincount(values.flatten() - low, minlength=high - low).numpy()
    assert len(counts) == high - low
    if len(counts) > 1:
        assert scipy_stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (0, 2**31 + 1)])
def test_an_empty_or_too_wide_range_is_refused(low, high):
    with pytest.raises(InputError, match="low < high"):
        drawn().integers("a", low, high, (2,))


@pytest.mark.parametrize("method", METHODS)
def test_indices_must_be_a_vector_of_integers(method):
    with pytest.raises(InputError, match="int64"):
        getattr(Draws(0, "a", torch.arange(4, dtype=torch.int32)), method)("a", (2,))


def test_golden_values_never_change():
    assert drawn(1).bits("golden", (3,)).flatten().tolist() == GOLDEN_BITS
    found = drawn(1).normal("golden", (3,)).flatten().tolist()
    assert found == pytest.approx(GOLDEN_NORMALS, abs=1e-5)


def test_the_global_generator_is_not_touched():
    before = torch.random.get_rng_state()
    drawn().normal("a", (8,))
    drawn().integers("a", 0, 5, (8,))
    assert torch.equal(torch.random.get_rng_state(), before)
