"""The spectral primitive: centred, white at every frequency, one kernel an image."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prime_toys import augmented, drawn, images

from robustkit.augment import Spectral, filter_images
from robustkit.errors import InputError

HALF = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_without_noise_it_is_the_identity_exactly(size, dtype):
    batch = images(dtype=dtype)
    assert torch.equal(augmented(Spectral(0.0, size), batch), batch)


@pytest.mark.parametrize("size", [3, 5])
def test_off_centre_it_moves_the_image_as_published(size):
    # The published code has the delta at tap ceil(size / 2): an impulse moves up and to the left.
    batch = torch.zeros(2, 3, 9, 9)
    batch[:, :, 4, 4] = 1
    moved = augmented(Spectral(0.0, size, centered=False), batch)
    assert (moved[:, :, 3, 3] == 1).all()
    assert moved.sum() == batch.sum()


def test_taps_are_white_around_the_delta():
    kernels = drawn(Spectral(4.0, 3), 100_000)
    delta = torch.zeros(3, 3, dtype=torch.float64)
    delta[1, 1] = 1
    noise = kernels - delta
    # The strength is uniform on [0, 4]: its mean square is 16 / 3, its mean fourth power 256 / 5.
    spread = math.sqrt(16 / 3 / len(noise))
    assert (noise.mean(0).abs() < 4.5 * spread).all()
    wanted = torch.eye(9, dtype=torch.float64) * 16 / 3
    flat = noise.flatten(1)
    error = math.sqrt(3 * 256 / 5 / len(noise))
    assert ((flat.mT @ flat / len(noise) - wanted).abs() < 4.5 * error).all()


@pytest.mark.parametrize("shared", [False, True])
def test_strengths_are_uniform(shared):
    # A kernel of 961 taps tells its strength.
    if shared:
        kernels = [drawn(Spectral(4.0, 31, shared=True), 3, seed=seed) for seed in range(500)]
        sizes = torch.stack(kernels).flatten(2).square().mean(2).sqrt()
        assert ((sizes - sizes[:, :1]).abs() < 0.2 * sizes[:, :1] + 0.1).all()
        sizes = sizes[:, 0]
    else:
        sizes = drawn(Spectral(4.0, 31), 2000).flatten(1).square().mean(1).sqrt()
        assert sizes.std() > 1
    assert scipy.stats.kstest((sizes / 4).numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("frequency", [(0, 0), (math.pi, math.pi), (0.7, -2.1), (math.pi, 0)])
def test_the_transfer_function_has_the_same_law_at_every_frequency(size, frequency):
    kernels = drawn(Spectral(4.0, size), 40_000, seed=1)
    taps = torch.arange(size, dtype=torch.float64) - size // 2
    phase = frequency[0] * taps[:, None] + frequency[1] * taps
    transfer = (kernels * torch.polar(torch.ones_like(phase), -phase)).sum((1, 2))
    power = 16 / 3 * size**2
    assert abs(transfer.mean() - 1) < 4.5 * math.sqrt(power / len(transfer))
    assert (transfer - 1).abs().square().mean().item() == pytest.approx(power, rel=0.05)


def test_the_signal_to_noise_ratio_inside_the_image():
    count, strength = 20_000, 4.0
    noise = torch.randn(
        count, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    kernels = strength * noise
    kernels[:, 1, 1] += 1
    batch = images(count, (1, 6, 6), dtype=torch.float64)
    inside = (filter_images(batch, kernels) - batch)[..., 1:-1, 1:-1]
    ratio = batch.square().mean() / inside.square().mean()
    assert ratio.item() == pytest.approx(1 / (strength**2 * 9), rel=0.02)


def test_it_correlates_each_image_with_its_kernel_between_zeros():
    batch = images(5, (2, 7, 6), dtype=torch.float64)
    kernels = drawn(Spectral(4.0, 5), 5)
    wanted = np.stack(
        [
            [scipy.ndimage.correlate(plane, kernel, mode="constant") for plane in image]
            for image, kernel in zip(batch.numpy(), kernels.numpy(), strict=True)
        ]
    )
    torch.testing.assert_close(
        filter_images(batch, kernels), torch.from_numpy(wanted), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        Spectral(4.0, 5).apply(batch, kernels), torch.from_numpy(wanted).clip(0, 1)
    )


def test_it_is_linear_before_the_clip():
    one, other = images(dtype=torch.float64), images(seed=1, dtype=torch.float64)
    kernels = drawn(Spectral(), 4)
    both = filter_images(2 * one - 3 * other, kernels)
    apart = 2 * filter_images(one, kernels) - 3 * filter_images(other, kernels)
    torch.testing.assert_close(both, apart)


def test_grey_stays_grey():
    batch = images(3, (1, 8, 8)).expand(-1, 3, -1, -1)
    result = augmented(Spectral(), batch)
    torch.testing.assert_close(result, result[:, :1].expand_as(result), rtol=0, atol=0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 4),
    channels=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from([*HALF, torch.float32, torch.float64]),
)
def test_any_image_stays_in_the_box_and_rows_are_alone(seed, count, channels, height, width, dtype):
    batch = images(count, (channels, height, width), seed, dtype)
    kept = batch.clone()
    operation = Spectral()
    kernels = drawn(operation, count, batch.shape[1:], seed, dtype)
    result = operation.apply(batch, kernels)
    assert torch.equal(batch, kept)
    assert result.dtype == dtype
    assert result.shape == batch.shape
    assert ((result >= 0) & (result <= 1)).all()
    alone = operation.apply(batch[-1:], kernels[-1:])
    torch.testing.assert_close(result[-1:], alone, rtol=0, atol=1e-6 + torch.finfo(dtype).eps)


def test_the_layout_of_the_input_does_not_matter():
    batch, kernels = images(), drawn(Spectral(), 4, dtype=torch.float32)
    rolled = batch.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        filter_images(rolled, kernels), filter_images(batch, kernels), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("half", HALF)
def test_autocast_around_it_changes_nothing(half):
    batch, kernels = images(), drawn(Spectral(), 4, dtype=torch.float32)
    with torch.autocast("cpu", half):
        found, clipped = filter_images(batch, kernels), Spectral().apply(batch, kernels)
    assert torch.equal(found, filter_images(batch, kernels))
    assert torch.equal(clipped, Spectral().apply(batch, kernels))


def test_what_cannot_be_done_is_refused():
    for arguments in ({"sigma": -1.0}, {"sigma": math.nan}, {"size": 2}, {"size": 0}):
        with pytest.raises(InputError):
            Spectral(**arguments)
    with pytest.raises(InputError, match="at least 3"):
        Spectral(size=1, centered=False)
    with pytest.raises(InputError, match="one an image"):
        filter_images(images(4), torch.zeros(3, 3, 3))
    for shape in [(4, 2, 2), (4, 3, 5), (4, 3, 2), (4, 3), (4, 1, 3, 3), ()]:
        with pytest.raises(InputError, match="square and of odd size"):
            filter_images(images(4), torch.zeros(shape))
