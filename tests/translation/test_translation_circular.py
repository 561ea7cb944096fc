"""On the torus: every roll of an image has one canonical form, bit for bit, ties included."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_references import levels

from robustkit.data.patches import photograph
from robustkit.errors import InputError
from robustkit.translation.circular import (
    canonical,
    circular_scores,
    content_ranks,
    roll,
    select_circular,
)
from robustkit.translation.seam import seam_profiles
from robustkit.translation.selection import crops_at

LARGEST = torch.iinfo(torch.int64).max
SCORES = ["seam", "filter", "hash", "laplacian"]


def every_position(height, width):
    return torch.cartesian_prod(torch.arange(height), torch.arange(width))


def every_roll(image):
    """All rolls of one image `(C, H, W)`, by torch.roll."""
    moves = every_position(*image.shape[1:]).tolist()
    return torch.stack([image.roll((-down, -across), (1, 2)) for down, across in moves])


def constant_score(images, crop):
    """All crops tie: their pixels alone decide."""
    rows, columns = (side - part + 1 for side, part in zip(images.shape[2:], crop, strict=True))
    return torch.zeros(len(images), rows, columns, dtype=torch.int64, device=images.device)


def one_pixel(height=16, width=16):
    image = torch.full((3, height, width), 70, dtype=torch.uint8)
    image[1, 5, 11] = 71
    return image


def checkerboard(size=16):
    board = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 255
    return board.to(torch.uint8)[None]


def inverted_halves():
    """Rolled by half its height it is its own negative: seams tie, between different pixels."""
    half = levels(3, 8, 16, seed=3)
    return torch.cat([half, 255 - half], dim=1)


def inverted_quarters():
    """Ties along both axes, so that rows and columns must be compared in pairs."""
    part = levels(1, 8, 8, seed=4)
    return torch.cat([torch.cat([part, 255 - part], 2), torch.cat([255 - part, part], 2)], 1)


IMAGES = {
    "noise": levels(3, 16, 16),
    "grey noise": levels(1, 16, 16, seed=1),
    "five channels": levels(5, 16, 16, seed=2),
    "two levels": levels(1, 16, 16, seed=5, most=2),
    "constant": torch.full((3, 16, 16), 7, dtype=torch.uint8),
    "one pixel": one_pixel(),
    "checkerboard": checkerboard(),
    "tiles of 4": levels(3, 4, 4, seed=6).tile(1, 4, 4),
    "tiles of 8 x 2": levels(3, 8, 2, seed=7).tile(1, 2, 8),
    "tiles that do not fit": levels(3, 5, 5, seed=8).tile(1, 4, 4)[:, :16, :16],
    "inverted halves": inverted_halves(),
    "inverted quarters": inverted_quarters(),
    "wide": levels(3, 12, 19, seed=9),
    "wide, one pixel": one_pixel(12, 19),
    "wide tiles": levels(2, 4, 3, seed=10).tile(1, 3, 7),
    "a photograph": torch.tensor(photograph("coffee")[100:116, 200:216]).permute(2, 0, 1),
}


# --- all rolls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [*SCORES, constant_score], ids=[*SCORES, "constant"])
@pytest.mark.parametrize("name", IMAGES)
def test_all_rolls_of_an_image_have_one_canonical_form(name, score):
    rolls = every_roll(IMAGES[name])
    for crop in (None, 9, (8, 11)):
        found = canonical(rolls, crop, score=score)
        assert found.dtype == torch.uint8
        assert torch.equal(found, found[:1].expand_as(found))
        chosen = select_circular(rolls, crop, score=score)
        assert len({*chosen.scores.tolist()}) == len({*chosen.gaps.tolist()}) == 1
        assert len({*chosen.hashes.tolist()}) == 1
    whole = canonical(rolls, score=score)
    assert (whole[0] == rolls).flatten(1).all(dim=1).any()


def test_the_rolls_of_different_images_stay_different():
    forms = [canonical(image[None]) for image in IMAGES.values() if image.shape == (3, 16, 16)]
    assert len({form.numpy().tobytes() for form in forms}) == len(forms)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, most) for most in (2, 3, 6, 6)]),
    most=st.sampled_from([1, 2, 3, 256]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_any_roll_of_small_images_with_many_ties(shape, most, seed, data):
    images = levels(*shape, seed=seed, most=most)
    moves = torch.randint(-9, 9, (shape[0], 2), generator=torch.Generator().manual_seed(seed))
    moved = roll(images, moves)
    crop = data.draw(st.none() | st.tuples(st.integers(1, shape[2]), st.integers(1, shape[3])))
    score = data.draw(st.sampled_from(["seam", "hash", constant_score]))
    found = canonical(images, crop, score=score)
    assert torch.equal(canonical(moved, crop, score=score), found)
    # Rows of a batch know nothing of each other.
    alone = [canonical(image[None], crop, score=score) for image in images]
    assert torch.equal(torch.cat(alone), found)


def constructed_ties(name):
    """Which rolls have the best score, and how many different images they are."""
    rolls = every_roll(IMAGES[name])
    scores = circular_scores(rolls[:1]).flatten()
    return rolls[scores == scores.max()]


@pytest.mark.parametrize(("name", "count"), [("inverted halves", 2), ("inverted quarters", 2)])
def test_a_tie_broken_by_raster_order_is_not_invariant(name, count):
    tied = constructed_ties(name)
    assert len({image.numpy().tobytes() for image in tied}) == count
    rolls = every_roll(IMAGES[name])
    places = circular_scores(rolls).flatten(1).argmax(dim=1)
    width = rolls.shape[3]
    first = roll(rolls, torch.stack([places // width, places % width], dim=1))
    assert len({image.numpy().tobytes() for image in first}) == count
    assert select_circular(rolls).gaps.eq(0).all()


def test_the_gap_is_to_other_pixels():
    for name in ("constant", "tiles of 4", "checkerboard", "noise"):
        image = IMAGES[name][None]
        chosen, scores = select_circular(image), circular_scores(image)
        best = roll(image, chosen.positions)
        other = (every_roll(image[0]) != best).flatten(1).any(dim=1)
        if name == "constant":
            assert not other.any()
            assert chosen.gaps.item() == LARGEST
        else:
            assert chosen.gaps == chosen.scores - scores.flatten()[other].max()


# --- what the parts are --------------------------------------------------------------------------


def test_a_roll_is_that_of_torch():
    images = levels(4, 3, 7, 5)
    moves = torch.tensor([[0, 0], [3, 1], [-2, 9], [14, -21]])
    expected = [
        image.roll((-down, -across), (1, 2))
        for image, (down, across) in zip(images, moves.tolist(), strict=True)
    ]
    assert torch.equal(roll(images, moves), torch.stack(expected))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("crop", [None, 9, (8, 11)])
def test_scores_roll_with_the_image(score, crop):
    image = levels(2, 3, 13, 12)
    moved = circular_scores(image.roll((-4, -7), (2, 3)), crop, score)
    assert torch.equal(moved, circular_scores(image, crop, score).roll((-4, -7), (1, 2)))
    assert moved.shape == (2, 13, 12)


@pytest.mark.parametrize("crop", [(1, 1), (3, 2), (4, 5), (6, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_ranks_are_those_of_the_sorted_pixels(crop, channels):
    images = torch.cat(
        [
            levels(2, channels, 6, 7, most=2),
            levels(1, channels, 6, 7),
            levels(1, channels, 3, 7, seed=1).tile(1, 1, 2, 1),
        ]
    )
    found = content_ranks(images, crop)
    for image, ranks in zip(images, found, strict=True):
        places = every_position(6, 7)
        crops = crops_at(image[None].expand(42, -1, -1, -1), places, crop, wrap=True)
        pixels = [part.permute(1, 2, 0).contiguous().numpy().tobytes() for part in crops]
        order = sorted({*pixels})
        assert ranks.flatten().tolist() == [order.index(content) for content in pixels]


def plain_profile(image):
    """The seam score of rows in plain numbers, one row at a time."""
    channels, height, width = image.shape
    pixels = image.tolist()

    def pixel(c, y, x):
        return pixels[c][y % height][x]

    def amount(function, y):
        total = 0
        for x in range(width):
            size = max(abs(function(c, y, x)) for c in range(channels))
            total += len(bin((1 + size) ** 256)) - 3
        return total

    def step(y):
        return amount(lambda c, y, x: pixel(c, y, x) - pixel(c, y - 1, x), y)

    def bend(y):
        return amount(
            lambda c, y, x: pixel(c, y + 1, x) - 2 * pixel(c, y, x) + pixel(c, y - 1, x), y
        )

    return [
        2 * bend(y - 1) + 2 * bend(y) - bend(y - 2) - bend(y + 1) - step(y - 1) - step(y + 1)
        for y in range(height)
    ]


@pytest.mark.parametrize("shape", [(1, 3, 6, 5), (2, 1, 1, 4), (1, 2, 3, 2)])
def test_the_seam_score_is_what_it_says(shape):
    images = levels(*shape)
    rows, columns = seam_profiles(images)
    for image, down, across in zip(images, rows.tolist(), columns.tolist(), strict=True):
        assert down == plain_profile(image)
        assert across == plain_profile(image.mT)


def test_a_crop_at_the_seam_is_the_middle_of_the_image():
    image = torch.tensor(photograph("coffee")[:120, :131].copy()).permute(2, 0, 1)[None]
    moved = image.roll((31, 90), (2, 3))
    assert torch.equal(canonical(moved), image)
    assert torch.equal(canonical(moved, (50, 64)), image[:, :, 35:85, 33:97])
    assert select_circular(moved, (50, 64)).positions.tolist() == [[66, 123]]


def test_a_smaller_crop_is_scored_by_its_own_pixels():
    image = levels(1, 3, 10, 11)
    around = image.tile(1, 1, 2, 2)
    scores = circular_scores(image, (4, 5), "hash", key=3)
    for down, across in [(0, 0), (9, 10), (7, 2), (3, 8)]:
        alone = around[:, :, down : down + 4, across : across + 5].contiguous()
        assert circular_scores(alone, None, "hash", key=3)[0, 0, 0] == scores[0, down, across]


# --- photographs ---------------------------------------------------------------------------------


def crops_of(name, size=192, count=12):
    image = torch.tensor(photograph(name).copy()).permute(2, 0, 1)
    generator = torch.Generator().manual_seed(0)
    limits = [image.shape[axis] - size + 1 for axis in (1, 2)]
    places = [torch.randint(limit, (count,), generator=generator).tolist() for limit in limits]
    return torch.stack([image[:, y : y + size, x : x + size] for y, x in zip(*places, strict=True)])


NAMES = ["cameraman", "cat", "coffee", "flower", "galaxies", "motorcycle", "pagoda", "rocket"]


def recovered(images):
    """The share of images that come back as they were; scores roll, so one roll tells of all."""
    moved = images.roll((5, 17), (2, 3))
    return (canonical(moved) == images).flatten(1).all(dim=1).double().mean().item()


def test_photographs_are_rolled_back():
    shares = {name: recovered(crops_of(name)) for name in NAMES}
    assert sum(shares.values()) / len(NAMES) >= 0.95, shares
    # Dark sky and a blurred background have hardly an edge to tell the border from.
    hard = ("galaxies", "cameraman")
    assert all(share == 1 for name, share in shares.items() if name not in hard), shares


def test_small_photographs_are_rolled_back(real_data):
    from robustkit.data import load

    assert recovered(load("cifar10", "test", limit=500).images) >= 0.85


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floating_images_come_back_in_their_type_and_gradients_pass(dtype):
    whole = levels(3, 3, 16, 16)
    images = (whole.double() / 255).to(dtype).requires_grad_()
    found = canonical(images)
    assert found.dtype == dtype
    assert torch.equal((found * 255).round().to(torch.uint8), canonical(whole))
    (gradient,) = torch.autograd.grad(found.sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))


def test_inputs_are_not_changed_and_generators_not_touched():
    rolls = every_roll(IMAGES["inverted halves"])
    kept, state = rolls.clone(), torch.random.get_rng_state()
    canonical(rolls, 9)
    assert torch.equal(rolls, kept)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bad_arguments_are_refused():
    images = levels(2, 3, 16, 16)
    with pytest.raises(InputError, match="does not fit"):
        canonical(images, 17)
    with pytest.raises(InputError, match=r"Did you mean 'seam'"):
        canonical(images, score="seem")
    with pytest.raises(InputError, match="quantise"):
        canonical(torch.rand(2, 3, 16, 16))
    with pytest.raises(InputError, match=r"\(N, C, H, W\)"):
        canonical(images[0])
    with pytest.raises(InputError, match="smaller than the 7 x 7 filter"):
        canonical(images, 5, score="filter")
    with pytest.raises(InputError, match="the score must return int64"):
        canonical(images, 5, score=lambda levels, crop: levels[:, 0].long())
    with pytest.raises(InputError, match="positions must be int64"):
        roll(images, torch.zeros(2, 2))
