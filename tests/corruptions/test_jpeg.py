"""JPEG: tensor code and Pillow agree in every level, and gradients are those without rounding."""

from io import BytesIO

import numpy as np
import pytest
import torch
from corruption_parity import held_to
from corruption_toys import Published, draws, images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustkit.corruptions import corrupt
from robustkit.corruptions.blur import defocus_blur, gaussian_blur
from robustkit.corruptions.jpeg import jpeg_compression
from robustkit.errors import InputError, UnknownNameError


def by_pillow(batch, quality):
    """Return 8-bit images (N, C, H, W) after the published round trip."""
    result = []
    for image in batch.permute(0, 2, 3, 1).numpy():
        file = BytesIO()
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(
            file, "JPEG", quality=quality
        )
        result.append(np.array(Image.open(file)).reshape(image.shape))
    return torch.from_numpy(np.stack(result)).permute(0, 3, 1, 2)


def levels(result):
    return (result * 255).round().to(torch.uint8)


def pictures(kind, shape, seed):
    draw = torch.Generator().manual_seed(seed)
    if kind == "smooth":
        return levels(images(2, shape, seed))
    if kind == "noise":
        return torch.randint(256, (2, *shape), generator=draw).to(torch.uint8)
    return (torch.randint(2, (2, *shape), generator=draw) * 255).to(torch.uint8)


@held_to("jpeg_compression/pillow")
@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["smooth", "noise", "black and white"]),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    quality=st.integers(1, 100),
    mode=st.sampled_from(["tensor", "pil", "auto"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_every_level_is_that_of_pillow(
    kind, channels, height, width, quality, mode, dtype, seed, allowed
):
    batch = pictures(kind, (channels, height, width), seed)
    result = jpeg_compression(batch.to(dtype) / 255, draws(2), quality, mode=mode)
    assert result.dtype == dtype
    allowed.check(levels(result), by_pillow(batch, quality))


@held_to("jpeg_compression/outputs")
@pytest.mark.parametrize("mode", ["tensor", "pil", "auto"])
def test_the_published_outputs_are_met(real_data, mode, allowed):
    published = Published(real_data)
    for severity in range(1, 6):
        result = corrupt(published.images, "jpeg_compression", severity, mode=mode)
        allowed.check(result, published.output("jpeg_compression", severity))


@pytest.mark.parametrize("mode", ["tensor", "pil"])
def test_a_flat_grey_image_moves_by_at_most_half_a_step(mode):
    flat = torch.arange(256, dtype=torch.float64)[:, None, None, None].expand(256, 3, 16, 16) / 255
    for quality in (10, 40, 90):
        result = jpeg_compression(flat, draws(256), quality, mode=mode)
        # The luminance table starts with 16, in units of an eighth of a level.
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        step = (16 * scale + 50) // 100
        assert (result - flat).abs().max() * 255 <= step / 16 + 0.5
        assert (result - result[:, :1, :1, :1]).abs().max() == 0


def test_quality_orders_the_error():
    batch = images(8, (1, 48, 48))
    errors = [
        (jpeg_compression(batch, draws(8), quality) - batch).square().mean().item()
        for quality in (100, 80, 50, 25, 7)
    ]
    assert errors == sorted(errors)
    assert errors[0] < 1e-5 < 1e-3 < errors[-1]


def test_the_gradient_is_that_of_the_map_without_rounding():
    # Without rounding, a grey image comes back as it is.
    draw = torch.Generator().manual_seed(0)
    batch = 0.3 + 0.4 * torch.rand(3, 1, 19, 21, generator=draw, dtype=torch.float64)
    weights = torch.randn(batch.shape, generator=draw, dtype=torch.float64)
    point = batch.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        (jpeg_compression(point, draws(3), 60) * weights).sum(), point
    )
    inside = np.s_[:, :, :16, :16]
    torch.testing.assert_close(gradient[inside], weights[inside], rtol=0, atol=1e-3)
    # Colours: differences of the image made to see through the rounding by many of its steps.
    colours = (0.35 + 0.3 * torch.rand(1, 3, 16, 16, generator=draw)).double().requires_grad_()
    side = torch.randn(1, 3, 16, 16, generator=draw).double()
    (gradient,) = torch.autograd.grad(
        (jpeg_compression(colours, draws(1), 100) * side).sum(), colours
    )
    move = 0.1 * torch.randn(1, 3, 16, 16, generator=draw).double()
    with torch.no_grad():
        ends = [jpeg_compression(colours + sign * move, draws(1), 100) for sign in (1, -1)]
    slope = ((ends[0] - ends[1]) / 2 * side).sum()
    assert slope.item() == pytest.approx((gradient * move).sum().item(), abs=0.15)


def test_clipped_levels_pass_no_gradient():
    point = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    point[..., ::2] = 0
    point.requires_grad_()
    result = jpeg_compression(point, draws(1), 5)
    (gradient,) = torch.autograd.grad(result.sum(), point)
    assert (result == 0).any() or (result == 1).any()
    assert gradient.abs().sum() < 64


def test_gradients_pass_after_a_call_in_inference_mode():
    with torch.inference_mode():
        jpeg_compression(images(1, (3, 16, 16)), draws(1), 43, mode="tensor")
        gaussian_blur(images(1, (3, 19, 23)), draws(1), 0.83)
        defocus_blur(images(1, (3, 19, 23)), draws(1), 1.3, 0.4)
    batch = images(1, (3, 19, 23)).requires_grad_()
    for result in (
        jpeg_compression(batch, draws(1), 43, mode="tensor"),
        gaussian_blur(batch, draws(1), 0.83),
        defocus_blur(batch, draws(1), 1.3, 0.4),
    ):
        (gradient,) = torch.autograd.grad(result.square().sum(), batch)
        assert gradient.abs().max() > 0.1


def test_the_automatic_mode_takes_tensor_code_for_gradients():
    batch = images(1, (3, 112, 112)).requires_grad_()
    assert jpeg_compression(batch, draws(1), 50).requires_grad
    assert not jpeg_compression(batch, draws(1), 50, mode="pil").requires_grad
    assert not jpeg_compression(batch.detach(), draws(1), 50).requires_grad


@pytest.mark.parametrize(
    ("channels", "quality", "mode", "error", "message"),
    [
        (2, 50, "auto", InputError, "1 or 3 channels, got 2"),
        (3, 0, "auto", InputError, r"\[1, 100\], got 0"),
        (3, 101, "tensor", InputError, r"\[1, 100\], got 101"),
        (3, 50, "tensors", UnknownNameError, "Did you mean 'tensor'"),
    ],
)
def test_what_cannot_be_compressed_is_refused(channels, quality, mode, error, message):
    with pytest.raises(error, match=message):
        jpeg_compression(torch.zeros(1, channels, 8, 8), draws(1), quality, mode=mode)
