"""Energy spectra: Parseval over a tiling, flat white noise, a pinned definition of percentiles."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.errors import InputError, UnknownNameError
from robustkit.margins.energy import energy_percentile, energy_spectrum
from robustkit.margins.families import block_grid, diagonal_blocks, random_subspaces
from robustkit.margins.subspaces import Block, Whole


def moves(count=5, shape=(2, 8, 12), seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=draw, dtype=torch.float64).to(dtype)


def test_equals_squared_dct_coefficients_of_scipy():
    noise = moves()
    squares = scipy.fft.dctn(noise.numpy(), axes=(2, 3), norm="ortho") ** 2
    expected = [
        squares[:, :, top : top + 4, left : left + 4].sum((1, 2, 3))
        for top in (0, 4)
        for left in (0, 4, 8)
    ]
    found = energy_spectrum(noise, block_grid((2, 8, 12), 4))
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    # Overlapping blocks along the diagonal are those of the same coefficients.
    blocks = diagonal_blocks((2, 8, 8), 4, 2)
    square = noise[..., :8]
    squares = scipy.fft.dctn(square.numpy(), axes=(2, 3), norm="ortho") ** 2
    expected = [squares[:, :, i : i + 4, i : i + 4].sum((1, 2, 3)) for i in (0, 2, 4)]
    np.testing.assert_allclose(energy_spectrum(square, blocks).numpy(), expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([1, 2, 4]),
    chunk=st.integers(1, 6),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_a_tiling_holds_all_the_energy(seed, size, chunk, scale):
    noise, blocks = scale * moves(seed=seed), block_grid((2, 8, 12), size)
    energies = energy_spectrum(noise, blocks, chunk=chunk)
    totals = noise.flatten(1).square().sum(1)
    torch.testing.assert_close(energies.sum(0), totals)
    shares = energy_spectrum(noise, blocks, unit="share", chunk=chunk)
    torch.testing.assert_close(shares.sum(0), torch.ones(5).double())
    torch.testing.assert_close(shares * totals, energies)
    torch.testing.assert_close(energies, energy_spectrum(noise, blocks))


def test_white_noise_is_flat_for_each_dimension():
    noise = 3 * moves(400, (1, 16, 16))
    uneven = [
        Block((1, 16, 16), 0, 0, 4, 4),
        Block((1, 16, 16), 4, 4, 12, 12),
        Block((1, 16, 16), 15, 0, 1, 16),
    ]
    spaces = [*uneven, *random_subspaces((1, 16, 16), 7, 2), Whole((1, 16, 16))]
    density = energy_spectrum(noise, spaces, unit="density").mean(1)
    error = torch.tensor([9 * (2 / (400 * space.dim)) ** 0.5 for space in spaces])
    assert ((density - 9).abs() < 4 * error).all()
    energies = energy_spectrum(noise, spaces)
    dims = torch.tensor([space.dim for space in spaces])
    torch.testing.assert_close(energies.mean(1) / dims, density)
    assert energies[1].mean() > 8 * energies[0].mean()


def test_one_cosine_lies_in_one_block():
    rows, columns = torch.arange(8).double(), torch.arange(8).double()
    cosine = torch.cos(math.pi / 8 * (rows + 0.5) * 5)[:, None] * torch.cos(
        math.pi / 8 * (columns + 0.5) * 2
    )
    shares = energy_spectrum(cosine[None, None], block_grid((1, 8, 8), 4), unit="share")
    expected = torch.tensor([0.0, 0, 1, 0]).double()
    torch.testing.assert_close(shares[:, 0], expected, atol=1e-13, rtol=0)


def test_the_percentile_is_an_order_statistic():
    values = torch.tensor([7.0, 1, 3, 9, 5, 2, 8, 4, 6, 10]).double()
    table = torch.stack([values, 10 * values])
    # At least 90 percent of ten do not exceed the ninth; 95 percent only the tenth.
    assert [row.estimate for row in energy_percentile(table, 90)] == [9, 90]
    assert [row.estimate for row in energy_percentile(table)] == [10, 100]
    assert [row.estimate for row in energy_percentile(table, 91)] == [10, 100]
    assert [row.estimate for row in energy_percentile(table, 50)] == [5.5, 55]
    # Ten observations cannot bound their 95th percentile from above.
    assert energy_percentile(table)[0].high == math.inf
    many = torch.arange(1, 1001).double()[None]
    (row,) = energy_percentile(many)
    assert row.estimate == 950
    assert 930 < row.low < 950 < row.high < 970
    assert (row.level, row.count) == (0.95, 1000)
    (wide,) = energy_percentile(many, level=0.99)
    assert wide.low < row.low < row.high < wide.high


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_lower_precision_is_measured_in_at_least_single(dtype):
    noise = moves(dtype=dtype)
    found = energy_spectrum(noise, block_grid((2, 8, 12), 4))
    assert found.dtype == torch.float64
    exact = energy_spectrum(noise.double(), block_grid((2, 8, 12), 4))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_any_object_with_the_members_will_do():
    class Corner:
        name, dim = "corner", 2

        def project(self, images):
            return images

        def coefficient_norm(self, images):
            return images[:, :, 0, 0].norm(dim=1)

    noise = moves()
    found = energy_spectrum(noise, [Corner()])
    torch.testing.assert_close(found[0], noise[:, :, 0, 0].square().sum(1))


def test_refusals():
    class Wrong(Whole):
        def coefficient_norm(self, images):
            return images.flatten(1)

    noise, blocks = moves(), block_grid((2, 8, 12), 4)
    zero = noise.clone()
    zero[2] = 0
    with pytest.raises(UnknownNameError, match="unknown unit"):
        energy_spectrum(noise, blocks, unit="shares")
    with pytest.raises(InputError, match="no shares; leave them out"):
        energy_spectrum(zero, blocks, unit="share")
    assert (energy_spectrum(zero, blocks)[:, 2] == 0).all()
    with pytest.raises(InputError, match="no subspaces"):
        energy_spectrum(noise, [])
    with pytest.raises(InputError, match="chunk"):
        energy_spectrum(noise, blocks, chunk=0)
    with pytest.raises(InputError, match="NaN"):
        energy_spectrum(noise * math.nan, blocks)
    with pytest.raises(InputError, match="images of shape"):
        energy_spectrum(moves(shape=(1, 8, 12)), blocks)
    with pytest.raises(InputError, match="must return one an image"):
        energy_spectrum(noise, [Wrong((2, 8, 12))])
    with pytest.raises(InputError, match=r"shape \(M, N\)"):
        energy_percentile(torch.ones(4))
    for percentile in (0, 100, 120):
        with pytest.raises(InputError, match="percentile must"):
            energy_percentile(torch.ones(2, 4), percentile)
