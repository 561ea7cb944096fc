"""The Fourier heat map: basis images, a plain loop as reference, symmetry, and keyed signs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_toys import Function

from robustkit import rng
from robustkit.errors import InputError
from robustkit.margins.fourier_map import (
    FourierMap,
    fold_frequencies,
    fourier_basis,
    fourier_error_map,
)
from robustkit.stats import wilson

SIZES = [(1, 1), (2, 2), (5, 5), (4, 6), (6, 5), (7, 4), (1, 8)]


def linear(shape=(2, 5, 6), classes=3, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(math.prod(shape), classes, generator=draw, dtype=torch.float64).to(dtype)
    return Function(lambda x: (x.flatten(1) - 0.5) @ weight)


def batch(count=4, shape=(2, 5, 6), seed=1, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, *shape, generator=draw, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("size", SIZES)
def test_the_basis_has_unit_norm_and_one_frequency(size):
    height, width = size
    for u in range(height):
        for v in range(width):
            wave = fourier_basis(size, u, v)
            assert wave.shape == size
            assert wave.dtype == torch.float64
            assert wave.norm().item() == pytest.approx(1, abs=1e-14)
            spectrum = torch.fft.fft2(wave, norm="ortho")
            expected = torch.zeros(size, dtype=torch.complex128)
            expected[u, v] += 1
            expected[-u % height, -v % width] += 1
            expected /= expected.norm()
            torch.testing.assert_close(spectrum, expected, atol=1e-14, rtol=0)


def test_constant_and_fastest_waves():
    torch.testing.assert_close(fourier_basis((4, 6), 0, 0), torch.full((4, 6), 24**-0.5).double())
    fastest = fourier_basis((4, 6), 2, 3) * 24**0.5
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 3).double()
    torch.testing.assert_close(fastest, signs)
    # On odd sides no frequency but the constant is its own opposite.
    assert fourier_basis((5, 5), 2, 2).unique().numel() > 2


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    u=st.integers(-300, 300),
    v=st.integers(-300, 300),
)
def test_opposite_and_wrapped_frequencies_are_the_same_wave(size, u, v):
    wave = fourier_basis(size, u, v)
    torch.testing.assert_close(fourier_basis(size, -u, -v), wave, atol=1e-13, rtol=0)
    same = fourier_basis(size, u + size[0], v - 3 * size[1])
    torch.testing.assert_close(same, wave, atol=1e-13, rtol=0)


def test_different_frequencies_are_orthogonal():
    size = (5, 6)
    waves = {
        min((u, v), (-u % 5, -v % 6)): fourier_basis(size, u, v).flatten()
        for u in range(5)
        for v in range(6)
    }
    assert len(waves) == 16
    rows = torch.stack(list(waves.values()))
    torch.testing.assert_close(rows @ rows.T, torch.eye(16).double(), atol=1e-13, rtol=0)


def reference(model, images, labels, norm, seed, indices, clamp):
    """The published procedure as loops, by NumPy's inverse transform."""
    count, channels, height, width = images.shape
    wrong = np.zeros((height, width), dtype=int)
    for row in range(height):
        for column in range(width):
            u, v = row - height // 2, column - width // 2
            spectrum = np.zeros((height, width))
            spectrum[u % height, v % width] += 1
            spectrum[-u % height, -v % width] += 1
            wave = np.fft.ifft2(spectrum).real
            wave /= np.linalg.norm(wave)
            first = min((u % height, v % width), (-u % height, -v % width))
            for n in range(count):
                stream = f"fourier map/{first[0]}/{first[1]}"
                draws = rng.uniform(seed, stream, indices[n : n + 1], (channels,), torch.float64)
                noisy = images[n].clone()
                for c in range(channels):
                    sign = -1 if draws[0, c] < 0.5 else 1
                    noisy[c] += sign * norm * torch.from_numpy(wave)
                if clamp:
                    noisy = noisy.clamp(0, 1)
                wrong[row, column] += int(model(noisy[None]).argmax()) != int(labels[n])
    return wrong


@pytest.mark.parametrize("size", [(5, 6), (4, 4), (3, 5)])
@pytest.mark.parametrize("clamp", [True, False])
def test_equals_the_plain_loop(size, clamp):
    model, images = linear((2, *size)), batch(4, (2, *size))
    labels, indices = torch.tensor([0, 1, 2, 0]), torch.tensor([8, 3, 3000, 1])
    bounds = (0, 1) if clamp else None
    found = fourier_error_map(
        model, images, labels, norm=1.5, bounds=bounds, seed=7, indices=indices, chunk=5
    )
    expected = reference(model, images, labels, 1.5, 7, indices, clamp)
    assert found.wrong.tolist() == expected.tolist()
    assert len(np.unique(expected)) > 1
    assert (found.count, found.norm) == (4, 1.5)


def test_a_model_of_one_frequency_errs_there_alone():
    # Class 1 where the image holds much of the wave (1, -2), of either sign, in both channels.
    size, norm = (6, 7), 1.0
    wave = fourier_basis(size, 1, -2)
    model = Function(
        lambda x: torch.stack(
            [torch.full((len(x),), norm).double(), 1.1 * (x * wave).sum((2, 3)).abs().amin(1)], 1
        )
    )
    images = torch.full((9, 2, *size), 0.5).double()
    found = fourier_error_map(model, images, torch.zeros(9).long(), norm=norm, bounds=None)
    expected = torch.zeros(size)
    expected[3 + 1, 3 - 2] = expected[3 - 1, 3 + 2] = 1
    assert torch.equal(found.errors, expected.double())
    assert found.interval(1, -2) == wilson(9, 9)
    assert found.interval(-1, 2 + 7) == wilson(9, 9)
    assert found.interval(1, 2) == wilson(0, 9)
    rows, columns = found.frequencies
    assert (rows[4], columns[1]) == (1 / 6, -2 / 7)
    assert (rows[3], columns[3]) == (0, 0)
    folded = found.folded()
    # Of the frequencies with these absolute values, two in four have the wave.
    assert folded[1, 2] == 0.5
    assert folded.sum() == 0.5


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000), size=st.sampled_from(SIZES), norm=st.sampled_from([0.0, 0.5, 4.0])
)
def test_the_map_is_hermitian_and_chunks_do_not_matter(seed, size, norm):
    model, images = linear((2, *size), seed=seed), batch(3, (2, *size), seed=seed)
    labels = torch.tensor([0, 1, 2])
    found = fourier_error_map(model, images, labels, norm=norm, seed=seed)
    plain = torch.fft.ifftshift(found.wrong)
    assert torch.equal(plain, plain.flip(0, 1).roll((1, 1), (0, 1)))
    small = fourier_error_map(model, images, labels, norm=norm, seed=seed, chunk=4)
    assert torch.equal(small.wrong, found.wrong)
    if norm == 0:
        clean = (model(images).argmax(1) != labels).sum()
        assert (found.wrong == clean).all()


def test_counts_add_up_over_the_images():
    model, images, labels = linear(), batch(6), torch.tensor([0, 1, 2, 0, 1, 2])
    whole = fourier_error_map(model, images, labels, norm=1.0, seed=3)
    parts = [
        fourier_error_map(
            model, images[rows], labels[rows], norm=1.0, seed=3, indices=torch.tensor(rows)
        ).wrong
        for rows in ([4, 1], [0, 2, 3, 5])
    ]
    assert torch.equal(parts[0] + parts[1], whole.wrong)
    again = fourier_error_map(model, images, labels, norm=1.0, seed=4)
    assert not torch.equal(again.wrong, whole.wrong)


def test_the_noise_has_its_norm_and_both_signs():
    seen = []
    model = Function(lambda x: seen.append(x) or x.flatten(1)[:, :2])
    images = torch.full((40, 3, 4, 5), 0.5, dtype=torch.float32)
    fourier_error_map(model, images, torch.zeros(40).long(), norm=2.0, bounds=None)
    noise = torch.cat(seen[1:]) - 0.5
    assert len(noise) == 40 * 11
    torch.testing.assert_close(noise.flatten(2).norm(dim=2), torch.full((440, 3), 2.0))
    signs = noise[:, :, 0, 0].sign()
    assert abs(signs.mean()) < 0.1
    # Channels of an image and frequencies of a channel have signs of their own.
    assert abs((signs[:, 0] * signs[:, 1]).mean()) < 0.15
    assert abs((signs[:40, 0] * signs[40:80, 0]).mean()) < 0.5


def test_each_pair_is_measured_once_in_batches_of_at_most_a_chunk():
    model, images = linear(), batch(4)
    fourier_error_map(model, images, torch.tensor([0, 1, 2, 0]), chunk=7)
    # One image first, to check the labels; 5 x 6 frequencies are 16 pairs.
    assert model.calls[0] == 1
    assert sum(model.calls[1:]) == 16 * 4
    assert max(model.calls) == 7


def test_outputs_that_are_not_finite_are_errors():
    model = Function(lambda x: torch.full((len(x), 2), math.nan))
    found = fourier_error_map(model, batch(2), torch.tensor([0, 0]))
    assert (found.wrong == 2).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_and_bounds_are_kept(dtype):
    seen = []
    model = Function(lambda x: seen.append(x) or x.flatten(1)[:, :2])
    with torch.inference_mode():
        fourier_error_map(model, batch(2, dtype=dtype), torch.tensor([0, 1]), norm=9.0)
    noisy = torch.cat(seen)
    assert noisy.dtype == dtype
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_folding_is_the_mean_over_signs():
    for height, width in SIZES:
        values = torch.rand(height, width, generator=torch.Generator().manual_seed(0)).double()
        folded = fold_frequencies(values)
        assert folded.shape == (height // 2 + 1, width // 2 + 1)
        for u in range(height // 2 + 1):
            for v in range(width // 2 + 1):
                cells = [
                    values[(height // 2 + a * u) % height, (width // 2 + b * v) % width]
                    for a in (1, -1)
                    for b in (1, -1)
                ]
                assert folded[u, v].item() == pytest.approx(sum(cells).item() / 4)


def test_refusals():
    model, images, labels = linear(), batch(), torch.tensor([0, 1, 2, 0])
    bad = [
        ({"norm": -1}, "norm must be"),
        ({"norm": math.inf}, "norm must be"),
        ({"chunk": 0}, "chunk must be"),
        ({"indices": torch.zeros(3).long()}, "indices must be"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, "labels span"),
        ({"labels": torch.tensor([0, 1])}, "labels must have shape"),
        ({"images": images + 1}, "must lie in"),
        ({"images": images[0]}, r"must be \(N, C, H, W\)"),
        ({"model": linear().train()}, "training mode"),
        ({"model": Function(lambda x: x.flatten(1)[:, :1])}, "one output"),
    ]
    for change, message in bad:
        arguments = {"model": model, "images": images, "labels": labels, **change}
        with pytest.raises(InputError, match=message):
            fourier_error_map(**arguments)
    with pytest.raises(InputError, match="size must be"):
        fourier_basis((0, 3), 0, 0)


def test_nothing_of_the_caller_is_changed():
    model, images, labels = linear(), batch(), torch.tensor([0, 1, 2, 0])
    kept, state = images.clone(), torch.random.get_rng_state()
    result = fourier_error_map(model, images, labels)
    assert isinstance(result, FourierMap)
    assert torch.equal(images, kept)
    assert torch.equal(torch.random.get_rng_state(), state)
