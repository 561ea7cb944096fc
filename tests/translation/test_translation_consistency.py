"""Labels under shifts and how often they agree: the same in any batches, order and shards."""

import pytest
import torch
from shift_toys import constant, corner, levels, network, parity

from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.translation.adversary import adversary
from robustkit.translation.consistency import (
    Consistency,
    consistency,
    random_real_shifts,
    random_shifts,
    two_crops,
)
from robustkit.translation.labels import shifted_labels
from robustkit.translation.resampling import SubpixelShift, Zoom
from robustkit.translation.shifts import CircularShift, CropShift, PadShift, neighbourhood

MODELS = {
    "crop": (CropShift((9, 8)), neighbourhood(2)),
    "circular": (CircularShift(), neighbourhood(2)),
    "zero": (PadShift(), neighbourhood(1, neighbours=4)),
    "reflect": (PadShift("reflect"), neighbourhood(1)),
    "subpixel": (SubpixelShift(9), neighbourhood(1) / 2),
    "zoom": (Zoom(9), torch.arange(-3, 4)),
}


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_size", [1, 5, 24, 1000])
def test_labels_are_those_of_a_loop(name, batch_size):
    shift_model, shifts = MODELS[name]
    model, images = network(), levels(4, 2, 13, 14).double() / 255
    found = shifted_labels(model, images, shift_model, shifts, batch_size=batch_size)
    assert found.dtype == torch.int64
    for place in range(len(shifts)):
        seen = shift_model.apply(images, shifts[place : place + 1])[:, 0]
        with torch.no_grad():
            assert torch.equal(found[:, place], model(seen).argmax(dim=1))
    assert len(found.unique()) > 1


@pytest.mark.parametrize("name", ["crop", "circular", "zero", "subpixel"])
def test_labels_of_own_shifts(name):
    shift_model, _ = MODELS[name]
    images = levels(5, 2, 13, 14)
    shifts = random_shifts(torch.arange(5), 6, 2)
    found = shifted_labels(network().float(), images, shift_model, shifts, batch_size=7)
    for row in range(5):
        alone = shifted_labels(network().float(), images[row : row + 1], shift_model, shifts[row])
        assert torch.equal(found[row : row + 1], alone)


@pytest.mark.parametrize(("count", "radius"), [(3, 1), (1, 3), (7, 2)])
@pytest.mark.parametrize("batch_size", [1, 10, 64])
def test_no_batch_is_larger_than_asked_and_nothing_is_labelled_twice(count, radius, batch_size):
    model, shifts = corner(), neighbourhood(radius)
    shifted_labels(model, levels(count, 1, 12, 12), CropShift(6), shifts, batch_size=batch_size)
    assert max(model.calls) <= batch_size
    assert sum(model.calls) == count * len(shifts)


# --- consistency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crop", "circular", "zero", "reflect", "subpixel"])
def test_a_constant_model_is_consistent(name):
    found = consistency(constant(), levels(6, 1, 13, 14), MODELS[name][0], 1, count=4)
    assert found.agree.all()
    assert found.agree.shape == (6, 4)
    assert len(found) == 6
    assert found.rate().estimate == 1


def test_consistency_is_the_mean_over_the_neighbourhood():
    images, shift_model = levels(200, 2, 11, 11), CropShift(9)
    whole = adversary(network().float(), images, None, shift_model)
    drawn = consistency(network().float(), images, shift_model, count=40)
    expected = whole.consistency().estimate
    # Each image adds the variance of a share of 40 draws.
    share = whole.consistent
    deviation = (share * (1 - share) / 40).sum().sqrt().item() / 200
    assert 0.2 < expected < 0.99
    assert abs(drawn.rate().estimate - expected) < 4 * deviation


def test_each_pair_compares_the_base_with_the_shift_that_was_drawn():
    images, model = levels(8, 2, 13, 13), network().float()
    found = consistency(model, images, CropShift(9), 2, count=5, seed=3)
    shifts = random_shifts(torch.arange(8), 5, 2, seed=3)
    for row in range(8):
        assert (found.first[row] == predict(model, CropShift(9).base(images))[row]).all()
        seen = CropShift(9).apply(images[row : row + 1], shifts[row])[0]
        assert torch.equal(found.second[row], predict(model, seen))


@pytest.mark.parametrize("measure", ["shifts", "crops"])
def test_shards_orders_and_batches_agree(measure):
    images, model = levels(9, 2, 13, 14), network().float()

    def agree(rows, batch_size=256):
        options = {"seed": 5, "indices": rows + 100, "batch_size": batch_size, "count": 3}
        if measure == "crops":
            return two_crops(model, images[rows], 9, **options)
        return consistency(model, images[rows], CropShift(9), 2, **options)

    whole = agree(torch.arange(9))
    order = torch.tensor([4, 0, 8, 2, 1, 3, 7, 6, 5])
    for rows, size in [(order, 256), (torch.arange(9), 2), (torch.tensor([7, 3]), 1)]:
        part = agree(rows, size)
        assert torch.equal(part.first, whole.first[rows])
        assert torch.equal(part.second, whole.second[rows])
    state = torch.random.get_rng_state()
    agree(torch.arange(9))
    assert torch.equal(state, torch.random.get_rng_state())


def test_shifts_are_drawn_evenly():
    known = neighbourhood(2).tolist()
    drawn = random_shifts(torch.arange(3000), 8, 2, seed=1).flatten(0, 1)
    counts = torch.tensor([(drawn == torch.tensor(one)).all(1).sum().item() for one in known])
    assert counts.sum() == 24000
    # Binomial, mean 1000 and deviation 31.
    assert (counts - 1000).abs().max() < 5 * 31
    own = random_real_shifts(torch.arange(500), 4, 1.5)
    assert own.dtype == torch.float64
    assert own.abs().max() <= 1.5
    assert own.mean((0, 1)).abs().max() < 5 * 1.5 / (3 * 2000) ** 0.5
    assert not torch.equal(random_shifts(torch.arange(3000), 8, 2).flatten(0, 1), drawn)


def test_two_crops_reach_every_position():
    # The first pixel of a window names the window.
    images = torch.arange(5 * 4, dtype=torch.uint8).reshape(1, 1, 5, 4).expand(400, -1, -1, -1)
    found = two_crops(corner(20), images, (3, 3), seed=2)
    positions = {4 * row + column for row in range(3) for column in range(2)}
    for labels in (found.first, found.second):
        assert set(labels.flatten().tolist()) == positions
    # Independent and even: one pair in six agrees.
    rate = found.rate()
    assert rate.count == 400
    assert rate.low < 1 / 6 < rate.high


def test_the_whole_image_is_its_only_crop():
    assert two_crops(network().float(), levels(5, 2, 9, 9), 9, count=2).agree.all()


def test_the_interval_of_several_pairs_resamples_images():
    first = torch.zeros(50, 10, dtype=torch.int64)
    second = first.clone()
    second[:10] = 1
    found = Consistency(first, second).rate()
    assert found.estimate == pytest.approx(0.8)
    # Ten pairs of one image say no more than one: the interval is that of 50 images, not of 500.
    assert 0.18 < found.high - found.low < 0.26
    assert Consistency(first[:, :1], second[:, :1]).rate().estimate == pytest.approx(0.8)


IMAGES = levels(3, 1, 10, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: consistency(parity(), IMAGES, CropShift(6), 3), "radius of 3"),
        (lambda: consistency(parity(), IMAGES, CropShift(6), 0), "positive"),
        (lambda: consistency(parity(), IMAGES, CropShift(6), 1.5), "whole pixels"),
        (lambda: consistency(parity(), IMAGES, CropShift(6), count=0), "count"),
        (lambda: consistency(parity(), IMAGES, SubpixelShift(6), 0), "positive"),
        (lambda: consistency(parity(), IMAGES, Zoom(6)), "adversary"),
        (lambda: consistency(parity(), IMAGES[0], CropShift(6)), "unsqueeze"),
        (lambda: consistency(parity(), IMAGES / 100, CropShift(6)), r"\[0, 1\]"),
        (lambda: consistency(parity().train(), IMAGES, CropShift(6)), "training mode"),
        (lambda: consistency(parity(), IMAGES, CropShift(6), indices=torch.zeros(2)), "indices"),
        (lambda: two_crops(parity(), IMAGES, 11), "does not fit"),
        (lambda: two_crops(parity(), IMAGES, 6, count=0), "count"),
        (lambda: two_crops(parity(), IMAGES, 6, batch_size=0), "batch_size"),
        (lambda: shifted_labels(parity(), IMAGES, CropShift(6), neighbourhood(3)), "nothing is"),
        (lambda: shifted_labels(parity(), IMAGES, CropShift(6), neighbourhood(1)[:0]), "no shifts"),
        (
            lambda: shifted_labels(
                parity(), IMAGES, CropShift(6), neighbourhood(1).expand(2, 8, 2)
            ),
            "3 images",
        ),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_bad_shifts_are_refused_before_the_model_runs():
    model, shifts = parity(), torch.cat([neighbourhood(2), torch.tensor([[0, -9]])])
    with pytest.raises(InputError, match="columns"):
        shifted_labels(model, IMAGES, CropShift(6), shifts)
    with pytest.raises(InputError, match="columns"):
        adversary(model, IMAGES, None, CropShift(6), shifts=shifts)
    assert model.calls == []
