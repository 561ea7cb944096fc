"""Scores are exact integers of a crop's own pixels: the same in any window, batch and layout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_references import levels, photographs, slow_hash, slow_response

from robustkit.errors import InputError
from robustkit.translation import (
    FilterScore,
    HashScore,
    as_levels,
    filter_score,
    hash_score,
    laplacian_score,
    resolve_score,
    score_maps,
)

SCORES = {"filter": filter_score(3), "hash": hash_score(3), "laplacian": laplacian_score()}
LARGEST = 2**63 - 1


def float_box_score(images, crop):
    """The mutant: means of crops by running sums in single precision."""
    sums = (images.float() / 255).sum(1).cumsum(1).cumsum(2)
    sums = torch.nn.functional.pad(sums, (1, 0, 1, 0))
    rows, columns = crop
    tall = sums[:, rows:] - sums[:, :-rows]
    return (tall[..., columns:] - tall[..., :-columns]) / (rows * columns)


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_map_of_a_window_is_the_window_of_the_map(name, data):
    channels, height, width = (data.draw(st.integers(1, most)) for most in (4, 24, 24))
    height, width = height + 8, width + 8
    window = [data.draw(st.integers(8, side)) for side in (height, width)]
    crop = tuple(data.draw(st.integers(7, side)) for side in window)
    top, left = (
        data.draw(st.integers(0, side - kept))
        for side, kept in zip((height, width), window, strict=True)
    )
    source = levels(2, channels, height, width, seed=data.draw(st.integers(0, 99)))
    seen = source[:, :, top : top + window[0], left : left + window[1]]
    whole, part = SCORES[name](source, crop), SCORES[name](seen, crop)
    rows, columns = part.shape[1:]
    assert (rows, columns) == (window[0] - crop[0] + 1, window[1] - crop[1] + 1)
    assert torch.equal(part, whole[:, top : top + rows, left : left + columns])


def test_running_sums_of_floats_are_not_the_same_in_another_window():
    source, crop = photographs(64), (40, 40)
    whole = float_box_score(source, crop)[:, 1:, 1:]
    part = float_box_score(source[:, :, 1:, 1:], crop)
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-4)
    assert (part != whole).double().mean() > 0.2


def test_the_filter_is_the_sum_over_its_taps():
    image, crop = levels(2, 13, 12), (9, 8)
    for score in (SCORES["filter"], SCORES["laplacian"], FilterScore(((1, -3), (0, 2)))):
        assert score(image[None], crop)[0].tolist() == slow_response(image, crop, score.kernel)


def test_the_laplacian_of_one_bright_pixel():
    image = levels(1, 3, 9, 9, most=1)
    image[0, :, 4, 4] = torch.tensor([1, 10, 100])
    expected = torch.zeros(7, 7, dtype=torch.int64)
    expected[3, 3] = 4 * 111
    expected[[2, 4, 3, 3], [3, 3, 2, 4]] = 111
    assert torch.equal(laplacian_score()(image, (3, 3))[0], expected)


def test_kernels_have_zero_mean_and_depend_on_the_key():
    kernels = [filter_score(key).kernel for key in range(20)]
    assert all(sum(map(sum, kernel)) == 0 for kernel in kernels)
    assert all(len(kernel) == 7 and {len(row) for row in kernel} == {7} for kernel in kernels)
    assert len(set(kernels)) == 20
    constant = torch.full((1, 3, 12, 12), 255, dtype=torch.uint8)
    assert not SCORES["filter"](constant, (9, 9)).any()
    assert filter_score(4).gain == sum(abs(weight) for row in kernels[4] for weight in row)


def test_the_gain_bounds_the_change_by_noise_and_is_reached():
    score = filter_score(1)
    weights = torch.tensor(score.kernel)
    image = torch.full((1, 2, 7, 7), 100, dtype=torch.uint8)
    worst = image + 3 * weights.sign().to(torch.uint8)
    assert score(worst, (7, 7)).item() == 2 * score.gain * 3


def test_the_largest_scores_are_exact():
    white = torch.full((1, 3, 7, 7), 255, dtype=torch.uint8)
    weight = (2**53 - 1) // (255 * 3 * 49)
    score = FilterScore(((weight,) * 7,) * 7)
    assert score(white, (7, 7)).item() == 255 * 3 * 49 * weight
    with pytest.raises(InputError, match="smaller weights"):
        FilterScore(((weight + 1,) * 7,) * 7)(white, (7, 7))


@pytest.mark.parametrize("channels", [1, 3, 4, 8])
def test_the_hash_is_the_polynomial(channels):
    image, crop = levels(channels, 7, 6), (4, 3)
    for key in (0, 5):
        hashes = hash_score(key)(image[None], crop)[0]
        for top in range(4):
            for left in range(4):
                piece = image[:, top : top + 4, left : left + 3]
                assert hashes[top, left].item() == slow_hash(piece, key)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hashes_tell_contents_apart(data):
    channels, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    most, seed = data.draw(st.sampled_from([2, 256])), data.draw(st.integers(0, 999))
    first, second = levels(2, channels, height, width, seed=seed, most=most)
    kind = data.draw(st.sampled_from(["other", "pixel", "rows", "columns", "channels", "turned"]))
    if kind == "pixel":
        second = first.clone()
        second[channels // 2, height // 2, width // 2] ^= data.draw(st.integers(1, 255))
    elif kind != "other":
        axis = {"rows": (1,), "columns": (2,), "channels": (0,), "turned": (1, 2)}[kind]
        second = first.flip(axis)
    one, other = (hash_score(7)(image[None], (height, width)).item() for image in (first, second))
    assert (one == other) == bool((first == second).all())
    assert 0 <= one <= LARGEST


def test_no_two_of_many_nearly_equal_crops_share_a_hash():
    # One bright pixel, then two, each anywhere.
    count = 24 * 24
    one = torch.zeros(count, 1, 24, 24, dtype=torch.uint8)
    one.reshape(count, count).fill_diagonal_(1)
    pairs = torch.combinations(torch.arange(count)[::3])
    two = one[pairs[:, 0]] + one[pairs[:, 1]]
    hashes = hash_score()(torch.cat([one, two]), (24, 24)).flatten()
    assert len(hashes.unique()) == len(hashes) == count + len(pairs)
    # As random numbers: every bit is set in half of them.
    bits = (hashes[:, None] >> torch.arange(63)) & 1
    assert (bits.double().mean(0) - 0.5).abs().max() < 5 * 0.5 / len(hashes) ** 0.5


def test_hashes_depend_on_the_key_and_the_size_of_the_crop():
    image = levels(1, 3, 12, 12, most=1)
    assert len({HashScore(key)(image, (9, 9))[0, 0, 0].item() for key in range(100)}) == 100
    sizes = [(a, b) for a in range(1, 13) for b in range(1, 13)]
    black = {hash_score()(image, size)[0, 0, 0].item() for size in sizes}
    assert len(black) == len(sizes)


@pytest.mark.parametrize("axis", [2, 3])
def test_the_one_weakness_of_the_hash_begins_at_1024_pixels(axis):
    sequence = torch.tensor([bin(place).count("1") % 2 for place in range(1024)])
    for length, collides in ((256, False), (512, False), (1024, True)):
        lines = torch.stack([sequence[:length], 1 - sequence[:length]]).to(torch.uint8)
        shape, crop = [2, 1, 1, 1], [1, 1]
        shape[axis], crop[axis - 2] = length, length
        for key in range(5):
            first, second = hash_score(key)(lines.reshape(shape), tuple(crop)).flatten().tolist()
            assert (first == second) == collides


@pytest.mark.parametrize("name", SCORES)
def test_batches_layouts_and_threads_change_nothing(name):
    images, crop = levels(9, 3, 33, 29), (20, 21)
    expected = SCORES[name](images, crop)
    kept = images.clone()
    for part in (1, 2, 7):
        parts = [SCORES[name](some, crop) for some in images.split(part)]
        assert torch.equal(torch.cat(parts), expected)
    layouts = [
        images.to(memory_format=torch.channels_last),
        images.mT.contiguous().mT,
        images.repeat_interleave(2, dim=3)[..., ::2],
    ]
    for layout in layouts:
        assert torch.equal(SCORES[name](layout, crop), expected)
    torch.set_num_threads(2)
    try:
        assert torch.equal(SCORES[name](images, crop), expected)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(images, kept)


def test_large_batches_are_hashed_in_parts():
    images = levels(5, 1, 300, 301)
    hashes = hash_score()(images, (298, 300))
    for one, expected in zip(images, hashes, strict=True):
        assert torch.equal(hash_score()(one[None], (298, 300))[0], expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_floating_images_stand_for_their_levels(dtype):
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(as_levels((images.double() / 255).to(dtype)), images)
    assert as_levels(images) is images
    shaken = (images.double() / 255 + 0.9e-4 * torch.tensor([1, -1]).repeat(8)).clamp(0, 1)
    assert torch.equal(as_levels(shaken.float()), images)
    for score in SCORES:
        floating = score_maps((images.double() / 255).to(dtype), 9, score)
        for one, expected in zip(floating, score_maps(images, 9, score), strict=True):
            assert torch.equal(one, expected)


def test_images_between_levels_are_refused():
    images = torch.rand(2, 3, 9, 9)
    with pytest.raises(InputError, match="quantise"):
        as_levels(images)
    with pytest.raises(InputError, match="quantise"):
        as_levels(images.half())
    with pytest.raises(InputError, match="256 levels"):
        as_levels(torch.zeros(1, 1, 9, 9, dtype=torch.bfloat16))
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        as_levels(images * 255)
    with pytest.raises(InputError, match="unsqueeze"):
        as_levels(levels(3, 9, 9))
    with pytest.raises(InputError, match="NaN"):
        as_levels(torch.full((1, 1, 9, 9), float("nan")))


def test_crops_that_do_not_fit_are_refused():
    images = levels(2, 3, 12, 10)
    for score in SCORES.values():
        for crop in ((13, 8), (8, 11)):
            with pytest.raises(InputError, match="does not fit"):
                score(images, crop)
    with pytest.raises(InputError, match="7 x 7 filter"):
        filter_score()(images, (8, 6))
    with pytest.raises(InputError, match="3 x 3 filter"):
        laplacian_score()(images, (2, 8))
    assert hash_score()(images, (1, 1)).shape == (2, 12, 10)


def test_scores_have_names():
    assert resolve_score("filter", 4) == filter_score(4) != filter_score(5)
    assert resolve_score("hash", 4) == hash_score(4) != hash_score(5)
    assert resolve_score("laplacian", 4) == laplacian_score()
    assert resolve_score(float_box_score) is float_box_score
    with pytest.raises(InputError, match="Did you mean 'filter'"):
        resolve_score("filters")
    with pytest.raises(InputError, match="must return int64"):
        score_maps(levels(1, 1, 9, 9), 5, float_box_score)
