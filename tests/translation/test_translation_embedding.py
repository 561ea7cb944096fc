"""How far a shift moves an embedding: cosines, neighbours and labels, by hand and by a loop."""

import math

import pytest
import torch
from shift_toys import levels, network

from robustkit.errors import InputError
from robustkit.translation.embedding import EmbeddingChange, embedding_change
from robustkit.translation.resampling import Zoom
from robustkit.translation.shifts import CircularShift, CropShift, neighbourhood

DOUBLE = torch.float64


def pixels_of(images):
    """The pixels themselves as an embedding."""
    return images.flatten(1)


def test_cosines_of_pixels_by_hand():
    image = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]], dtype=DOUBLE)
    shifts = torch.tensor([[0, 1], [1, 0], [0, 2], [1, 1]])
    found = embedding_change(pixels_of, image, CircularShift(), shifts)
    # (1, .5) moved by a column is (.5, 1): 2 * .5 / 1.25; by a row it is orthogonal to itself.
    torch.testing.assert_close(found.cosines, torch.tensor([[0.8, 0.0, 1.0, 0.0]], dtype=DOUBLE))
    assert found.cosines[0, 2] == 1
    assert found.neighbour_changed is None
    assert found.label_changed is None
    assert len(found) == 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 500])
@pytest.mark.parametrize(
    ("shift_model", "shifts"), [(CropShift(9), neighbourhood(2)), (Zoom(9), torch.arange(-2, 3))]
)
def test_all_three_answers_are_those_of_a_loop(shift_model, shifts, batch_size):
    embed, images = network(classes=12), levels(5, 2, 13, 14).double() / 255
    gallery = torch.randn(30, 12, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    head = torch.nn.Linear(12, 6).double().eval()
    found = embedding_change(
        embed, images, shift_model, shifts, gallery=gallery, head=head, batch_size=batch_size
    )
    assert found.cosines.shape == (5, len(shifts))
    cosine = torch.nn.functional.cosine_similarity
    with torch.no_grad():
        for row in range(5):
            base = embed(shift_model.base(images[row : row + 1]))[0]
            for place in range(len(shifts)):
                seen = shift_model.apply(images[row : row + 1], shifts[place : place + 1])[:, 0]
                after = embed(seen)[0]
                expected = cosine(base, after, dim=0).item()
                assert found.cosines[row, place].item() == pytest.approx(expected, abs=1e-12)
                nearest = [cosine(one, gallery, dim=1).argmax() for one in (base, after)]
                assert found.neighbour_changed[row, place] == (nearest[0] != nearest[1])
                labels = [head(one).argmax() for one in (base, after)]
                assert found.label_changed[row, place] == (labels[0] != labels[1])
    assert found.neighbour_changed.any()
    assert not found.neighbour_changed.all()


def test_the_curve_counts_images_below_each_threshold():
    cosines = torch.tensor([[0.9, 0.5], [1.0, 1.0], [0.2, 0.95], [0.9, 0.9]], dtype=DOUBLE)
    found = EmbeddingChange(cosines)
    thresholds = torch.tensor([-1.0, 0.2, 0.21, 0.9, 0.91, 1.0, 1.1], dtype=DOUBLE)
    # By the smallest of each image: .5, 1, .2 and .9. Equal is not below.
    worst = [0, 0, 0.25, 0.5, 0.75, 0.75, 1]
    assert found.curve(thresholds).tolist() == worst
    each = [0, 0, 1 / 8, 2 / 8, 5 / 8, 6 / 8, 1]
    assert found.curve(thresholds, worst=False).tolist() == each
    for threshold, share in zip(thresholds.tolist(), worst, strict=True):
        assert found.below(threshold).estimate == share
    for threshold, share in zip(thresholds.tolist(), each, strict=True):
        assert found.below(threshold, worst=False).estimate == pytest.approx(share)
    assert found.below(0.9).count == 4
    back = found.curve(thresholds.flip(0)).tolist()
    assert back == worst[::-1]


def test_nothing_moves_under_a_shift_by_nothing_or_a_whole_turn():
    images = levels(6, 2, 8, 8)
    shifts = torch.tensor([[0, 0], [8, 0], [-8, 16]])
    gallery = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    found = embedding_change(
        network().float(),
        images,
        CircularShift(),
        shifts,
        gallery=gallery,
        head=torch.nn.Identity().eval(),
    )
    torch.testing.assert_close(found.cosines, torch.ones(6, 3), rtol=0, atol=1e-6)
    assert found.neighbour_rate().estimate == 0
    assert found.label_rate().estimate == 0
    assert found.neighbour_rate(worst=False).estimate == 0


def test_rates_count_images_or_shares():
    moved = torch.tensor([[True, False], [False, False]])
    found = EmbeddingChange(torch.ones(2, 2), moved, ~moved)
    assert found.neighbour_rate().estimate == 0.5
    assert found.neighbour_rate(worst=False).estimate == 0.25
    assert found.label_rate().estimate == 1
    assert found.label_rate(worst=False).estimate == 0.75


def test_an_equally_near_image_is_no_new_neighbour():
    # Both gallery images have one direction: whichever is named, none is nearer than the other.
    gallery = torch.tensor([[1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = embedding_change(pixels_of, images, CircularShift(), neighbourhood(1), gallery=gallery)
    assert not found.neighbour_changed.any()


IMAGES = levels(3, 1, 10, 10)
ONE = neighbourhood(1)
SHIFT = CropShift(6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: embedding_change(pixels_of, IMAGES, SHIFT, neighbourhood(3)), "nothing is"),
        (lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE[:0]), "no shifts"),
        (lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE, batch_size=0), "batch_size"),
        (lambda: embedding_change(lambda x: x, IMAGES, SHIFT, ONE), "embeddings"),
        (lambda: embedding_change(lambda x: pixels_of(x)[:1], IMAGES, SHIFT, ONE), "embeddings"),
        (lambda: embedding_change(network(channels=1).train(), IMAGES, SHIFT, ONE), "training"),
        (lambda: embedding_change(pixels_of, IMAGES * 0, SHIFT, ONE), "no direction"),
        (
            lambda: embedding_change(lambda x: pixels_of(x) * math.nan, IMAGES, SHIFT, ONE),
            "no direction",
        ),
        (
            lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE, gallery=torch.rand(4, 3)),
            "gallery must hold",
        ),
        (
            lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE, gallery=torch.rand(1, 36)),
            "at least two",
        ),
        (
            lambda: embedding_change(
                pixels_of, IMAGES, SHIFT, ONE, gallery=torch.ones(2, 36, dtype=torch.int64)
            ),
            "floating point",
        ),
        (
            lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE, head=lambda x: x[:, 0]),
            "logits",
        ),
        (
            lambda: embedding_change(pixels_of, IMAGES, SHIFT, ONE, head=lambda x: x * math.nan),
            "NaN",
        ),
        (EmbeddingChange(torch.ones(2, 2)).neighbour_rate, "gallery"),
        (EmbeddingChange(torch.ones(2, 2)).label_rate, "head"),
        (lambda: EmbeddingChange(torch.ones(2, 2)).curve(torch.ones(2, 2)), r"\(T,\)"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
