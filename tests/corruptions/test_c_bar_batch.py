"""What the corruptions of C-bar have in common: rows apart, any shape, rising severities."""

import inspect

import pytest
import torch
from c_bar_toys import CASES, COLOURED, FUNCTIONS, TABLE, corrupted, keyed, pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from robustkit.corruptions.c_bar.severities import (
    C_BAR_LEVELS,
    C_BAR_SEVERITIES,
    c_bar_parameters,
)
from robustkit.corruptions.draws import Draws
from robustkit.errors import InputError

NAMES = sorted(TABLE)


class Waits(TorchDispatchMode):
    """Count the operations for which a host waits for its device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waiting = ("_local_scalar_dense", "nonzero", "equal.default")
        self.count += any(name in str(function) for name in waiting)
        return function(*args, **(kwargs or {}))


def test_the_tables_name_the_published_corruptions():
    both = {
        "blue_noise_sample",
        "brownish_noise",
        "checkerboard_cutout",
        "inverse_sparkles",
        "sparkles",
    }
    cifar, imagenet = set(C_BAR_SEVERITIES["cifar"]), set(C_BAR_SEVERITIES["imagenet"])
    assert both == cifar & imagenet
    assert len(cifar) == len(imagenet) == 10
    assert cifar | imagenet == set(FUNCTIONS)


@pytest.mark.parametrize(("preset", "name"), CASES)
def test_parameters_are_those_of_the_function(preset, name):
    rows = C_BAR_SEVERITIES[preset][name]
    arguments = list(inspect.signature(FUNCTIONS[name]).parameters)[2:]
    assert [len(row) for row in rows] == 5 * [len(arguments)]
    levels = C_BAR_LEVELS[preset][name]
    assert list(levels) == sorted(set(levels))
    assert rows == tuple(c_bar_parameters(name, level) for level in levels)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("blue_noise_sample", (0.5,)),
        ("brownish_noise", (64 / 255,)),
        ("caustic_refraction", (0.5, 2.0)),
        ("checkerboard_cutout", (1.0,)),
        ("circular_motion_blur", (15.0,)),
        ("cocentric_sine_waves", (128 / 255,)),
        ("inverse_sparkles", (1.3,)),
        ("lines", (1.0,)),
        ("perlin_noise", (0.5,)),
        ("pinch_and_twirl", (0.5, torch.pi / 2, 3)),
        ("plasma_noise", (64 / 255,)),
        ("ripple", (0.025,)),
        ("single_frequency_greyscale", (196 / 255,)),
        ("sparkles", (0.1,)),
        ("transverse_chromatic_abberation", (0.5,)),
    ],
)
def test_level_ten_is_the_published_maximum(name, parameters):
    assert c_bar_parameters(name, 10.0) == pytest.approx(parameters)


@pytest.mark.parametrize(("preset", "name"), CASES)
def test_a_severity_changes_more_than_the_one_before(preset, name):
    images = pictures(24, 3, 32, 32, dtype=torch.float32)
    changes = [
        (corrupted(name, images, parameters).clamp(0, 1) - images).square().mean().item()
        for parameters in C_BAR_SEVERITIES[preset][name]
    ]
    assert changes == sorted(changes)
    assert 1e-4 < changes[0] < 0.9 * changes[4]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_does_not_see_the_others(name, dtype):
    images = pictures(5, 3, 19, 32, dtype=dtype)
    parameters = TABLE[name][3]
    together = corrupted(name, images, parameters)
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-12}
    order = torch.tensor([3, 0, 4])
    some = FUNCTIONS[name](images[order], Draws(3, "c-bar", order), *parameters)
    torch.testing.assert_close(some, together[order], **tolerance)
    for row in range(5):
        alone = FUNCTIONS[name](
            images[row : row + 1], Draws(3, "c-bar", torch.tensor([row])), *parameters
        )
        torch.testing.assert_close(alone, together[row : row + 1], **tolerance)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"circular_motion_blur"}))
def test_draws_decide(name):
    images = pictures(1, 3, 32, 32).expand(3, -1, -1, -1)
    first = corrupted(name, images, TABLE[name][4])
    assert torch.equal(first, corrupted(name, images, TABLE[name][4]))
    # Three orders of three colours may repeat, so that many images are compared there.
    many = pictures(1, 3, 32, 32).expand(40, -1, -1, -1)
    for other in ({"seed": 4}, {"stream": "other"}, {"first": 50}):
        one, two = (corrupted(name, many, TABLE[name][4], **keys) for keys in ({}, other))
        assert not torch.equal(one, two)
    assert not torch.equal(*corrupted(name, many, TABLE[name][4]).chunk(2))


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    severity=st.integers(0, 4),
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_type(name, severity, channels, height, width, dtype, seed):
    images = pictures(2, 3 if name in COLOURED else channels, height, width, dtype=dtype)
    kept = images.clone()
    result = corrupted(name, images, TABLE[name][severity], seed=seed)
    assert torch.equal(images, kept)
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert result.isfinite().all()
    assert (result.double().clamp(0, 1) - result).abs().max() < 5


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"pinch_and_twirl"}))
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 1), (100, 7)])
def test_thin_and_tiny_images(name, size):
    result = corrupted(name, pictures(2, 3, *size), TABLE[name][4])
    assert result.shape == (2, 3, *size)
    assert result.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(name):
    images = pictures(3, 3, 16, 20)
    scattered = images.to(memory_format=torch.channels_last)
    expected = corrupted(name, images, TABLE[name][2])
    result = corrupted(name, scattered, TABLE[name][2])
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_grey_stays_grey_except_where_colours_are_the_point(name):
    images = pictures(2, 1, 24, 24).expand(-1, 3, -1, -1)
    result = corrupted(name, images, TABLE[name][4])
    coloured = name in {*COLOURED, "brownish_noise"}
    gap = (result - result[:, :1]).abs().max()
    assert (gap > 0.01) if coloured else (gap < 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_global_generators_stay_and_the_host_never_waits(name):
    images, draws = pictures(2, 3, 16, 16), keyed(2)
    state = torch.get_rng_state()
    with Waits() as waits:
        FUNCTIONS[name](images, draws, *TABLE[name][4])
    assert waits.count == 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", sorted(COLOURED))
def test_three_channels_are_asked_for(name):
    with pytest.raises(InputError, match="needs 3 channels, got 1"):
        inspect.unwrap(FUNCTIONS[name])(pictures(2, 1, 16, 16), keyed(2), *TABLE[name][0])


def test_blocks_need_pixels():
    with pytest.raises(InputError, match="at least 3 pixels"):
        corrupted("pinch_and_twirl", pictures(1, 3, 2, 16), TABLE["pinch_and_twirl"][0])


def test_an_unknown_corruption_is_a_key_error():
    with pytest.raises(KeyError):
        c_bar_parameters("waterdrop", 1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("preset", "name"), CASES)
def test_a_gpu_agrees_with_the_processor(preset, name):
    images = pictures(16, 3, 64, 48, dtype=torch.float32)
    indices = torch.arange(16)
    for parameters in C_BAR_SEVERITIES[preset][name]:
        here = FUNCTIONS[name](images, Draws(3, "gpu", indices), *parameters)
        there = FUNCTIONS[name](images.cuda(), Draws(3, "gpu", indices.cuda()), *parameters)
        assert there.is_cuda
        far = ((there.cpu() - here).abs() > 1 / 510).double().mean()
        # A pixel on the brink of refraction may fall to its other side.
        assert far <= (0.002 if name == "caustic_refraction" else 0)
