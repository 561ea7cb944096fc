"""Closed forms against draws and keys: how often a shift changes the selected crop."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.data.patches import photograph
from robustkit.errors import InputError
from robustkit.translation.content_hash import hash_score
from robustkit.translation.selection import select
from robustkit.translation.shifts import neighbourhood
from robustkit.translation.theory import (
    adversarial_robustness,
    change_probability,
    crop_for,
    jaccard,
    overlap,
)


def fields(count, rows, columns, seed=0):
    """Scores in random order, by parts that fit into a cache."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, 1000):
        shape = (min(1000, count - start), rows, columns)
        yield torch.randint(2**62, shape, generator=generator)


def selected(field, grid, shift, margin):
    """Where in the field the window selects that lies at `margin` + `shift`."""
    corner = [margin + step for step in shift]
    rows, columns = (slice(c, c + n) for c, n in zip(corner, grid, strict=True))
    window = field[:, rows, columns]
    return select(window, window).positions + torch.tensor(corner)


def agrees(hits, count, probability):
    spread = 4 * math.sqrt(count * probability * (1 - probability))
    return abs(hits - count * probability) <= spread


# --- one shift -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (1, 1), (4, 2), (-3, 1)])
@pytest.mark.parametrize(
    ("grid", "count"),
    [((9, 9), 20_000), ((17, 17), 20_000), ((33, 33), 5000), ((65, 65), 4000), ((9, 14), 20_000)],
)
def test_changes_of_the_crop_are_as_frequent_as_the_formula_says(grid, count, shift):
    margin = 4
    changed = sum(
        int(
            (selected(f, grid, (0, 0), margin) != selected(f, grid, shift, margin)).any(dim=1).sum()
        )
        for f in fields(count, grid[0] + 2 * margin, grid[1] + 2 * margin)
    )
    probability = change_probability(grid, shift)
    assert agrees(changed, count, probability)
    # The test would see a formula that counts windows and not what they have in common.
    assert not agrees(changed, count, 1 - overlap(grid, shift))


@pytest.mark.parametrize("count", [1, 2, 9, 33, 65])
def test_one_pixel_along_one_axis_is_two_of_the_candidates_and_one_more(count):
    expected = 2 / (count + 1)
    for shift in (1, -1, (1, 0), (0, 1), (0, -1)):
        assert change_probability(count, shift) == pytest.approx(expected, rel=1e-15)
    assert change_probability((count, 5), 1) == change_probability((5, count), (0, 1))
    assert overlap(count, (1, 1)) == pytest.approx((1 - 1 / count) ** 2, rel=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    down=st.integers(-14, 14),
    across=st.integers(-14, 14),
)
def test_the_formulas_count_positions(rows, columns, down, across):
    here = {(y, x) for y in range(rows) for x in range(columns)}
    there = {(y + down, x + across) for y, x in here}
    shared, either = len(here & there), len(here | there)
    shift = (down, across)
    assert overlap((rows, columns), shift) == float(Fraction(shared, len(here)))
    assert change_probability((rows, columns), shift) == float(1 - Fraction(shared, either))


# --- all shifts of a neighbourhood ---------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [8, 4])
@pytest.mark.parametrize(
    ("grid", "radius", "count"),
    [((9, 9), 1, 20_000), ((17, 17), 1, 10_000), ((9, 9), 2, 10_000), ((8, 12), 1, 10_000)],
)
def test_no_shift_changes_the_crop_as_often_as_the_formula_says(grid, radius, count, neighbours):
    shifts = neighbourhood(radius, neighbours=neighbours).tolist()
    kept = 0
    for field in fields(count, grid[0] + 2 * radius, grid[1] + 2 * radius, seed=1):
        base = selected(field, grid, (0, 0), radius)
        same = torch.ones(len(field), dtype=torch.bool)
        for shift in shifts:
            same &= (selected(field, grid, shift, radius) == base).all(dim=1)
        kept += int(same.sum())
    assert agrees(kept, count, adversarial_robustness(grid, radius, neighbours=neighbours))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    radius=st.integers(1, 4),
    neighbours=st.sampled_from([4, 8]),
)
def test_the_formula_counts_what_all_windows_and_what_any_holds(rows, columns, radius, neighbours):
    here = {(y, x) for y in range(rows) for x in range(columns)}
    windows = [
        {(y + down, x + across) for y, x in here}
        for down, across in neighbourhood(radius, neighbours=neighbours).tolist()
    ]
    shared, either = here.intersection(*windows), here.union(*windows)
    found = adversarial_robustness((rows, columns), radius, neighbours=neighbours)
    assert found == float(Fraction(len(shared), len(either)))


def test_a_radius_of_nothing_changes_nothing():
    assert adversarial_robustness(5, 0) == adversarial_robustness((1, 7), 0, neighbours=4) == 1


# --- the crop for a wanted rate ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epsilon", "axis", "adversary"),
    [(0.2, 9, 36), (0.1, 19, 76), (0.05, 39, 156), (0.01, 199, 796)],
)
def test_the_crop_leaves_the_candidates_of_the_table(epsilon, axis, adversary):
    assert crop_for(epsilon, 1000) == 1000 - axis + 1
    assert crop_for(epsilon, 1000, 1) == 1000 - adversary + 1
    # The closed forms behind the table.
    root = math.sqrt(1 - epsilon)
    assert axis == math.ceil((2 - epsilon) / epsilon - 1e-9)
    assert adversary == math.ceil(2 * (1 + root) / (1 - root))
    # One pixel more would be too much.
    assert change_probability(axis, 1) <= epsilon < change_probability(axis - 1, 1)
    assert 1 - adversarial_robustness(adversary, 1) <= epsilon
    assert 1 - adversarial_robustness(adversary - 1, 1) > epsilon


@settings(max_examples=60, deadline=None)
@given(
    epsilon=st.floats(0.02, 1),
    rows=st.integers(150, 300),
    columns=st.integers(150, 300),
    radius=st.integers(1, 3),
    neighbours=st.sampled_from([4, 8]),
)
def test_the_crop_is_the_largest_that_keeps_the_rate(epsilon, rows, columns, radius, neighbours):
    high, wide = crop_for(epsilon, (rows, columns))
    count = rows - high + 1
    assert wide == columns - count + 1
    assert change_probability(count, 1) <= epsilon + 1e-8
    assert count == 1 or change_probability(count - 1, 1) > epsilon - 1e-8
    larger = 0.2 + 0.8 * epsilon
    high, wide = crop_for(larger, (rows, columns), radius, neighbours=neighbours)
    count = rows - high + 1
    assert wide == columns - count + 1
    kept = [
        adversarial_robustness(n, radius, neighbours=neighbours) for n in (count, max(1, count - 1))
    ]
    assert 1 - kept[0] <= larger + 1e-8
    assert count == 1 or 1 - kept[1] > larger - 1e-8


@pytest.mark.parametrize("size", [8, (8, 300)])
def test_a_rate_that_no_crop_has_is_refused(size):
    with pytest.raises(InputError, match=r"crop of one pixel it is 0\.2222.*larger epsilon"):
        crop_for(0.1, size)
    assert crop_for(2 / 9 + 1e-9, 8) == 1


def test_bad_arguments_are_refused():
    for epsilon in (0, -0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=r"epsilon must lie in \(0, 1\]"):
            crop_for(epsilon, 32)
    with pytest.raises(InputError, match="neighbours must be 4 or 8"):
        adversarial_robustness(5, 1, neighbours=6)
    with pytest.raises(InputError, match="radius must be at least 0"):
        adversarial_robustness(5, -1)
    with pytest.raises(InputError, match="candidates must be"):
        change_probability(0, 1)
    with pytest.raises(InputError, match=r"shift must be \(rows, columns\)"):
        overlap(5, (1, 2, 3))
    with pytest.raises(InputError, match="first must hold int64"):
        jaccard(torch.rand(4), torch.rand(4))
    with pytest.raises(InputError, match="second must hold int64"):
        jaccard(torch.arange(4), torch.arange(0))
    with pytest.raises(InputError, match="as many sets"):
        jaccard(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64))


# --- keyed hashes on fixed images ----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_index_is_that_of_sets(data):
    sets = st.lists(st.integers(-4, 4), min_size=1, max_size=12)
    first, second = data.draw(sets), data.draw(sets)
    expected = len({*first} & {*second}) / len({*first} | {*second})
    found = jaccard(torch.tensor(first), torch.tensor(second))
    assert found.dtype == torch.float64
    assert found.item() == expected
    # Rows are sets of their own.
    rows = jaccard(torch.tensor([first, first]), torch.tensor([second, second]))
    assert rows.tolist() == [expected, expected]


def natural():
    return photograph("cat")[60:110, 200:252]


def spotted():
    """A flat image with one small texture: most crops are equal."""
    image = np.full((50, 52, 3), 90, dtype=np.uint8)
    image[12:17, 20:26] = natural()[:5, :6]
    return image


def periodic():
    return np.tile(natural()[:4, :6], (13, 9, 1))[:50, :52]


def stripes():
    """One tile above, noise below: new content comes in that a window has not seen."""
    image = periodic()
    image[27:] = natural()[:23]
    return image


IMAGES = [natural, spotted, periodic, stripes]
WINDOW, CROP, CORNER, KEYS = (24, 26), (13, 12), (8, 9), 320


def contents(image, corner):
    """The set of all different crops of the window at a corner, as bytes."""
    rows, columns = (size - part + 1 for size, part in zip(WINDOW, CROP, strict=True))
    return {
        image[y : y + CROP[0], x : x + CROP[1]].tobytes()
        for y in range(corner[0], corner[0] + rows)
        for x in range(corner[1], corner[1] + columns)
    }


@lru_cache
def keyed():
    """The hashes of all crops of all images under every key, (keys, images, rows, columns)."""
    levels = torch.stack([torch.from_numpy(make().copy()).permute(2, 0, 1) for make in IMAGES])
    return torch.stack([hash_score(key)(levels, CROP) for key in range(KEYS)])


@pytest.mark.parametrize("make", IMAGES)
def test_over_the_keys_the_selected_pixels_stay_as_often_as_the_sets_agree(make):
    image, hashes = make(), keyed()[:, IMAGES.index(make)]
    shifts = [(1, 0), (0, -1), (1, 1), (4, 2), (-3, 5)]
    grid = [size - part + 1 for size, part in zip(WINDOW, CROP, strict=True)]

    def window(shift):
        down, across = (c + s for c, s in zip(CORNER, shift, strict=True))
        return hashes[:, down : down + grid[0], across : across + grid[1]]

    def chosen(shift):
        return select(window(shift), window(shift)).hashes

    here = contents(image, CORNER)
    for shift in shifts:
        there = contents(image, [c + s for c, s in zip(CORNER, shift, strict=True)])
        expected = len(here & there) / len(here | there)
        found = jaccard(window((0, 0)).flatten(1), window(shift).flatten(1))
        assert found.tolist() == [expected] * KEYS
        assert agrees(int((chosen(shift) == chosen((0, 0))).sum()), KEYS, expected)
        if make is natural:
            assert expected == pytest.approx(1 - change_probability(tuple(grid), shift), rel=1e-12)
        elif make is periodic:
            assert expected == 1
        elif make is spotted and shift == (-3, 5):
            # With repeated crops the sets, and not the positions, tell the rate.
            assert not agrees(expected * KEYS, KEYS, 1 - change_probability(tuple(grid), shift))
