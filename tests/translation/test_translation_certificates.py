"""The law of selection, and what it certifies when the scene is known, against all windows."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.errors import InputError
from robustkit.translation.certificates import (
    certified_radius,
    noise_radius,
    radii_of,
    safe_shifts,
)
from robustkit.translation.content_hash import hash_score
from robustkit.translation.rics import RICS
from robustkit.translation.scores import FilterScore, filter_score, laplacian_score

WINDOW, CROP = (14, 13), (8, 7)


def parity(images, crop):
    """A score of two values: most candidates are tied, and content decides."""
    rows, columns = images.shape[2] - crop[0] + 1, images.shape[3] - crop[1] + 1
    return (images[:, 0, :rows, :columns] % 2).long()


def brightness(images, crop):
    """A smooth score, whose largest value likes the border."""
    sums = images.sum(1).long().unfold(1, crop[0], 1).unfold(2, crop[1], 1)
    return sums.sum((-2, -1))


def selector(score="filter", crop=CROP, **options):
    return RICS(nn.Flatten().eval(), crop, score=score, **options)


def scenes(count, height, width, channels=2, levels=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    return torch.randint(levels, shape, generator=generator, dtype=torch.uint8)


def kinds(height=22, width=21):
    """Random, of few levels (many tied crops), periodic both ways, flat with one dot, and flat."""
    rich, poor = scenes(2, height, width), scenes(1, height, width, levels=2, seed=1)
    tile = scenes(1, 3, 4, seed=2).repeat(1, 1, 8, 6)[..., :height, :width]
    flat = torch.full((1, 2, height, width), 90, dtype=torch.uint8)
    dot = flat.clone()
    dot[..., height // 2, width // 2] = 200
    return torch.cat([rich, poor, tile, dot, flat])


def brute_force(rics, source, window, position, limit):
    """Whether the selected pixels are those of the window at rest, one window at a time."""

    def crops(a, b):
        top, left = position[0] + a, position[1] + b
        return rics.crops(source[..., top : top + window[0], left : left + window[1]])

    rest, steps = crops(0, 0).flatten(1), range(-limit, limit + 1)
    same = [(crops(a, b).flatten(1) == rest).all(1) for a, b in itertools.product(steps, steps)]
    return torch.stack(same, dim=1).reshape(len(source), len(steps), len(steps))


def brute_radius(safe):
    limit = len(safe) // 2
    for radius in range(limit + 1):
        inner = slice(limit - radius, limit + radius + 1)
        if not safe[inner, inner].all():
            return radius - 1
    return limit


# --- the law -------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["hash", "filter", "laplacian", brightness])
def test_a_crop_stays_if_and_only_if_the_best_of_both_windows_lies_in_both(score):
    source, rics = scenes(4, 20, 20, seed=3), selector(score, crop=8)
    maps = [values.tolist() for values in rics.score_maps(source)]

    def selected(top, left):
        inside = rics.select(source[..., top : top + 12, left : left + 12]).positions
        return [(top + row, left + column) for row, column in inside.tolist()]

    def candidates(top, left):
        return set(itertools.product(range(top, top + 5), range(left, left + 5)))

    rest, stayed = selected(4, 4), set()
    for a, b in itertools.product(range(-3, 4), repeat=2):
        both = candidates(4, 4) & candidates(4 + a, 4 + b)
        either = candidates(4, 4) | candidates(4 + a, 4 + b)
        for row, place in enumerate(selected(4 + a, 4 + b)):
            best = max(
                either, key=lambda at, row=row: [values[row][at[0]][at[1]] for values in maps]
            )
            assert (place == rest[row]) == (best in both)
            stayed.add(best in both)
    assert stayed == {False, True}


def test_random_scenes_are_certified_as_often_as_theory_says():
    """Exchangeable scores of 9 x 9 candidates: radius k has probability ((9 - 2k) / (9 + 2k))^2."""
    rics = selector("hash", crop=4)
    radii = certified_radius(rics, scenes(1500, 16, 16, channels=1, seed=8), 12).radii
    for radius in (1, 2):
        expected = ((9 - 2 * radius) / (9 + 2 * radius)) ** 2
        deviation = (expected * (1 - expected) / 1500) ** 0.5
        assert abs((radii >= radius).double().mean() - expected) < 4 * deviation


# --- shifts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["filter", "hash", "laplacian", parity, brightness])
@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
def test_safe_shifts_are_those_that_keep_the_pixels(score, how):
    source = kinds()
    rics = selector(score, select=how, radius=1, count=3)
    expected = brute_force(rics, source, WINDOW, (4, 4), 3)
    assert torch.equal(safe_shifts(rics, source, WINDOW, limit=3), expected)
    result = certified_radius(rics, source, WINDOW, limit=3)
    assert torch.equal(result.safe, expected)
    assert result.radii.tolist() == [brute_radius(safe) for safe in expected]
    assert torch.equal(result.limited, expected.flatten(1).all(1))
    assert result.limit == 3
    assert len(result) == len(source)
    # No shift is safe, and a flat scene always.
    assert result.safe[:, 3, 3].all()
    assert result.limited[-1]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_window_of_any_scene(data):
    crop = [data.draw(st.integers(1, 4)) for _ in range(2)]
    window = [side + data.draw(st.integers(0, 5)) for side in crop]
    limit = data.draw(st.integers(0, 3))
    position = tuple(limit + data.draw(st.integers(0, 2)) for _ in range(2))
    height, width = (
        position[axis] + window[axis] + limit + data.draw(st.integers(0, 2)) for axis in range(2)
    )
    levels, seed = data.draw(st.sampled_from([2, 3, 256])), data.draw(st.integers(0, 2**32))
    source = scenes(3, height, width, 1, levels, seed)
    rics = selector(data.draw(st.sampled_from(["hash", parity])), tuple(crop))
    found = certified_radius(rics, source, tuple(window), position=position, limit=limit)
    expected = brute_force(rics, source, window, position, limit)
    assert torch.equal(found.safe, expected)
    assert found.radii.tolist() == [brute_radius(safe) for safe in expected]


def test_a_radius_is_largest_or_says_that_the_scene_ended():
    source, rics = scenes(60, 26, 25, channels=1, seed=5), selector()
    whole = certified_radius(rics, source, WINDOW)
    assert whole.limit == 6
    assert whole.radii.unique().numel() > 2
    for limit in range(7):
        part = certified_radius(rics, source, WINDOW, limit=limit)
        assert torch.equal(part.radii, whole.radii.clamp(max=limit))
        assert torch.equal(part.limited, whole.radii >= limit)
        inner = slice(6 - limit, 7 + limit)
        assert torch.equal(part.safe, whole.safe[:, inner, inner])
    for safe, radius in zip(whole.safe, whole.radii.tolist(), strict=True):
        inner, outer = slice(6 - radius, 7 + radius), slice(5 - radius, 8 + radius)
        assert safe[inner, inner].all()
        assert radius == 6 or not safe[outer, outer].all()


def test_the_margin_is_the_nearest_side_of_the_scene():
    source, rics = scenes(1, 20, 30), selector()
    for position, limit in (((0, 5), 0), ((3, 9), 3), ((4, 2), 2), ((4, 17), 0), ((5, 8), 1)):
        assert certified_radius(rics, source, WINDOW, position=position).limit == limit
    assert certified_radius(rics, source, WINDOW).limit == 3
    at_rest = certified_radius(rics, source, (20, 30))
    assert at_rest.safe.tolist() == [[[True]]]
    assert at_rest.radii.tolist() == [0]
    assert at_rest.limited.tolist() == [True]


def test_rows_parts_types_and_layouts_do_not_matter(monkeypatch):
    source, rics = kinds(), selector()
    before = source.clone()
    whole = safe_shifts(rics, source, WINDOW)
    assert torch.equal(source, before)
    alone = [safe_shifts(rics, image[None], WINDOW) for image in source]
    assert torch.equal(torch.cat(alone), whole)
    for other in (source.to(memory_format=torch.channels_last), source.float() / 255):
        assert torch.equal(safe_shifts(rics, other, WINDOW), whole)
    monkeypatch.setattr("robustkit.translation.rics._PIXELS", 1)
    assert torch.equal(safe_shifts(rics, source, WINDOW), whole)


def test_the_model_is_not_called():
    class Never(nn.Module):
        def forward(self, images):
            raise AssertionError

    assert certified_radius(RICS(Never(), CROP), kinds(), WINDOW).limit == 4


@pytest.mark.parametrize(
    ("safe", "radius"),
    [
        (["1"], 0),
        (["0"], -1),
        (["111", "111", "111"], 1),
        (["111", "111", "110"], 0),
        (["11111", "11111", "11111", "11111", "01111"], 1),
        (["11111", "11111", "01110", "11111", "11111"], 1),
        (["11111", "10111", "11111", "11111", "01111"], 0),
    ],
)
def test_radii_of_hand_made_maps(safe, radius):
    maps = torch.tensor([[[cell == "1" for cell in row] for row in safe]])
    assert radii_of(maps).tolist() == [radius]
    assert radii_of(maps.transpose(1, 2).flip(1)).tolist() == [radius]


# --- noise ---------------------------------------------------------------------------------------

STEEP = FilterScore(((-1, 2, -1),))


def noises(score, image, chosen, crop, size):
    """Corners of the noise: against the chosen crop, for each other one, and at random."""
    kernel = torch.tensor(score.kernel)
    rows, columns = kernel.shape
    top, left = (crop[0] - rows) // 2, (crop[1] - columns) // 2

    def response(row, column):
        part = image[:, row + top : row + top + rows, column + left : column + left + columns]
        return int((part.long() * kernel).sum())

    grid = image.shape[1] - crop[0] + 1, image.shape[2] - crop[1] + 1
    generator = torch.Generator().manual_seed(0)
    for place in itertools.product(*map(range, grid)):
        noise = size * (2 * torch.randint(2, image.shape, generator=generator) - 1)
        yield noise
        for (row, column), way in ((chosen, -1), (place, 1)):
            sign = way * (1 if response(row, column) >= 0 else -1)
            part = (..., slice(row + top, row + top + rows), slice(column + left, None))
            noise[part][..., :columns] = sign * size * kernel.sign()
        yield noise


@pytest.mark.parametrize("score", [filter_score(3), laplacian_score(), STEEP])
@pytest.mark.parametrize("channels", [1, 3])
def test_no_noise_up_to_the_radius_changes_the_selected_pixels(score, channels):
    images = torch.cat([
        scenes(25, 13, 14, channels, seed=6),
        scenes(3, 13, 14, channels, levels=2, seed=7) * 100 + 80,
    ])  # fmt: skip
    rics = selector(score)
    selection = rics.select(images)
    radii = noise_radius(selection, score, channels)
    assert radii.dtype == torch.int64
    assert (radii >= 0).all()
    assert channels > 1 or (radii > 0).any()
    for row in (radii > 0).nonzero().flatten().tolist():
        image, place = images[row], tuple(selection.positions[row].tolist())
        corners = torch.stack(list(noises(score, image, place, CROP, int(radii[row]))))
        noisy = (image + corners).clamp(0, 255).to(torch.uint8)
        found = rics.select(noisy).positions.tolist()
        clean = {tuple(at) for at in found}
        crop = image[:, place[0] : place[0] + CROP[0], place[1] : place[1] + CROP[1]]
        for top, left in clean:
            assert torch.equal(image[:, top : top + CROP[0], left : left + CROP[1]], crop)


def bumps(high, low, channels=1):
    """A flat strip with two bumps that no filter of 3 x 3 sees at once."""
    image = torch.full((1, channels, 3, 12), 100, dtype=torch.uint8)
    image[..., 1, 2] += high
    image[..., 1, 8] += low
    return image


@pytest.mark.parametrize(("channels", "expected"), [(1, 2), (3, 2)])
def test_the_noise_radius_is_reached_where_filters_do_not_overlap(channels, expected):
    """Responses 4 * 20 and 4 * 10 a channel, a gap of 40, and 8 a level of noise for each."""
    score, image = laplacian_score(), bumps(20, 10, channels)
    rics = RICS(nn.Flatten(), 3, score=score)
    selection = rics.select(image)
    assert selection.positions.tolist() == [[0, 1]]
    assert selection.gaps.tolist() == [40 * channels]
    assert noise_radius(selection, score, channels).tolist() == [expected]
    kernel = torch.tensor(score.kernel)
    for size in range(expected + 2):
        noise = torch.zeros(image.shape, dtype=torch.int64)
        noise[..., 1:4] = size * kernel.sign()
        noise[..., 7:10] = -size * kernel.sign()
        found = rics.select((image + noise).to(torch.uint8))
        assert found.positions.tolist() == [[0, 1 if size <= expected else 7]]


def test_a_gap_of_exactly_twice_the_change_is_a_tie_and_not_certified():
    """A gap of 32 and a change of 16 by two levels: only one level is sure."""
    rics = RICS(nn.Flatten(), 3, score="laplacian")
    image = bumps(18, 10)
    assert noise_radius(rics.select(image), rics.score, 1).tolist() == [1]
    sign = torch.tensor(laplacian_score().kernel).sign()
    image = image.long()
    image[..., 1:4] += 2 * sign
    image[..., 7:10] -= 2 * sign
    scores, _ = rics.score_maps(image.to(torch.uint8))
    assert scores[0, 0, 1] == scores[0, 0, 7]


def test_closed_forms_of_the_noise_radius():
    flat = torch.full((1, 1, 12, 12), 90, dtype=torch.uint8)
    rics = selector("laplacian")
    assert noise_radius(rics.select(flat), rics.score, 1).tolist() == [255]
    # Tied scores of different pixels: the hash decides, and any noise may change it.
    zero = FilterScore(((0,),))
    tied = selector(zero).select(scenes(2, 12, 12))
    assert noise_radius(tied, zero, 2).tolist() == [0, 0]
    # The selections of many windows have one radius each.
    positions = torch.tensor([[0, 0], [1, 2], [3, 3]])
    images = scenes(2, 18, 18)
    many = rics.select_windows(images, WINDOW, positions)
    found = noise_radius(many, rics.score, 2)
    assert found.shape == (2, 3)
    one = rics.select(images[..., 1:15, 2:15])
    assert torch.equal(found[:, 1], noise_radius(one, rics.score, 2))


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r, x: safe_shifts(r, x, WINDOW, limit=5), "goes on for 4 pixels"),
        (lambda r, x: safe_shifts(r, x, WINDOW, limit=-1), "limit must be at least 0"),
        (lambda r, x: safe_shifts(r, x, WINDOW, position=(9, 0)), "reaches outside"),
        (lambda r, x: safe_shifts(r, x, WINDOW, position=(0, -1)), "reaches outside"),
        (lambda r, x: safe_shifts(r, x, 30), "does not fit"),
        (lambda r, x: safe_shifts(r, x, 0), "window"),
        (lambda r, x: safe_shifts(r, x, 7), "smaller than the crop"),
        (lambda r, x: safe_shifts(r, x[0], WINDOW), "must be a batch"),
        (lambda r, x: certified_radius(r, x / 255 / 3, WINDOW), "quantise"),
        (lambda r, x: certified_radius(r, x.long(), WINDOW), "floating point"),
        (lambda r, x: noise_radius(r.select(x), hash_score(), 2), "only a filter"),
        (lambda r, x: noise_radius(r.select(x), parity, 2), "only a filter"),
        (lambda r, x: noise_radius(r.select(x), r.score, 0), "channels must be at least 1"),
        (
            lambda r, x: noise_radius(selector(select="bottomk").select(x), r.score, 2),
            "one selected crop",
        ),
    ],
)
def test_what_cannot_work_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call(selector(), kinds())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_certifies_the_same():
    source, rics = kinds(), selector()
    assert torch.equal(
        safe_shifts(rics, source.cuda(), WINDOW).cpu(), safe_shifts(rics, source, WINDOW)
    )
    there, here = rics.select(source.cuda()), rics.select(source)
    radii = noise_radius(there, rics.score, 2).cpu()
    assert torch.equal(radii, noise_radius(here, rics.score, 2))
