"""RICS classifies the selected crop: the same pixels have the same logits in any window."""

import pytest
import torch
from selection_references import levels, photographs, slow_argmax
from torch import nn
from torch.nn.functional import interpolate

from robustkit.checks import check_model
from robustkit.data import to_float
from robustkit.errors import InputError
from robustkit.models import Normalized
from robustkit.translation import (
    RICS,
    best_positions,
    hash_score,
    score_maps,
    select,
    select_windows,
)


def network(channels=3):
    layers = [nn.Conv2d(channels, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(72, 5)).eval()


def windows(source, size, count):
    """Windows of one scene at the first positions along its diagonal."""
    return torch.stack([source[:, k : k + size, k : k + size] for k in range(count)])


def changes(scores, hashes, grid):
    """The share of shifts by one pixel along an axis after which another crop is selected."""
    source = scores.shape[1:]
    steps = [torch.arange(side - grid + 1) for side in source]
    places = torch.cartesian_prod(*steps)
    chosen = select_windows(scores, hashes, grid, places).hashes.unflatten(
        1, [len(s) for s in steps]
    )
    down = chosen[:, 1:] != chosen[:, :-1]
    across = chosen[:, :, 1:] != chosen[:, :, :-1]
    return torch.cat([down.flatten(), across.flatten()]).double().mean().item()


@pytest.mark.parametrize("score", ["filter", "hash", "laplacian"])
def test_the_same_crop_has_the_same_logits(score):
    model = Normalized(network(), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)).eval()
    rics = RICS(model, 40, score=score)
    seen = windows(photographs(80)[0], 64, 16)
    chosen = rics.select(seen)
    outputs = [rics(one[None]) for one in seen]
    at = chosen.positions + torch.arange(16)[:, None]
    pairs = [(a, b) for a in range(16) for b in range(a) if torch.equal(at[a], at[b])]
    assert len(pairs) > 15
    for a, b in pairs:
        assert torch.equal(outputs[a], outputs[b])
        assert chosen.hashes[a] == chosen.hashes[b]
    assert len({tuple(output[0].tolist()) for output in outputs}) == len(
        set(chosen.hashes.tolist())
    )
    together = rics(seen)
    torch.testing.assert_close(together, torch.cat(outputs))
    assert torch.equal(together.argmax(1), torch.cat(outputs).argmax(1))


def test_the_model_sees_the_crop_and_then_its_size():
    images, seen = levels(3, 2, 30, 26), []

    class Spy(nn.Module):
        def forward(self, pixels):
            seen.append(pixels)
            return pixels.flatten(1)

    for options in ({}, {"size": (12, 13)}, {"size": 24}):
        rics = RICS(Spy(), (20, 18), **options)
        logits = rics(images)
        positions = rics.select(images).positions.tolist()
        crops = torch.stack(
            [one[:, y : y + 20, x : x + 18] for one, (y, x) in zip(images, positions, strict=True)]
        )
        assert torch.equal(rics.crops(images), crops)
        expected = crops / 255
        if options:
            expected = interpolate(expected, options["size"], mode="bilinear", antialias=True)
        assert torch.equal(seen.pop(), expected)
        assert torch.equal(logits, expected.flatten(1))
        # Floating images select the same crops, and keep their type.
        doubles = to_float(images, torch.float64)
        assert rics(doubles).dtype == torch.float64
        torch.testing.assert_close(rics(doubles).float(), logits)
        seen.clear()


@pytest.mark.parametrize("score", ["filter", "hash", "laplacian"])
def test_the_short_way_is_the_long_one(score):
    # Two levels: best scores are reached twice, by equal crops and by others.
    images = levels(60, 1, 14, 15, most=2)
    images[0], images[1] = 0, torch.arange(15) % 2
    scores, hashes = score_maps(images, 9, score)
    expected = select(scores, hashes)
    assert torch.equal(best_positions(images, 9, score), expected.positions)
    for row in range(60):
        at, score_there, content, _ = slow_argmax(scores[row], hashes[row])
        assert expected.positions[row].tolist() == [at // 7, at % 7]
        assert (score_there, content) == (expected.scores[row], expected.hashes[row])


def test_a_tie_of_different_crops_is_broken_by_content():
    # A spot and its negative, on grey: equal Laplacians, different crops.
    images = torch.full((2, 1, 9, 24), 100, dtype=torch.uint8)
    images[0, 0, 4, 6], images[0, 0, 4, 16] = 130, 70
    images[1] = images[0].flip(2)
    rics = RICS(network(1), 9, score="laplacian")
    chosen = rics.select(images)
    assert chosen.gaps.tolist() == [0, 0]
    assert chosen.hashes[0] == chosen.hashes[1]
    crops = rics.crops(images)
    # The one crop has its spot in the middle in either image, whichever comes first.
    assert torch.equal(crops[0], crops[1])
    assert crops[0, 0, 4, 4] in (70, 130)


def test_all_of_the_image_is_the_plain_model():
    images, model = levels(4, 3, 20, 23), network()
    for select_by in ("argmax", "landmark"):
        rics = RICS(model, (20, 23), select=select_by)
        assert torch.equal(rics(images), model(to_float(images)))
        assert rics.select(images).positions.tolist() == [[0, 0]] * 4
    several = RICS(model, (20, 23), select="bottomk")(images)
    torch.testing.assert_close(several, model(to_float(images)).log_softmax(1))


def test_several_crops_vote_by_their_probabilities():
    images, model = levels(3, 3, 24, 24), network()
    images[1] = 9
    rics = RICS(model, 20, score="hash", select="bottomk", count=6)
    crops, chosen = rics.crops(images), rics.select(images)
    assert crops.shape == (3, 6, 3, 20, 20)
    shares = model(to_float(crops.flatten(0, 1))).softmax(1).unflatten(0, (3, 6))
    expected = shares.mean(1)
    expected[1] = shares[1, 0]
    torch.testing.assert_close(rics(images).exp(), expected)
    # Hashes fall, and each is that of its crop; a flat image has one crop, and empty places.
    assert (chosen.hashes[0].diff() < 0).all()
    assert chosen.hashes[1, 1:].tolist() == [-1] * 5
    for row, place in ((0, 0), (0, 5), (2, 3)):
        assert hash_score()(crops[row, place][None], (20, 20)) == chosen.hashes[row, place]
    one = RICS(model, 20, select="bottomk", count=1)
    torch.testing.assert_close(one(images), RICS(model, 20)(images).log_softmax(1))


def test_smaller_crops_change_less():
    source = photographs(128)
    for name in ("hash", "filter"):
        maps = score_maps(source, 48, name)
        rates = [changes(*maps, grid) for grid in (1, 5, 9, 17, 33)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == 1


def test_a_hash_keeps_the_rate_of_the_theory_and_the_mean_of_crops_does_not():
    source, grid = photographs(160), 33
    hashes = score_maps(source, 64, "hash")[1]
    theory = 2 / (grid + 1)
    assert changes(hashes, hashes, grid) == pytest.approx(theory, rel=0.5)

    def crop_mean(images, crop):
        sums = images.sum(1, dtype=torch.int64).cumsum(1).cumsum(2)
        sums = nn.functional.pad(sums, (1, 0, 1, 0))
        tall = sums[:, crop[0] :] - sums[:, : -crop[0]]
        return tall[..., crop[1] :] - tall[..., : -crop[1]]

    # A mean is exact here, and smooth: its largest value lies on the border of the candidates.
    assert changes(*score_maps(source, 64, crop_mean), grid) > 5 * theory


def test_a_crop_of_a_resized_image_changes_with_every_shift():
    seen = windows(photographs(80)[0], 64, 6)
    resized = interpolate(seen / 255, 56, mode="bilinear", antialias=True)
    resized = (resized * 255).round().to(torch.uint8)
    rics = RICS(nn.Flatten(), 40, size=35)
    ours, mutant = rics(seen), RICS(nn.Flatten(), 35)(resized)
    at = rics.select(seen).positions + torch.arange(6)[:, None]
    assert (at == at[0]).all()
    assert all(torch.equal(one, ours[0]) for one in ours)
    assert not any(torch.equal(one, mutant[0]) for one in mutant[1:])


@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
def test_batches_layouts_and_types_change_no_selection(how):
    images = levels(64, 3, 24, 22)
    rics = RICS(network(), (15, 16), select=how, radius=2, count=3)
    expected, logits = rics.select(images), rics(images)
    fields = ("positions", "scores", "gaps", "hashes")
    for part in (1, 7):
        parts = [rics.select(some) for some in images.split(part)]
        for name in fields:
            joined = torch.cat([getattr(one, name) for one in parts])
            assert torch.equal(joined, getattr(expected, name))
    others = [
        images.to(memory_format=torch.channels_last),
        to_float(images),
        to_float(images, torch.float64),
        to_float(images, torch.float16),
    ]
    for other in others:
        kept = other.clone()
        found = rics.select(other)
        assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in fields)
        assert torch.equal(other, kept)
        assert rics.crops(other).dtype == other.dtype
    torch.testing.assert_close(rics(to_float(images)), logits)
    torch.testing.assert_close(rics(others[0]), logits)


def test_windows_are_selected_as_images():
    source, rics = levels(2, 3, 26, 24), RICS(network(), (12, 11), score="filter", key=4)
    positions = torch.tensor([[0, 0], [6, 5], [3, 4]])
    found = rics.select_windows(source, (20, 19), positions)
    for number, (y, x) in enumerate(positions.tolist()):
        alone = rics.select(source[:, :, y : y + 20, x : x + 19])
        assert torch.equal(found.positions[:, number], alone.positions)
        assert torch.equal(found.hashes[:, number], alone.hashes)
    with pytest.raises(InputError, match="outside the scene"):
        rics.select_windows(source, (20, 19), torch.tensor([[7, 0]]))
    with pytest.raises(InputError, match="smaller than the crop"):
        rics.select_windows(source, (12, 10), positions)


def test_gradients_pass_through_the_crop():
    images = to_float(levels(2, 3, 12, 12)).requires_grad_()
    rics = RICS(network(), 9)
    rics(images).sum().backward()
    for image, (y, x) in zip(images.grad, rics.select(images).positions.tolist(), strict=True):
        assert image[:, y : y + 9, x : x + 9].abs().sum() > 0
        image[:, y : y + 9, x : x + 9] = 0
        assert not image.any()


@pytest.mark.parametrize("shape", [(1, 9, 10), (2, 11, 9), (5, 10, 10)])
@pytest.mark.parametrize("crop", [7, (8, 9), (9, 7)])
def test_any_sizes_and_channels(shape, crop):
    images = levels(3, *shape)
    rows, columns = (crop, crop) if isinstance(crop, int) else crop
    rics = RICS(nn.Flatten(), crop)
    assert rics.crops(images).shape == (3, shape[0], rows, columns)
    maps = rics.score_maps(images)
    assert [one.shape for one in maps] == [(3, shape[1] - rows + 1, shape[2] - columns + 1)] * 2


def test_the_mode_of_the_model_is_that_of_the_module():
    check_model(RICS(network(), 9))
    with pytest.raises(InputError, match="training mode"):
        check_model(RICS(network().train(), 9))
    assert "crop=(9, 9)" in repr(RICS(network(), 9))


def test_what_cannot_be_selected_is_refused():
    model, images = network(), levels(2, 3, 16, 14)
    with pytest.raises(InputError, match="does not fit"):
        RICS(model, (17, 9))(images)
    with pytest.raises(InputError, match="smaller than the 7 x 7 filter"):
        RICS(model, 6)(images)
    with pytest.raises(InputError, match="quantise"):
        RICS(model, 9)(torch.rand(2, 3, 16, 14))
    with pytest.raises(InputError, match="unsqueeze"):
        RICS(model, 9)(images[0])
    with pytest.raises(InputError, match="empty"):
        RICS(model, 9)(images[:0])
    for crop in (0, -3, (9, 0), True):
        with pytest.raises(InputError, match="crop must be"):
            RICS(model, crop)
    with pytest.raises(InputError, match="size must be"):
        RICS(model, 9, size=0)
    with pytest.raises(InputError, match="Did you mean 'landmark'"):
        RICS(model, 9, select="landmarks")
    with pytest.raises(InputError, match="Did you mean 'hash'"):
        RICS(model, 9, score="hashes")
    with pytest.raises(InputError, match="unknown mode"):
        RICS(model, 9, mode="circle")
    with pytest.raises(InputError, match="needs the size"):
        RICS(model, None)
    with pytest.raises(InputError, match="count must be at least 1"):
        RICS(model, 9, select="bottomk", count=0)
