"""The operations of AugMix do to each image of a batch what Pillow does to it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pillow_operations import MOVING, PILLOW

from robustkit.augment.augmix_enhancement import brightness, color, contrast, sharpness
from robustkit.augment.augmix_geometry import rotate, shear_x, shear_y, translate_x, translate_y
from robustkit.augment.augmix_operations import AugMixOperation, augmix_operations
from robustkit.augment.augmix_tones import autocontrast, equalize, posterize, solarize
from robustkit.errors import InputError

THIRTEEN = list(PILLOW)
CPU = torch.device("cpu")


# Each with arguments that severities up to 10 draw, and the ends of the range.
FACTORS = [0.1, 0.37, 1, 1.9]
EXACT = {
    "autocontrast": (lambda x, _: autocontrast(x), [0]),
    "equalize": (lambda x, _: equalize(x), [0]),
    "posterize": (posterize, [1, 2, 3, 4, 7, 8]),
    "solarize": (solarize, [0, 1, 128, 180, 255, 256]),
    "color": (color, FACTORS),
    "contrast": (contrast, FACTORS),
    "brightness": (brightness, FACTORS),
    "sharpness": (sharpness, FACTORS),
}
SLOPES = [0, 0.003, -0.09, 0.061, 0.25, -0.3]
PIXELS = [0, 1, -1, 3, -7, 10]
WITHIN_A_LEVEL = {
    "rotate": (rotate, [0, 1, -1, 9, -9, 30, -30]),
    "shear_x": (shear_x, SLOPES),
    "shear_y": (shear_y, SLOPES),
    "translate_x": (translate_x, PIXELS),
    "translate_y": (translate_y, PIXELS),
}


def pixels(channels, height, width, seed=0):
    """Noise, a gradient of few levels, a dark image and a constant one: all 8-bit."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (channels, height, width), generator=generator)
    ramp = (torch.arange(width) // 3 * 5 + 40).expand(channels, height, width) % 256
    dark = torch.randint(7, 31, (channels, height, width), generator=generator)
    constant = torch.full((channels, height, width), 255)
    return torch.stack([noise, ramp, dark, constant]).to(torch.uint8)


def by_pillow(function, batch, arguments):
    results = []
    for image, argument in zip(batch, arguments, strict=True):
        found = function(Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()), argument)
        results.append(np.atleast_3d(np.asarray(found)))
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2)


def both(table, name, shape):
    ours, arguments = table[name]
    batch = pixels(*shape).repeat_interleave(len(arguments), 0)
    drawn = arguments * 4
    expected = by_pillow(PILLOW[name], batch, drawn)
    found = ours(batch.float() / 255, torch.tensor(drawn, dtype=torch.float32)) * 255
    # The result lies on 8-bit levels.
    torch.testing.assert_close(found, found.round(), rtol=0, atol=1e-4)
    return found.round().long(), expected.long()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 19, 33), (3, 2, 5), (3, 64, 48)])
def test_level_operations_equal_pillow(name, shape):
    found, expected = both(EXACT, name, shape)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", WITHIN_A_LEVEL)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 19, 33), (3, 40, 17), (1, 1, 4)])
def test_geometric_operations_equal_pillow_up_to_one_level(name, shape):
    found, expected = both(WITHIN_A_LEVEL, name, shape)
    apart = (found - expected).abs()
    assert apart.max() <= 1
    # Nearly everywhere they are equal: only an interpolation just below a level may differ.
    if math.prod(shape) > 100:
        assert (apart > 0).float().mean() < 0.02


def test_arguments_and_images_of_a_batch_do_not_mix():
    batch = torch.rand(6, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    for name in THIRTEEN:
        operation = AugMixOperation(name, 10)
        arguments = operation.sample(
            6,
            (3, 16, 12),
            generator=torch.Generator().manual_seed(1),
            dtype=torch.float32,
            device=CPU,
        )
        whole = operation.apply(batch, arguments)
        rows = torch.tensor([4, 0])
        assert torch.equal(operation.apply(batch[rows], arguments[rows]), whole[rows])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(THIRTEEN),
    severity=st.floats(0.1, 10),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_results_stay_in_range_on_levels_and_the_input_stays(
    name, severity, channels, height, width, dtype, seed
):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.rand(3, channels, height, width, generator=generator).to(dtype)
    kept = batch.clone()
    operation = AugMixOperation(name, severity)
    arguments = operation.sample(
        3, (channels, height, width), generator=generator, dtype=dtype, device=CPU
    )
    result = operation.apply(batch, arguments)
    assert (result.dtype, result.shape) == (dtype, batch.shape)
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(batch, kept)
    levels = result.double() * 255
    assert (levels - levels.round()).abs().max() <= 255 * torch.finfo(dtype).eps


def drawn(name, severity=3.0, shape=(3, 32, 32), count=40000):
    operation = AugMixOperation(name, severity)
    generator = torch.Generator().manual_seed(0)
    return operation.sample(count, shape, generator=generator, dtype=torch.float32, device=CPU)


@pytest.mark.parametrize("severity", [1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("posterize", lambda s: 4 - int(s * 4 / 10)),
        ("solarize", lambda s: 256 - int(s * 256 / 10)),
        ("rotate", lambda s: int(s * 30 / 10)),
        ("shear_x", lambda s: s * 0.3 / 10),
        ("shear_y", lambda s: s * 0.3 / 10),
        ("translate_x", lambda s: int(s * (48 / 3) / 10)),
        ("translate_y", lambda s: int(s * (30 / 3) / 10)),
        ("color", lambda s: s * 1.8 / 10 + 0.1),
        ("contrast", lambda s: s * 1.8 / 10 + 0.1),
        ("brightness", lambda s: s * 1.8 / 10 + 0.1),
        ("sharpness", lambda s: s * 1.8 / 10 + 0.1),
    ],
)
def test_strengths_have_the_published_distribution(name, severity, published):
    found = drawn(name, severity, (3, 30, 48))
    signed = name in MOVING
    if signed:
        nonzero = found[found != 0]
        # A z-test of a fair coin at more than four standard deviations.
        bound = 4.5 * 0.5 / math.sqrt(max(len(nonzero), 1))
        assert ((nonzero > 0).float().mean() - 0.5).abs() < bound or len(nonzero) == 0
    # The same strengths by a grid of quantiles: the Kolmogorov distance is below 0.02.
    strengths = np.linspace(0.1, severity, 20001)
    expected = np.sort([published(s) for s in strengths])
    magnitudes = np.sort((found.abs() if signed else found).double().numpy())
    values = np.unique(expected)
    assert len(values) > 1 or (name, severity) == ("posterize", 1.0)
    for at in values if len(values) < 40 else values[:: len(values) // 37]:
        low = np.mean(expected <= at + 1e-5) - np.mean(magnitudes <= at + 1e-5)
        assert abs(low) < 0.02


def test_autocontrast_and_equalize_have_no_strength():
    assert drawn("autocontrast", count=5).shape == (5, 0)
    assert drawn("equalize", count=5).shape == (5, 0)


def test_equal_generators_draw_equal_strengths_and_the_global_one_stays():
    before = torch.random.get_rng_state()
    assert torch.equal(drawn("shear_x"), drawn("shear_x"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_lists_are_the_published_ones():
    assert [operation.name for operation in augmix_operations()] == THIRTEEN[:9]
    assert [o.name for o in augmix_operations(1.0, all_operations=True)] == THIRTEEN
    assert {operation.severity for operation in augmix_operations(1.0)} == {1.0}


def test_rotation_is_counter_clockwise_and_positive_translations_go_left_and_up():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1
    assert rotate(image, torch.tensor([90.0]))[0, 0, 0, 2] == 1
    assert translate_x(image, torch.tensor([1.0]))[0, 0, 2, 3] == 1
    assert translate_y(image, torch.tensor([2.0]))[0, 0, 0, 4] == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: AugMixOperation("rotation"), "Did you mean 'rotate'"),
        (lambda: AugMixOperation("rotate", 0.05), r"severity must lie in \[0.1, 10\]"),
        (lambda: augmix_operations(11), r"severity must lie in \[0.1, 10\]"),
        (lambda: equalize(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)), "to_float"),
        (lambda: AugMixOperation("equalize").apply(torch.zeros(3, 4), torch.zeros(3, 0)), "N, C"),
        (lambda: color(torch.zeros(1, 2, 4, 4), torch.ones(1)), "one channel or three, got 2"),
        (lambda: rotate(torch.zeros(2, 3, 4, 4), torch.ones(1)), r"degrees must have shape \(2,\)"),
    ],
)
def test_what_cannot_be_done_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
