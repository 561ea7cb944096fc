"""Shifts by whole pixels: all of a neighbourhood, equal to slices, rolls and padded slices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.errors import InputError
from robustkit.translation.shifts import (
    CircularShift,
    CropShift,
    PadShift,
    circular_shifts,
    crop_shifts,
    neighbourhood,
    pad_shifts,
)
from robustkit.translation.windows import ShiftModel

DTYPES = [torch.uint8, torch.float16, torch.float32, torch.float64]


def levels(*shape, seed=0, dtype=torch.uint8):
    drawn = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.uint8) if dtype == torch.uint8 else (drawn.double() / 255).to(dtype)


def shift_list(*shifts):
    return torch.tensor(shifts, dtype=torch.int64)


# --- neighbourhoods ------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 2, 3, 8])
def test_a_neighbourhood_has_every_shift_once(radius):
    line = range(-radius, radius + 1)
    square = {(a, b) for a in line for b in line} - {(0, 0)}
    diamond = {(a, b) for a, b in square if abs(a) + abs(b) <= radius}
    for neighbours, expected in [(8, square), (4, diamond)]:
        found = neighbourhood(radius, neighbours=neighbours)
        assert found.dtype == torch.int64
        assert found.shape == (len(expected), 2)
        assert set(map(tuple, found.tolist())) == expected
    assert len(square) == (2 * radius + 1) ** 2 - 1
    assert len(diamond) == 2 * radius * (radius + 1)


def test_shifts_along_one_axis_and_negative_ones_are_there():
    # Loops over 1..2s on both axes, as a released evaluation has them, miss five of the eight.
    assert neighbourhood(1).tolist() == [
        [-1, 0], [0, -1], [0, 1], [1, 0], [-1, -1], [-1, 1], [1, -1], [1, 1],
    ]  # fmt: skip
    assert neighbourhood(1, neighbours=4).tolist() == [[-1, 0], [0, -1], [0, 1], [1, 0]]


@pytest.mark.parametrize("neighbours", [4, 8])
def test_a_smaller_neighbourhood_begins_a_larger_one(neighbours):
    largest = neighbourhood(5, neighbours=neighbours)
    for radius in range(1, 5):
        smaller = neighbourhood(radius, neighbours=neighbours)
        assert torch.equal(largest[: len(smaller)], smaller)


# --- what a shift shows --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    margins=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    count=st.integers(1, 3),
    data=st.data(),
)
def test_a_crop_shift_is_a_slice(sides, margins, count, data):
    source = levels(count, 2, sides[0] + margins[0], sides[1] + margins[1])
    top, left = margins[0] // 2, margins[1] // 2
    one = st.tuples(st.integers(-top, margins[0] - top), st.integers(-left, margins[1] - left))
    shifts = data.draw(st.lists(one, min_size=1, max_size=4))
    found = crop_shifts(source, shift_list(*shifts), sides)
    assert found.shape == (count, len(shifts), 2, *sides)
    assert found.is_contiguous()
    for place, (down, right) in enumerate(shifts):
        row, column = top + down, left + right
        expected = source[:, :, row : row + sides[0], column : column + sides[1]]
        assert torch.equal(found[:, place], expected)
    model = CropShift(sides)
    assert torch.equal(model.base(source), crop_shifts(source, shift_list((0, 0)), sides)[:, 0])
    assert model.largest(source) == (top, left)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    shifts=st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=1, max_size=4),
)
def test_a_circular_shift_is_a_roll_the_other_way(sides, shifts):
    images = levels(2, 3, *sides)
    found = circular_shifts(images, shift_list(*shifts))
    for place, (down, right) in enumerate(shifts):
        assert torch.equal(found[:, place], images.roll((-down, -right), dims=(2, 3)))


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    first=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    second=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
)
def test_circular_shifts_compose(sides, first, second):
    images = levels(2, 1, *sides)
    there = circular_shifts(images, shift_list(first))[:, 0]
    both = circular_shifts(there, shift_list(second))[:, 0]
    total = (first[0] + second[0], first[1] + second[1])
    assert torch.equal(both, circular_shifts(images, shift_list(total))[:, 0])
    back = circular_shifts(there, shift_list((-first[0], -first[1])))[:, 0]
    assert torch.equal(back, images)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    mode=st.sampled_from(["zero", "reflect"]),
    data=st.data(),
)
def test_a_pad_shift_is_a_slice_of_the_padded_image(sides, mode, data):
    reach = [side - 1 if mode == "reflect" else side + 3 for side in sides]
    one = st.tuples(*(st.integers(-far, far) for far in reach))
    shifts = data.draw(st.lists(one, min_size=1, max_size=4))
    images = levels(2, 2, *sides)
    found = pad_shifts(images, shift_list(*shifts), mode)
    pads = [(0, 0), (0, 0), (reach[0],) * 2, (reach[1],) * 2]
    padded = np.pad(images.numpy(), pads, mode="constant" if mode == "zero" else "reflect")
    for place, (down, right) in enumerate(shifts):
        row, column = reach[0] + down, reach[1] + right
        expected = padded[:, :, row : row + sides[0], column : column + sides[1]]
        assert np.array_equal(found[:, place].numpy(), expected)


def test_all_models_shift_the_same_way():
    source = levels(1, 1, 12, 12)
    shifts = neighbourhood(2)
    inner = crop_shifts(source, shifts, 6)
    wholes = [circular_shifts(source, shifts)]
    wholes += [pad_shifts(source, shifts, mode) for mode in ("zero", "reflect")]
    for whole in wholes:
        assert torch.equal(whole[..., 3:9, 3:9], inner)
    # Written out: moved down by one, the camera sees the second row on top.
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    assert pad_shifts(image, shift_list((1, 0)))[0, 0, 0].tolist() == [[3, 4], [0, 0]]
    assert circular_shifts(image, shift_list((0, 1)))[0, 0, 0].tolist() == [[2, 1], [4, 3]]
    assert pad_shifts(image, shift_list((-1, 0)), "reflect")[0, 0, 0].tolist() == [[3, 4], [1, 2]]


MODELS = [CropShift(5), CropShift((4, 6)), CircularShift(), PadShift(), PadShift("reflect")]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_may_have_shifts_of_its_own(model, dtype):
    images = levels(4, 2, 8, 9, dtype=dtype)
    kept = images.clone()
    shifts = neighbourhood(1)[torch.tensor([[0, 3, 7], [1, 1, 2], [5, 4, 3], [6, 0, 2]])]
    found = model.apply(images, shifts)
    assert isinstance(model, ShiftModel)
    assert found.dtype == dtype
    for row in range(4):
        alone = model.apply(images[row : row + 1], shifts[row])
        assert torch.equal(found[row : row + 1], alone)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("model", MODELS)
def test_any_layout_and_gradients_pass(model):
    images = levels(2, 3, 8, 9, dtype=torch.float64)
    last = images.to(memory_format=torch.channels_last)
    shifts = neighbourhood(1)
    assert torch.equal(model.apply(last, shifts), model.apply(images, shifts))
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.apply(leaf, shifts).sum(), leaf)
    ones = torch.ones_like(images, requires_grad=True)
    (again,) = torch.autograd.grad(model.apply(ones, shifts).sum(), ones)
    assert torch.equal(gradient, again)
    assert gradient[0, 0].sum() == model.apply(torch.ones_like(images), shifts)[0, :, 0].sum()


# --- bad input -----------------------------------------------------------------------------------

IMAGES = levels(2, 3, 10, 12)
ONE = shift_list((1, 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neighbourhood(0), "at least 1"),
        (lambda: neighbourhood(1, neighbours=6), "4 or 8"),
        (lambda: CropShift(0), "whole number"),
        (lambda: CropShift((4, 0)), "whole number"),
        (lambda: crop_shifts(IMAGES, ONE, 11), "does not fit"),
        (lambda: CropShift(11).base(IMAGES), "does not fit"),
        (lambda: CropShift((4, 13)).largest(IMAGES), "does not fit"),
        (lambda: crop_shifts(IMAGES, shift_list((2, 0), (-3, 0)), 6), "-2 to 2 rows"),
        (lambda: crop_shifts(IMAGES, shift_list((3, 0)), 6), "nothing is padded"),
        (lambda: crop_shifts(IMAGES, shift_list((0, -4)), 6), "-3 to 3 columns"),
        (lambda: crop_shifts(IMAGES, shift_list((0, 4)), 7), "-2 to 3 columns"),
        (lambda: crop_shifts(IMAGES, ONE[0], 6), r"\(K, 2\)"),
        (lambda: crop_shifts(IMAGES, ONE.expand(3, 1, 2), 6), r"\(2, K, 2\)"),
        (lambda: crop_shifts(IMAGES, torch.zeros(4, 3, dtype=torch.int64), 6), r"\(K, 2\)"),
        (lambda: crop_shifts(IMAGES, torch.zeros(0, 2, dtype=torch.int64), 6), "no shifts"),
        (lambda: crop_shifts(IMAGES, ONE.float(), 6), "int64"),
        (lambda: circular_shifts(IMAGES, ONE.int()), "int64"),
        (lambda: circular_shifts(IMAGES[0], ONE), "unsqueeze"),
        (lambda: CircularShift().base(IMAGES[0]), "unsqueeze"),
        (lambda: circular_shifts(IMAGES.int(), ONE), "floating point"),
        (lambda: pad_shifts(IMAGES[:0], ONE), "empty"),
        (lambda: pad_shifts(IMAGES, shift_list((10, 0)), "reflect"), "-9 to 9 rows"),
        (lambda: pad_shifts(IMAGES, shift_list((0, -12)), "reflect"), "-11 to 11 columns"),
        (lambda: pad_shifts(IMAGES, ONE, "mirror"), "padding 'mirror'"),
        (lambda: PadShift("reflct"), "'reflect'"),
        (lambda: crop_shifts(torch.full((1, 1, 4, 4), torch.nan), ONE, 2), "NaN"),
    ],
)
def test_what_cannot_be_shifted_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
