"""The exhaustive adversary: conventions by hand, and memory that changes nothing but the cost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shift_toys import Function, constant, corner, levels, network, parity, smooth_levels

from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.translation.adversary import Adversary, adversary
from robustkit.translation.resampling import SubpixelShift, Zoom
from robustkit.translation.rics import RICS
from robustkit.translation.shifts import CircularShift, CropShift, PadShift, neighbourhood


def bright_columns(*columns, height=6, width=10):
    """Black images with one white column each."""
    images = torch.zeros(len(columns), 1, height, width, dtype=torch.uint8)
    for row, column in enumerate(columns):
        images[row, :, :, column] = 255
    return images


# --- conventions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shift_model", [CropShift(7), CircularShift(), PadShift(), Zoom(7)])
def test_nothing_fools_a_constant_model(shift_model):
    labels = torch.tensor([1, 0, 1, 2, 1])
    shifts = torch.arange(-2, 3) if isinstance(shift_model, Zoom) else None
    found = adversary(constant(1), levels(5, 1, 11, 11), labels, shift_model, 2, shifts=shifts)
    assert not found.flips.any()
    assert not found.fooled.any()
    assert found.fooled_rate().estimate == 0
    assert found.consistency().estimate == 1
    for rate in (found.accuracy(), found.robust_accuracy(), found.stability()):
        assert rate.estimate == pytest.approx(0.6)
    assert (found.worst == 0).all()


def test_one_column_fools_a_parity_model():
    images = bright_columns(4, 5, 6)
    labels = torch.tensor([1, 1, 1])
    found = adversary(parity(), images, labels, CropShift((4, 6)))
    # The window starts in column 2: seen without a shift in columns 2, 3 and 4.
    assert found.base.tolist() == [0, 1, 0]
    assert found.correct.tolist() == [False, True, False]
    assert found.fooled.all()
    assert found.fooled_rate().estimate == 1
    assert found.robust_accuracy().estimate == 0
    # Up and down keep the column, the other six of eight shifts move it.
    assert torch.equal(found.flips[0], neighbourhood(1)[:, 1] != 0)
    assert found.worst.tolist() == [[0, -1]] * 3
    assert found.consistency().estimate == pytest.approx(0.25)
    assert found.stability().estimate == pytest.approx(0.25 / 3)
    assert found.stable.tolist() == [0, 0.25, 0]
    assert found.calls.tolist() == [9, 9, 9]


def test_conventions_differ_on_two_images():
    """One image is right and loses its label once, one is wrong and keeps it: fooled is half."""
    images = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
    images[0, 0, 2, 1] = 1
    # The first pixel of a 1 x 1 window in the middle: level 0, but 1 after the shift (1, 0).
    found = adversary(corner(3), images, torch.tensor([0, 2]), CropShift(1))
    assert found.base.tolist() == [0, 0]
    assert found.labels[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert found.correct.tolist() == [True, False]
    assert found.fooled.tolist() == [True, False]
    assert found.robust.tolist() == [False, False]
    assert found.consistent.tolist() == [0.875, 1.0]
    assert found.stable.tolist() == [0.875, 0.0]
    assert found.worst.tolist() == [[1, 0], [0, 0]]
    assert found.accuracy().estimate == 0.5
    assert found.fooled_rate().estimate == 0.5
    # One minus the fooled rate is not the robust accuracy: it counts the image that stays wrong.
    assert found.robust_accuracy().estimate == 0
    assert found.consistency().estimate == pytest.approx(0.9375)
    assert found.stability().estimate == pytest.approx(0.4375)
    # Labels that are not given are those of the base.
    assert adversary(corner(3), images, None, CropShift(1)).accuracy().estimate == 1
    # Moved by (1, 0) only, and by others only.
    moved = adversary(corner(3), images, None, CropShift(1), shifts=torch.tensor([[1, 0]]))
    assert moved.fooled.tolist() == [True, False]
    kept = adversary(corner(3), images, None, CropShift(1), shifts=torch.tensor([[-1, 0], [0, 0]]))
    assert not kept.fooled.any()


def test_the_intervals_are_those_of_proportions_and_of_images():
    flips = torch.zeros(40, 8, dtype=torch.int64)
    flips[:10, :4] = 1
    correct = torch.arange(40) % 2 == 0
    zeros = torch.zeros(40, dtype=torch.int64)
    found = Adversary(neighbourhood(1), zeros, correct, flips, None, zeros + 9)
    rate = found.fooled_rate()
    assert (rate.estimate, rate.count) == (0.25, 40)
    assert rate.low == pytest.approx(0.1418718, abs=1e-6)
    assert rate.high == pytest.approx(0.4019396, abs=1e-6)
    assert found.fooled_rate(level=0.5).high < rate.high
    mean = found.consistency()
    assert mean.estimate == pytest.approx(0.875)
    # The deviation of a mean of 40 images: sqrt(0.25 * 0.75) / 2 / sqrt(40) = 0.034.
    assert 0.025 < (mean.high - mean.low) / 4 < 0.043


def test_a_radius_within_the_radius():
    images, labels = levels(6, 2, 15, 15), torch.arange(6) % 5
    model = RICS(network().float(), 7)
    whole = adversary(model, images, labels, CropShift(9), 3)
    for radius in (1, 2):
        part = whole.within(radius)
        alone = adversary(model, images, labels, CropShift(9), radius)
        assert torch.equal(part.shifts, alone.shifts)
        for name in ("labels", "flips", "fooled", "robust", "worst", "changed"):
            assert torch.equal(getattr(part, name), getattr(alone, name))
    for radius in (1, 2, 3):
        part = whole.within(radius, neighbours=4)
        alone = adversary(model, images, labels, CropShift(9), radius, neighbours=4)
        order = [part.shifts.tolist().index(shift) for shift in alone.shifts.tolist()]
        assert len(order) == len(part.shifts)
        assert torch.equal(part.labels[:, order], alone.labels)
    assert torch.equal(alone.within(2, neighbours=4).labels, alone.labels[:, :12])
    with pytest.raises(InputError, match="4 or 8"):
        whole.within(1, neighbours=6)
    zoomed = adversary(model, images, labels, Zoom(9), shifts=torch.arange(-2, 3), memoise=False)
    assert zoomed.within(1).shifts.tolist() == [-1, 0, 1]
    assert zoomed.worst.shape == (6,)
    with pytest.raises(InputError, match="radius of 0"):
        whole.within(0)


# --- memory --------------------------------------------------------------------------------------

SHIFTS = {
    "crop": (CropShift((12, 11)), 20),
    "circular": (CircularShift(), 13),
    "zero": (PadShift(), 13),
    "reflect": (PadShift("reflect"), 13),
}


def naive(model, images, shift_model, shifts):
    """Every shift by itself."""
    one_by_one = [shift_model.apply(images, shift[None])[:, 0] for shift in shifts]
    return torch.stack([predict(model, seen) for seen in one_by_one], dim=1)


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("score", ["filter", "hash", "laplacian"])
def test_memory_changes_no_label(name, score):
    shift_model, side = SHIFTS[name]
    images = smooth_levels(3, 2, side, side, seed=4)
    model = RICS(network().float(), (8, 9), score=score, size=9)
    found = adversary(model, images, None, shift_model, 2, batch_size=5)
    expected = naive(model, images, shift_model, neighbourhood(2))
    assert torch.equal(found.labels, expected)
    plain = adversary(model, images, None, shift_model, 2, memoise=False)
    assert torch.equal(plain.labels, expected)
    assert torch.equal(plain.base, found.base)
    assert plain.calls.tolist() == [25] * 3
    assert plain.changed is None
    assert (found.calls < 25).all()


@pytest.mark.parametrize(
    "way", [{"select": "landmark", "radius": 1}, {"select": "bottomk", "count": 3}]
)
def test_memory_changes_no_label_of_other_selections(way):
    images = smooth_levels(3, 2, 16, 16, seed=7)
    model = RICS(network().float(), 7, **way)
    found = adversary(model, images, None, CropShift(12), 2)
    assert torch.equal(found.labels, naive(model, images, CropShift(12), neighbourhood(2)))
    assert (found.calls < 25).any()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), values=st.sampled_from([1, 2, 255]), period=st.integers(1, 3))
def test_memory_changes_no_label_of_flat_and_periodic_images(seed, values, period):
    tile = levels(2, 1, period, period, seed=seed) % values
    images = tile.repeat(1, 1, 15, 15)[:, :, :15, :15]
    model = RICS(corner(), 8, score="hash", key=seed)
    found = adversary(model, images, None, CropShift(11), 2)
    assert torch.equal(found.labels, naive(model, images, CropShift(11), neighbourhood(2)))
    # All phases of the period are candidates of each window: the same pixels are selected in all.
    assert (found.calls == 1).all()


def test_calls_are_the_distinct_crops():
    images, shifts = levels(4, 1, 24, 24, seed=2), neighbourhood(3)
    inner = corner()
    model = RICS(inner, 12, score="hash")
    found = adversary(model, images, None, CropShift(18), 3)
    seen = CropShift(18).apply(images, torch.cat([torch.zeros(1, 2, dtype=torch.int64), shifts]))
    crops = model.crops(seen.flatten(0, 1)).reshape(4, len(shifts) + 1, -1)
    distinct = [len({bytes(one.tolist()) for one in row}) for row in crops]
    assert found.calls.tolist() == distinct
    assert 1 < max(distinct) < len(shifts) + 1
    # The classifier saw no image more.
    assert sum(inner.calls) == sum(distinct)
    changed = (crops[:, 1:] != crops[:, :1]).any(dim=2)
    assert torch.equal(found.changed, changed)
    assert found.change_rate().estimate == pytest.approx(changed.double().mean().item())
    # Both factors make up the inconsistency.
    product = found.change_rate().estimate * found.flips_of_changes().estimate
    assert product == pytest.approx(1 - found.consistency().estimate)
    share = found.flips_of_changes()
    assert share.low <= share.estimate <= share.high


def test_the_adversary_of_radius_8_takes_few_passes():
    images = smooth_levels(6, 1, 80, 80, seed=3)
    inner = corner()
    model = RICS(inner, 40, score="hash")
    found = adversary(model, images, None, CropShift(64), 8)
    assert found.labels.shape == (6, 288)
    assert found.calls.double().mean() <= 12
    assert sum(inner.calls) == found.calls.sum()


def test_one_pass_covers_all_circular_shifts_of_a_circular_selection():
    images = levels(4, 2, 12, 11)
    for crop in (None, 9):
        model = RICS(network().float(), crop, mode="circular")
        found = adversary(model, images, None, CircularShift(), 3, batch_size=30)
        assert found.calls.tolist() == [1] * 4
        assert not found.fooled.any()
        assert not found.changed.any()
        assert torch.equal(found.labels, naive(model, images, CircularShift(), neighbourhood(3)))
    # A realistic shift brings new pixels, which circular selection does not undo.
    found = adversary(model, images, None, CropShift((10, 9)))
    assert torch.equal(found.labels, naive(model, images, CropShift((10, 9)), neighbourhood(1)))
    assert (found.calls > 1).all()


def test_a_window_of_the_size_of_the_crop_has_no_choice():
    images = levels(3, 1, 10, 10)
    model = RICS(corner(), 8)
    found = adversary(model, images, None, CropShift(8))
    assert found.calls.tolist() == [9, 9, 9]
    assert torch.equal(found.labels, adversary(corner(), images, None, CropShift(8)).labels)


def test_rows_depend_on_their_image_alone():
    images, model = smooth_levels(40, 2, 17, 17), RICS(network().float(), 9)
    whole = adversary(model, images, None, CropShift(13), 2, batch_size=64)
    for rows in (slice(33, 40), slice(5, 6)):
        part = adversary(model, images[rows], None, CropShift(13), 2, batch_size=3)
        for name in ("base", "labels", "changed", "calls", "worst"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows])


def test_shifts_that_compute_pixels_are_all_labelled():
    images = levels(2, 1, 12, 12)
    model = RICS(corner(), 7, score="hash")
    found = adversary(model, images, None, SubpixelShift(10), shifts=neighbourhood(1) / 2)
    assert found.calls.tolist() == [9, 9]
    assert found.changed is None


IMAGES = levels(3, 1, 10, 10)
LABELS = torch.tensor([0, 1, 0])
NONE_CHANGED = Adversary(
    neighbourhood(1), LABELS, LABELS == 0, LABELS[:, None].expand(3, 8),
    torch.zeros(3, 8, dtype=torch.bool), LABELS,
)  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adversary(parity(), IMAGES, LABELS, CropShift(6), 3), "nothing is padded"),
        (lambda: adversary(parity(), IMAGES, LABELS, CropShift(6), 0), "at least 1"),
        (lambda: adversary(parity(), IMAGES, LABELS[:2], CropShift(6)), "labels must have shape"),
        (lambda: adversary(parity(), IMAGES, LABELS + 1, CropShift(6)), "2 classes"),
        (lambda: adversary(parity(), IMAGES, LABELS, Zoom(6)), r"\(K,\)"),
        (lambda: adversary(parity(), IMAGES, LABELS, CropShift(6), batch_size=0), "batch_size"),
        (lambda: adversary(parity().train(), IMAGES, LABELS, CropShift(6)), "training mode"),
        (lambda: adversary(parity(), IMAGES[0], LABELS, CropShift(6)), "unsqueeze"),
        (lambda: adversary(parity(), IMAGES / 255 - 1, LABELS, CropShift(6)), r"\[0, 1\]"),
        (
            lambda: adversary(
                parity(), IMAGES, None, CropShift(6), shifts=neighbourhood(1).expand(3, 8, 2)
            ),
            "the same for all images",
        ),
        (lambda: adversary(RICS(corner(), 7), IMAGES, None, CropShift(6)), "crop of 7 x 7"),
        (lambda: adversary(parity(), IMAGES, None, CropShift(6)).change_rate(), "no crops"),
        (lambda: adversary(parity(), IMAGES, None, CropShift(6)).flips_of_changes(), "no crops"),
        (NONE_CHANGED.flips_of_changes, "no share"),
        (
            lambda: adversary(
                Function(lambda x: x.flatten(1)[:, :3].log().neg() * 0 / 0),
                IMAGES,
                None,
                PadShift(),
            ),
            "NaN",
        ),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
