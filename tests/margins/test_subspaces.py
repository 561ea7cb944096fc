"""Subspaces: orthogonal projections of the stated dimension, and many of them at once."""

import math
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_toys import dense, draws, images
from scipy import stats
from sklearn.decomposition import PCA

from robustkit.errors import InputError
from robustkit.margins import (
    Block,
    Fourier,
    Span,
    Whole,
    block_grid,
    dct,
    diagonal_blocks,
    fourier_rings,
    pca_subspaces,
    random_subspaces,
    span,
)
from robustkit.margins.stack import Stack

SHAPE = (2, 6, 8)
DIMS = {
    "block": 2 * 3 * 4,
    "ring": 2 * 3,
    "span": 4,
    "whole": 96,
    "PCA": 5,
    "random": 7,
    "random in a block": 3,
}


def made(kind):
    block = Block(SHAPE, 2, 1, 3, 4)
    match kind:
        case "block":
            return block
        case "ring":
            return fourier_rings(SHAPE, 3)[0]
        case "span":
            return span(images(4, SHAPE))
        case "whole":
            return Whole(SHAPE)
        case "PCA":
            return pca_subspaces(images(20, SHAPE), 5)[1]
        case "random":
            return random_subspaces(SHAPE, 7)[0]
    return random_subspaces(SHAPE, 3, inside=block)[0]


@pytest.mark.parametrize("kind", DIMS)
def test_a_subspace_projects_orthogonally_and_knows_its_dimension(kind):
    one, batch, other = made(kind), draws(9, *SHAPE), draws(9, *SHAPE, seed=1)
    kept = batch.clone()
    inside = one.project(batch)
    assert inside.shape == batch.shape
    torch.testing.assert_close(one.project(inside), inside, rtol=0, atol=1e-12)
    symmetric = (inside * other).sum(), (batch * one.project(other)).sum()
    torch.testing.assert_close(*symmetric, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        one.coefficient_norm(batch), inside.flatten(1).norm(dim=1), rtol=1e-12, atol=0
    )
    identity = torch.eye(96, dtype=torch.float64).reshape(96, *SHAPE)
    trace = one.project(identity).reshape(96, 96).diagonal().sum().item()
    assert one.dim == DIMS[kind]
    assert trace == pytest.approx(one.dim, rel=1e-12)
    assert torch.equal(batch, kept)
    # Rows are projected alone.
    torch.testing.assert_close(one.project(batch[3:4]), inside[3:4], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", DIMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_stays(kind, dtype):
    one, batch = made(kind), draws(3, *SHAPE).to(dtype)
    expected = one.project(batch.double())
    size = 30 * torch.finfo(dtype).eps
    assert one.project(batch).dtype == dtype
    torch.testing.assert_close(one.project(batch).double(), expected, rtol=size, atol=size)
    norms = one.coefficient_norm(batch)
    assert norms.is_floating_point()
    torch.testing.assert_close(
        norms.double(), expected.flatten(1).norm(dim=1), rtol=size, atol=size
    )


@pytest.mark.parametrize("kind", DIMS)
def test_images_of_another_shape_are_refused(kind):
    one = made(kind)
    for batch in (draws(3, 2, 8, 6), draws(3, 96), draws(2, 6, 8)):
        with pytest.raises(InputError, match=r"images of shape \(2, 6, 8\)"):
            one.project(batch)
        with pytest.raises(InputError, match=r"images of shape \(2, 6, 8\)"):
            one.coefficient_norm(batch)


@pytest.mark.parametrize("kind", DIMS)
def test_a_subspace_first_used_in_inference_mode_serves_gradients_later(kind):
    one = made(kind)
    with torch.inference_mode():
        one.project(draws(2, *SHAPE))
    batch = draws(2, *SHAPE).requires_grad_()
    (gradient,) = torch.autograd.grad(one.project(batch).square().sum(), batch)
    torch.testing.assert_close(gradient, 2 * one.project(batch.detach()))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_block_is_the_span_of_its_inverse_transforms(data):
    shape = tuple(data.draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))))
    top, left = (data.draw(st.integers(0, side - 1)) for side in shape[1:])
    height = data.draw(st.integers(1, shape[1] - top))
    width = data.draw(st.integers(1, shape[2] - left))
    block, batch = Block(shape, top, left, height, width), draws(4, *shape)
    basis = dense(block, batch)
    assert block.dim == len(basis)
    coefficients = batch.flatten(1) @ basis.mT
    torch.testing.assert_close(
        block.project(batch).flatten(1), coefficients @ basis, rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        block.coefficient_norm(batch), coefficients.norm(dim=1), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("shape", "size", "step", "count", "dim"),
    [
        ((1, 28, 28), 8, 1, 21, 64),
        ((3, 32, 32), 8, 2, 13, 192),
        ((3, 224, 224), 16, 16, 14, 768),
        ((3, 224, 224), 16, None, 14, 768),
    ],
)
def test_the_published_families_of_blocks(shape, size, step, count, dim):
    blocks = diagonal_blocks(shape, size, step)
    starts = [index * (step or size) for index in range(count)]
    assert [(one.top, one.left) for one in blocks] == [(start, start) for start in starts]
    assert {one.dim for one in blocks} == {dim}
    assert [one.name for one in blocks] == [str(index) for index in range(count)]


def test_blocks_of_large_images_take_little_memory():
    blocks = diagonal_blocks((3, 224, 224), 16)
    # A dense basis of one of them alone would take 441 MiB in single precision.
    assert len(pickle.dumps(blocks)) < 2**20


def test_blocks_of_a_rectangle_follow_its_diagonal():
    blocks = diagonal_blocks((1, 8, 20), 4, 2)
    assert [(one.top, one.left) for one in blocks] == [(0, 0), (2, 8), (4, 16)]
    tall = diagonal_blocks((1, 20, 8), 4, 2)
    assert [(one.top, one.left) for one in tall] == [(0, 0), (8, 2), (16, 4)]
    assert [(one.top, one.left) for one in diagonal_blocks((1, 5, 9), 5)] == [(0, 0)]


@pytest.mark.parametrize(
    ("family", "count"),
    [
        (lambda: block_grid((2, 6, 9), 3), 6),
        (lambda: block_grid((1, 4, 4), 1), 16),
        (lambda: fourier_rings((2, 6, 9), 3), 3),
        (lambda: fourier_rings((1, 7, 7), 4), 4),
        (lambda: fourier_rings((3, 8, 8), 1), 1),
    ],
)
def test_families_that_tile_add_up_to_the_whole(family, count):
    parts = family()
    shape = parts[0].shape
    batch = draws(3, *shape)
    assert len(parts) == count
    assert sum(one.dim for one in parts) == math.prod(shape)
    torch.testing.assert_close(sum(one.project(batch) for one in parts), batch, rtol=0, atol=1e-12)
    assert len({one.name for one in parts}) == count


def test_the_grid_goes_row_by_row():
    grid = block_grid((1, 4, 6), 2)
    assert [one.name for one in grid] == [
        "(0, 0)", "(0, 2)", "(0, 4)", "(2, 0)", "(2, 2)", "(2, 4)",
    ]  # fmt: skip
    assert len(block_grid((1, 4, 6), 2, 1)) == 3 * 5


def test_rings_hold_the_frequencies_of_their_radius():
    rings = fourier_rings((1, 8, 8), 2)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    for cycles, inside in [((1, 0), 0), ((1, 1), 0), ((0, 3), 1), ((4, 4), 1), ((1, 3), 1)]:
        wave = torch.cos(2 * torch.pi * (cycles[0] * row + cycles[1] * column) / 8 + 0.3)
        wave = wave[None, None].double()
        assert rings[inside].coefficient_norm(wave).item() == pytest.approx(wave.norm().item())
        assert rings[1 - inside].coefficient_norm(wave).item() < 1e-5
    assert [one.name for one in rings] == ["0.125", "0.375"]


@pytest.mark.parametrize(("side", "count"), [(7, 3), (12, 4), (25, 5), (32, 8)])
def test_a_frequency_on_the_edge_of_two_rings_is_in_the_outer_one(side, count):
    rings = fourier_rings((1, side, side), count)
    for frequency in range(side):
        cycles = Fraction(min(frequency, side - frequency), side)
        expected = min(math.floor(2 * count * cycles), count - 1)
        assert [bool(one.mask[0, frequency]) for one in rings].index(True) == expected


def test_a_fourier_subspace_holds_real_images_without_other_frequencies():
    mask = torch.zeros(5, 6, dtype=torch.bool)
    for u, v in [(0, 0), (1, 2), (4, 4), (0, 3)]:
        mask[u, v] = True
    one, batch = Fourier((2, 5, 6), mask), draws(3, 2, 5, 6)
    spectrum = torch.fft.fft2(one.project(batch))
    assert spectrum[..., ~mask].abs().max() < 1e-12
    torch.testing.assert_close(spectrum[..., mask], torch.fft.fft2(batch)[..., mask])
    assert one.dim == 8
    assert one.project(batch).dtype == torch.float64


def test_random_subspaces_depend_on_seed_index_and_dimension_alone():
    state = torch.random.get_rng_state()
    few, many = random_subspaces(SHAPE, 4, 2, seed=3), random_subspaces(SHAPE, 4, 5, seed=3)
    for one, other in zip(few, many, strict=False):
        assert torch.equal(one.basis, other.basis)
    assert [one.name for one in few] == ["random 0", "random 1"]
    batch = draws(1, *SHAPE)
    norms = torch.cat([one.coefficient_norm(batch) for one in many])
    assert len(norms.unique()) == 5
    reseeded = random_subspaces(SHAPE, 4, seed=4)[0].coefficient_norm(batch)
    assert (norms != reseeded).all()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_directions_are_uniform():
    # The share of a fixed direction in a uniform S-dimensional subspace is Beta(S/2, (D-S)/2).
    normal = draws(1, 20, seed=5)
    shares = torch.cat(
        [
            one.coefficient_norm(normal) ** 2 / normal.norm() ** 2
            for one in random_subspaces((20,), 3, 600, seed=2)
        ]
    )
    assert stats.kstest(shares.numpy(), stats.beta(1.5, 8.5).cdf).pvalue > 0.01
    error = shares.std() / math.sqrt(len(shares))
    assert abs(shares.mean() - 3 / 20) < 3 * error


def test_random_subspaces_may_lie_inside_another():
    block = Block(SHAPE, 0, 0, 2, 3)
    for one in random_subspaces(SHAPE, 5, 3, inside=block):
        torch.testing.assert_close(block.project(one.basis), one.basis, rtol=0, atol=1e-12)
        outside = dct(one.basis)
        outside[:, :, :2, :3] = 0
        assert outside.abs().max() < 1e-12
    (full,) = random_subspaces(SHAPE, block.dim, inside=block)
    batch = draws(4, *SHAPE)
    torch.testing.assert_close(full.project(batch), block.project(batch), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("count", "dim"), [(30, 4), (9, 8), (200, 24)])
def test_principal_directions_are_those_of_scikit_learn(count, dim):
    batch = images(count, (1, 4, 6)) * torch.linspace(0.1, 3, 24).reshape(1, 4, 6)
    parts = pca_subspaces(batch, dim)
    components = PCA().fit(batch.flatten(1).numpy()).components_
    usable = min(count - 1, 24)
    assert len(parts) == usable // dim
    probe = draws(5, 1, 4, 6)
    for index, part in enumerate(parts):
        rows = torch.from_numpy(components[index * dim : (index + 1) * dim])
        expected = probe.flatten(1) @ rows.mT @ rows
        torch.testing.assert_close(part.project(probe).flatten(1), expected, rtol=0, atol=1e-9)
    assert parts[0].name == f"PCA 0 to {dim - 1}"
    assert len(pca_subspaces(batch, 1, 3)) == 3


def test_a_span_holds_its_images_and_nothing_orthogonal_to_them():
    batch = images(5, (3, 4), dtype=torch.float32)
    one = span(batch, name="five")
    assert (one.dim, one.name) == (5, "five")
    torch.testing.assert_close(one.project(batch), batch, rtol=1e-5, atol=1e-5)
    _, _, rows = torch.linalg.svd(batch.flatten(1).double())
    rest = rows[5:].reshape(7, 3, 4)
    assert one.coefficient_norm(rest).max() < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Block((2, 0, 8), 0, 0, 2, 2), "C, H, W"),
        (lambda: Block(SHAPE, 0, 0, 0, 2), "does not lie"),
        (lambda: Block(SHAPE, -1, 0, 2, 2), "does not lie"),
        (lambda: Block(SHAPE, 5, 0, 2, 2), "does not lie"),
        (lambda: Block(SHAPE, 0, 7, 2, 2), "does not lie"),
        (lambda: diagonal_blocks(SHAPE, 7), "size <= 6"),
        (lambda: diagonal_blocks(SHAPE, 0), "size"),
        (lambda: diagonal_blocks(SHAPE, 2, 0), "step"),
        (lambda: diagonal_blocks((6, 8), 2), "C, H, W"),
        (lambda: block_grid(SHAPE, 7), "size <= 6"),
        (lambda: fourier_rings(SHAPE, 0), "at least 1"),
        (lambda: fourier_rings(SHAPE, 20), "holds no frequency"),
        (lambda: Fourier(SHAPE, torch.zeros(6, 8, dtype=torch.bool)), "some frequency"),
        (lambda: Fourier(SHAPE, torch.ones(8, 6, dtype=torch.bool)), r"\(6, 8\)"),
        (lambda: Fourier(SHAPE, torch.arange(48).reshape(6, 8) == 1), "opposite"),
        (lambda: Span(2 * torch.eye(3)), "orthonormal"),
        (lambda: Span(torch.tensor([[1.0, 0.0], [0.8, 0.6]])), "margins.span"),
        (lambda: Span(torch.full((1, 3), math.nan)), "orthonormal"),
        (lambda: Span(torch.ones(3)), "basis has shape"),
        (lambda: Span(torch.ones(0, 3)), "basis has shape"),
        (lambda: Span(torch.ones(4, 3)), "basis has shape"),
        (lambda: span(torch.ones(2, 5)), "dependent"),
        (lambda: span(torch.tensor([[1.0, 2.0], [0.0, 0.0]])), "dependent"),
        (lambda: span(draws(7, 2, 3)), "not independent"),
        (lambda: span(torch.full((1, 3), math.nan)), "NaN"),
        (lambda: span(torch.ones(1, 3, dtype=torch.int64)), "floating point"),
        (lambda: random_subspaces(SHAPE, 0), r"\[1, 96\]"),
        (lambda: random_subspaces(SHAPE, 97), r"\[1, 96\]"),
        (lambda: random_subspaces(SHAPE, 5, inside=span(images(4, SHAPE))), r"\[1, 4\]"),
        (lambda: random_subspaces(SHAPE, 3, 0), "count"),
        (lambda: pca_subspaces(images(5, SHAPE), 5), "not enough"),
        (lambda: pca_subspaces(images(5, SHAPE), 2, 3), "not enough"),
        (lambda: pca_subspaces(images(5, SHAPE), 0), "not enough"),
        (lambda: pca_subspaces(images(5, SHAPE), 2, 0), "not enough"),
        (lambda: pca_subspaces(images(1, SHAPE), 1), "not enough"),
        (lambda: pca_subspaces(images(1, SHAPE).repeat(3, 1, 1, 1), 1), "not enough"),
    ],
)
def test_what_is_no_subspace_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()


STACKS = {
    "blocks": lambda: diagonal_blocks(SHAPE, 2, 1),
    "blocks of two sizes": lambda: [Block(SHAPE, 0, 0, 2, 3), Block(SHAPE, 1, 1, 3, 2)],
    "mixed": lambda: [made(kind) for kind in DIMS],
    "one": lambda: [Whole(SHAPE)],
}


@pytest.mark.parametrize("family", STACKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stack_projects_each_row_onto_its_own_subspace(family, dtype):
    parts = STACKS[family]()
    stack, batch = Stack(parts), draws(25, *SHAPE).to(dtype)
    which = torch.arange(25).mul(7) % len(parts)
    expected = torch.cat([parts[i].project(batch[n : n + 1]) for n, i in enumerate(which.tolist())])
    found = stack.project(batch, which)
    assert found.dtype == dtype
    size = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=size, atol=size)
    # And again in another precision, and for each of the subspaces alone.
    for position in range(len(parts)):
        rows = which == position
        again = stack.project(batch.double()[rows], which[rows])
        torch.testing.assert_close(again.to(dtype), found[rows], rtol=size, atol=size)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    count=st.integers(1, 7),
    data=st.data(),
)
def test_a_stack_of_blocks_is_a_loop_over_them(shape, count, data):
    size = data.draw(st.integers(1, min(shape[1:])), "size")
    parts = block_grid(shape, size, 1)
    which = torch.tensor(
        data.draw(st.lists(st.integers(0, len(parts) - 1), min_size=count, max_size=count))
    )
    batch = draws(count, *shape)
    expected = torch.cat([parts[i].project(batch[n : n + 1]) for n, i in enumerate(which.tolist())])
    torch.testing.assert_close(Stack(parts).project(batch, which), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", ["blocks", "mixed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stack_leaves_no_rounding_of_what_is_orthogonal(family, dtype):
    parts = STACKS[family]()
    first = parts[0]
    batch = draws(6, *SHAPE)
    outside = (batch - first.project(batch)).to(dtype)
    which = torch.zeros(6, dtype=torch.int64)
    assert first.project(outside).abs().max() > 0
    assert (Stack(parts).project(outside, which) == 0).all()
    # A small part that is real stays.
    small = outside + 1e-3 * first.project(batch).to(dtype)
    assert (Stack(parts).project(small, which).flatten(1).norm(dim=1) > 1e-4).all()


def test_a_subspace_that_changes_the_shape_is_refused():
    class Flat(Whole):
        def project(self, images):
            return images[:, :, 0]

    with pytest.raises(InputError, match="must keep their shape"):
        Stack([Flat(SHAPE, "flat")]).project(draws(2, *SHAPE), torch.zeros(2, dtype=torch.int64))
