"""The cosine transform is SciPy's, and filters are projections: on batches too."""

import itertools
import math

import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_toys import draws

from robustkit.errors import InputError
from robustkit.margins import (
    Block,
    band,
    dct,
    dct_matrix,
    flip,
    high_pass,
    idct,
    low_pass,
    remove_low,
)

SIZES = [(1, 1), (1, 7), (5, 1), (8, 8), (7, 7), (28, 28), (6, 9), (9, 4), (224, 3)]
FILTERS = {
    "low_pass": lambda x: low_pass(x, 3),
    "high_pass": lambda x: high_pass(x, 3),
    "remove_low": lambda x: remove_low(x, 3),
    "band": lambda x: band(x, 2, 4),
}
ALL = {**FILTERS, "flip": flip, "dct": dct, "idct": idct}


def inner(one, other):
    return (one * other).sum().item()


@pytest.mark.parametrize("size", SIZES)
def test_the_transform_is_that_of_scipy(size):
    pixels = draws(2, 3, *size)
    there = scipy.fft.dctn(pixels.numpy(), type=2, norm="ortho", axes=(-2, -1))
    back = scipy.fft.idctn(pixels.numpy(), type=2, norm="ortho", axes=(-2, -1))
    torch.testing.assert_close(dct(pixels), torch.from_numpy(there), rtol=0, atol=1e-12)
    torch.testing.assert_close(idct(pixels), torch.from_numpy(back), rtol=0, atol=1e-12)
    torch.testing.assert_close(idct(dct(pixels)), pixels, rtol=0, atol=1e-12)
    assert dct(pixels).norm().item() == pytest.approx(pixels.norm().item(), rel=1e-13)


@pytest.mark.parametrize("size", [1, 2, 7, 28, 224])
def test_the_matrix_is_orthonormal_and_its_rows_are_cosines(size):
    matrix = dct_matrix(size)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(size).double(), rtol=0, atol=1e-12)
    assert matrix.dtype == torch.float64
    # Row k is a cosine sampled at the middles of the pixels: it changes sign k times.
    signs = matrix.sign()
    nowhere_zero = (matrix.abs() > 1e-9).all(dim=1)
    changes = (signs[:, 1:] != signs[:, :-1]).sum(1)
    assert torch.equal(changes[nowhere_zero], torch.arange(size)[nowhere_zero])
    assert dct_matrix(size, dtype=torch.float32).dtype == torch.float32


def test_a_matrix_that_the_caller_changes_spoils_no_later_transform():
    pixels = draws(5, 5)
    before = dct(pixels)
    dct_matrix(5).zero_()
    dct_matrix(5, dtype=torch.float64, device="cpu").fill_(math.nan)
    assert torch.equal(dct(pixels), before)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 5), (2, 1, 5, 5)])
def test_gradients_pass(name, shape):
    assert torch.autograd.gradcheck(ALL[name], draws(*shape).requires_grad_())


def test_gradients_pass_after_a_first_use_in_inference_mode():
    with torch.inference_mode():
        dct(draws(13, 11))
    pixels = draws(13, 11).requires_grad_()
    (gradient,) = torch.autograd.grad(dct(pixels).square().sum(), pixels)
    # The transform is an isometry.
    torch.testing.assert_close(gradient, 2 * pixels.detach())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(6, 6), (1, 6, 5), (1, 1, 6, 6), (4, 1, 5, 6), (2, 3, 1, 4, 6)])
def test_shapes_stay_and_inputs_are_not_changed(name, shape):
    pixels = draws(*shape)
    kept = pixels.clone()
    result = ALL[name](pixels)
    assert result.shape == pixels.shape
    assert torch.equal(pixels, kept)
    # Leading axes are only batched over.
    flat = torch.stack([ALL[name](one) for one in pixels.reshape(-1, *shape[-2:])])
    torch.testing.assert_close(result, flat.reshape(shape), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_stays(name, dtype):
    pixels = draws(2, 6, 6).to(dtype)
    result = ALL[name](pixels)
    assert result.dtype == dtype
    size = torch.finfo(dtype).eps * 50
    torch.testing.assert_close(result.double(), ALL[name](pixels.double()), rtol=size, atol=size)


@pytest.mark.parametrize("shape", [(6, 6), (3, 7, 5), (2, 1, 8, 8)])
def test_flip_is_an_isometry_and_its_own_inverse(shape):
    pixels = draws(*shape)
    torch.testing.assert_close(flip(flip(pixels)), pixels, rtol=0, atol=1e-13)
    assert flip(pixels).norm().item() == pytest.approx(pixels.norm().item(), rel=1e-13)
    torch.testing.assert_close(dct(flip(pixels)), dct(pixels).flip(-2, -1), rtol=0, atol=1e-12)


def test_flip_turns_a_constant_into_the_highest_frequency():
    coefficients = dct(flip(torch.full((7, 6), 0.5, dtype=torch.float64)))
    assert coefficients[-1, -1].item() == pytest.approx(0.5 * math.sqrt(42), rel=1e-13)
    coefficients[-1, -1] = 0
    assert coefficients.abs().max() < 1e-13


@pytest.mark.parametrize("start", [0, 2, 5])
def test_flip_maps_a_block_to_its_mirror(start):
    pixels, size = draws(4, 2, 8, 8), 3
    block = Block((2, 8, 8), start, start, size, size)
    mirror = Block((2, 8, 8), 8 - size - start, 8 - size - start, size, size)
    inside = block.project(pixels)
    torch.testing.assert_close(flip(inside), mirror.project(flip(pixels)), rtol=0, atol=1e-13)
    assert (mirror.coefficient_norm(flip(inside)) > 0.1).all()


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shape", [(6, 6), (3, 7, 4), (5, 2, 4, 6)])
def test_filters_are_orthogonal_projections(name, shape):
    keep, one, other = FILTERS[name], draws(*shape), draws(*shape, seed=1)
    torch.testing.assert_close(keep(keep(one)), keep(one), rtol=0, atol=1e-13)
    assert inner(keep(one), other) == pytest.approx(inner(one, keep(other)), rel=1e-12)
    assert 0 < keep(one).norm() < one.norm()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), data=st.data())
def test_filters_keep_their_frequencies_only_and_tile(height, width, data):
    most = max(height, width)
    size = data.draw(st.integers(1, most), "size")
    start = data.draw(st.integers(0, size - 1), "start")
    # A batch: five images of three channels.
    pixels = draws(5, 3, height, width)
    before = dct(pixels)
    low, high = dct(low_pass(pixels, size)), dct(high_pass(pixels, size))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    lowest = (rows < size) & (columns < size)
    highest = (rows >= height - size) & (columns >= width - size)
    middle = lowest & ~((rows < start) & (columns < start))
    for kept, mask in [(low, lowest), (high, highest), (dct(band(pixels, start, size)), middle)]:
        torch.testing.assert_close(kept, torch.where(mask, before, 0.0), rtol=0, atol=1e-12)
    parts = low_pass(pixels, size) + remove_low(pixels, size)
    torch.testing.assert_close(parts, pixels, rtol=0, atol=1e-12)
    edges = sorted({0, start, size, most})
    bands = sum(band(pixels, low, high) for low, high in itertools.pairwise(edges))
    torch.testing.assert_close(bands, pixels, rtol=0, atol=1e-12)


def test_the_extreme_sizes():
    pixels = draws(2, 5, 7)
    for same in (
        low_pass(pixels, 7),
        high_pass(pixels, 7),
        remove_low(pixels, 0),
        band(pixels, 0, 7),
    ):
        torch.testing.assert_close(same, pixels, rtol=0, atol=1e-13)
    assert remove_low(pixels, 7).abs().max() == 0
    mean = pixels.mean((-2, -1), keepdim=True).expand_as(pixels)
    torch.testing.assert_close(low_pass(pixels, 1), mean, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        high_pass(pixels, 2), flip(low_pass(flip(pixels), 2)), rtol=0, atol=1e-13
    )


def test_legacy_filters_one_axis_of_a_batch_and_the_default_both():
    pixels = draws(5, 3, 32, 32)
    before = dct(pixels)
    for keep, past in [(low_pass, slice(16, None)), (high_pass, slice(None, 16))]:
        published, both = dct(keep(pixels, 16, legacy=True)), dct(keep(pixels, 16))
        other = slice(None, 16) if past.start else slice(16, None)
        # Kept height, rejected width: all of it in the published code, nothing by default.
        assert both[..., past].abs().max() < 1e-12
        torch.testing.assert_close(
            published[:, :, other, past], before[:, :, other, past], rtol=0, atol=1e-12
        )
        assert published[:, :, other, past].square().sum() > 1000
        assert published[:, :, past].abs().max() < 1e-12


@pytest.mark.parametrize("size", [2, 5])
def test_legacy_is_the_published_indexing(size):
    pixels = draws(4, 3, 6, 6)
    for keep, kept in [(low_pass, slice(None, size)), (high_pass, slice(-size, None))]:
        mask = torch.zeros_like(pixels)
        mask[:, kept, kept] = 1
        expected = scipy.fft.idctn((dct(pixels) * mask).numpy(), norm="ortho", axes=(-2, -1))
        torch.testing.assert_close(
            keep(pixels, size, legacy=True), torch.from_numpy(expected), rtol=0, atol=1e-12
        )
        # One image alone was filtered as meant.
        alone = keep(pixels[0], size, legacy=True)
        torch.testing.assert_close(alone, keep(pixels[0], size), rtol=0, atol=1e-13)
    # Fewer rows than channels: the last channel is lost.
    assert (low_pass(pixels, 2, legacy=True)[:, 2] == 0).all()


PIXELS = draws(2, 3, 6, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dct_matrix(0), "at least 1"),
        (lambda: dct(torch.zeros(4)), "floating point images"),
        (lambda: idct(torch.zeros(4, 4, dtype=torch.uint8)), "to_float"),
        (lambda: dct(torch.zeros(2, 0, 4)), "empty"),
        (lambda: flip(torch.zeros(4, 4, dtype=torch.int64)), "floating point images"),
        (lambda: low_pass(torch.zeros(4, 4, dtype=torch.uint8), 2), "to_float"),
        (lambda: low_pass(PIXELS, 0), r"\[1, 8\]"),
        (lambda: low_pass(PIXELS, 9), r"\[1, 8\]"),
        (lambda: low_pass(torch.zeros(4), 1), "H, W"),
        (lambda: high_pass(PIXELS, 0), r"\[1, 8\]"),
        (lambda: high_pass(PIXELS, 9, legacy=True), r"\[1, 8\]"),
        (lambda: low_pass(PIXELS[0, 0], 3, legacy=True), "legacy"),
        (lambda: remove_low(PIXELS, -1), r"\[0, 8\]"),
        (lambda: remove_low(PIXELS, 9), r"\[0, 8\]"),
        (lambda: band(PIXELS, 3, 3), "low < high"),
        (lambda: band(PIXELS, -1, 3), "low < high"),
        (lambda: band(PIXELS, 0, 9), r"\[1, 8\]"),
    ],
)
def test_what_cannot_be_filtered_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
