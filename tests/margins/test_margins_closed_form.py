"""Margins where the answer is known: planes, spheres, slabs, and a plane full of half-moons."""

import math

import pytest
import torch
from margin_toys import Affine, Function, Sphere, affine, draws, images, predicted
from sklearn.datasets import make_moons
from torch import nn

from robustkit.errors import InputError
from robustkit.margins import (
    Block,
    Whole,
    diagonal_blocks,
    fourier_rings,
    margins,
    null_curve,
    pca_subspaces,
    random_subspaces,
    span,
)

SHAPE = (2, 8, 8)


def mixture(shape=SHAPE):
    return [
        *diagonal_blocks(shape, 3, 2),
        Whole(shape),
        fourier_rings(shape, 2)[1],
        pca_subspaces(images(20, shape), 4)[0],
        random_subspaces(shape, 1)[0],
    ]


def assert_inside(result, subspaces, tolerance=1e-9):
    for one, offsets in zip(subspaces, result.perturbations, strict=True):
        outside = (offsets - one.project(offsets)).flatten(1).norm(dim=1)
        assert (outside <= tolerance * offsets.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("classes", [2, 7, 12])
@pytest.mark.parametrize("refine", ["bisect", "normal"])
def test_a_plane_is_met_exactly_in_one_step(classes, refine):
    model, batch, parts = affine(classes), images(25), mixture()
    result = margins(model, batch, parts, candidates=None, refine=refine, perturbations=True)
    expected, targets = model.margins(batch, parts)
    torch.testing.assert_close(result.distances, expected, rtol=1e-6, atol=0)
    assert (result.iterations == 1).all()
    assert result.success.all()
    assert torch.equal(result.targets, targets)
    assert torch.equal(result.labels, predicted(model, batch))
    # The perturbations are what the distances say, lie in the subspaces, and only just do it.
    torch.testing.assert_close(result.perturbations.flatten(2).norm(dim=2), expected, rtol=1e-6,
                               atol=0)  # fmt: skip
    assert_inside(result, parts)
    for offsets in result.perturbations:
        assert (predicted(model, batch + offsets) != result.labels).all()
        assert (predicted(model, batch + 0.99 * offsets) == result.labels).all()


@pytest.mark.parametrize("overshoot", [0.0, 0.02, 0.5])
def test_a_point_that_is_not_refined_is_beyond_by_the_overshoot(overshoot):
    model, batch, parts = affine(5), images(10), mixture()
    expected, _ = model.margins(batch, parts)
    plain = margins(model, batch, parts, refine="none", overshoot=overshoot)
    torch.testing.assert_close(plain.distances, (1 + overshoot) * expected, rtol=1e-9, atol=0)
    assert (plain.distances > expected).all()
    # Where the search begins is no matter to a plane that is searched for.
    refined = margins(model, batch, parts, overshoot=overshoot)
    torch.testing.assert_close(refined.distances, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("classes", [2, 7])
def test_legacy_is_two_percent_too_long(classes):
    model, batch, parts = affine(classes), images(10), mixture()
    expected, _ = model.margins(batch, parts)
    result = margins(model, batch, parts, legacy=True, perturbations=True)
    torch.testing.assert_close(result.distances / expected, torch.full_like(expected, 1.02),
                               rtol=1e-12, atol=0)  # fmt: skip
    assert (result.iterations == 1).all()
    assert_inside(result, parts)
    # A step of the published code is never shorter than 1e-4.
    _, closest = expected.min(dim=1)
    offsets = margins(model, batch, parts, perturbations=True).perturbations
    near = batch[closest] + (1 - 1e-6) * offsets[torch.arange(len(parts)), closest]
    short = margins(model, near, parts, legacy=True).distances.diagonal()
    torch.testing.assert_close(short, torch.full_like(short, 1.02e-4), rtol=1e-9, atol=0)
    assert (margins(model, near, parts).distances.diagonal() < 1e-4).all()


def test_single_precision():
    model = affine(7, dtype=torch.float32)
    batch, parts = images(25, dtype=torch.float32), mixture()
    result = margins(model, batch, parts, perturbations=True)
    assert result.distances.dtype == result.perturbations.dtype == torch.float32
    assert (result.iterations == 1).all()
    expected, _ = model.margins(batch, parts)
    # Where hardly any of the normal lies in a subspace, the rounding of the logits shows.
    torch.testing.assert_close(result.distances, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_subspace_in_which_no_class_differs_has_no_margin(dtype, legacy):
    blocks = diagonal_blocks(SHAPE, 2)
    # All weights have the frequencies of blocks one and three.
    weight = draws(4, *SHAPE, seed=3)
    weight = blocks[1].project(weight) + blocks[3].project(weight)
    model = Affine(weight.flatten(1).to(dtype), draws(4, seed=4).to(dtype))
    batch = images(9, dtype=dtype)
    result = margins(model, batch, blocks, legacy=legacy, perturbations=True)
    assert result.success.all(dim=1).tolist() == [False, True, False, True]
    assert result.found.tolist() == [0, 1, 0, 1]
    assert (result.distances[[0, 2]] == math.inf).all()
    assert (result.targets[[0, 2]] == -1).all()
    assert (result.iterations[[0, 2]] == 0).all()
    assert (result.perturbations[[0, 2]] == 0).all()
    expected, _ = model.margins(batch, [blocks[1], blocks[3]])
    ratio = 1.02 if legacy else 1.0
    torch.testing.assert_close(result.distances[[1, 3]], ratio * expected, rtol=1e-3, atol=0)


def test_classes_ranked_last_take_no_part():
    weight = torch.eye(3, dtype=torch.float64)
    # From the origin rank two is at distance 1 / sqrt 2, rank three, much steeper, is nearer.
    weight[2] *= 100
    model = Affine(weight, torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64))
    origin, whole = torch.zeros(1, 3, dtype=torch.float64), [Whole((3,))]
    every = margins(model, origin, whole, candidates=None)
    top = margins(model, origin, whole, candidates=2)
    assert (every.targets.item(), top.targets.item()) == (2, 1)
    assert every.distances.item() == pytest.approx(2 / math.sqrt(100**2 + 1), rel=1e-9)
    assert top.distances.item() == pytest.approx(1 / math.sqrt(2), rel=1e-9)
    assert (every.backward_calls, top.backward_calls) == (2, 1)


def test_a_subspace_of_the_callers_own_will_do():
    class Row:
        """Images that vary in their first row only."""

        name, dim = "first row", 16

        def project(self, images):
            inside = torch.zeros_like(images)
            inside[:, :, 0] = images[:, :, 0]
            return inside

        def coefficient_norm(self, images):
            return images[:, :, 0].flatten(1).norm(dim=1)

    model, batch = affine(4), images(6)
    result = margins(model, batch, [Row(), Whole(SHAPE)])
    expected, _ = model.margins(batch, [Row(), Whole(SHAPE)])
    torch.testing.assert_close(result.distances, expected, rtol=1e-6, atol=0)
    assert (result.subspaces, result.dims, result.size) == (
        ("first row", "whole space"), (16, 128), 128,
    )  # fmt: skip


@pytest.mark.parametrize("start", ["inside", "outside"])
def test_a_sphere_is_met_where_circle_geometry_says(start):
    shape, radius = (1, 5, 6), 1.0
    batch = draws(30, *shape, seed=3)
    ends = (0.1, 0.95) if start == "inside" else (1.02, 1.6)
    lengths = torch.linspace(*ends, 30).double()
    batch *= (lengths / batch.flatten(1).norm(dim=1)).reshape(30, 1, 1, 1)
    parts = [Whole(shape), *diagonal_blocks(shape, 3, 2), *random_subspaces(shape, 20, 2)]
    result = margins(Sphere(radius), batch, parts, perturbations=True)
    assert (result.labels == (start == "outside")).all()
    within = torch.stack([one.coefficient_norm(batch) for one in parts])
    # In x + S the sphere is one of radius sqrt(R^2 - |x outside S|^2) around the origin.
    squares = radius**2 - (lengths.square() - within.square())
    expected = (within - squares.clamp(min=0).sqrt()).abs()
    reach = squares > 1e-3 if start == "outside" else squares > 0
    assert (squares[1:] < 0).any() == (start == "outside")
    assert reach.sum() > 100
    assert result.success[reach].all()
    torch.testing.assert_close(result.distances[reach], expected[reach], rtol=1e-7, atol=1e-10)
    assert (result.distances[squares < 0] == math.inf).all()
    assert_inside(result, parts)
    for offsets, found in zip(result.perturbations, result.success, strict=True):
        moved = predicted(Sphere(radius), batch + offsets) != result.labels
        assert torch.equal(moved, found)
        assert not (predicted(Sphere(radius), batch + 0.99 * offsets) != result.labels).any()


def test_slabs_end_at_half_their_period():
    rho, size = 3.0, 12
    direction = draws(1, size, seed=2)
    direction /= direction.norm()

    def slabs(points):
        wave = torch.cos(torch.pi / rho * (points @ direction.mT))
        return torch.cat([wave, -wave], dim=1)

    model = Function(slabs)
    # At k rho the wave is flat and a step without bound, so that points keep off there.
    inside = torch.linspace(0.1, 0.45, 12).double() * torch.tensor([1, -1]).repeat(6)
    layers = torch.arange(12) % 5 - 2
    noise = draws(12, size, seed=6)
    noise -= noise @ direction.mT * direction
    batch = noise + rho * (layers + inside)[:, None] * direction
    across = draws(3, size, seed=7)
    across -= across @ direction.mT * direction
    parts = [span(direction), Whole((size,)), *random_subspaces((size,), 4, 2), span(across)]
    result = margins(model, batch, parts)
    assert torch.equal(result.labels, layers % 2)
    shares = torch.stack([one.coefficient_norm(direction) for one in parts[:4]])
    expected = rho * (0.5 - inside.abs()) / shares
    torch.testing.assert_close(result.distances[:4], expected, rtol=1e-6, atol=0)
    assert (result.distances[4] == math.inf).all()
    # Both ends of a slab are half a period from its middle.
    ends = result.distances[0] + rho * inside.abs()
    torch.testing.assert_close(ends, torch.full_like(ends, rho / 2), rtol=1e-6, atol=0)


def test_the_normal_shortens_what_points_at_an_ellipse_askew():
    axes = torch.tensor([3.0, 1.0], dtype=torch.float64)

    def ellipse(points):
        excess = (points / axes).square().sum(1) - 1
        return torch.stack([-excess, excess], dim=1)

    angles = torch.linspace(0, 2 * math.pi, 13).double()[:-1] + 0.2
    batch = 0.6 * axes * torch.stack([angles.cos(), angles.sin()], dim=1)
    turn = torch.linspace(0, 2 * math.pi, 200_001).double()
    border = axes * torch.stack([turn.cos(), turn.sin()], dim=1)
    exact = torch.stack([(border - point).norm(dim=1).min() for point in batch])
    model, whole = Function(ellipse), [Whole((2,))]
    none, bisect, normal = (
        margins(model, batch, whole, refine=refine).distances[0]
        for refine in ("none", "bisect", "normal")
    )
    assert (exact <= normal * (1 + 1e-6)).all()
    assert (normal <= bisect).all()
    assert (bisect < none).all()
    assert (bisect > 1.01 * exact).any()
    assert (normal <= 1.01 * exact).all()


@pytest.fixture(scope="module")
def moons():
    points, labels = make_moons(400, noise=0.1, random_state=0)
    points, labels = torch.from_numpy(points), torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2)
        ).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(points), labels).backward()
        optimizer.step()
    model.eval()
    assert (predicted(model, points) == labels).double().mean() > 0.97
    return model, points[:80]


def test_two_moons_agree_with_a_scan_of_every_line(moons):
    model, batch = moons
    labels, step, most = predicted(model, batch), 5e-3, 4.0
    shifts = torch.arange(-most, most + step / 2, step).double()
    angles = torch.linspace(0, math.pi, 7).double()[:-1]
    lines = [span(torch.tensor([[angle.cos(), angle.sin()]])) for angle in angles]
    result = margins(model, batch, lines, max_margin=most)
    found = []
    for line in lines:
        direction = line.basis[0]
        classes = predicted(model, (batch[:, None] + shifts[:, None] * direction).reshape(-1, 2))
        crossed = classes.reshape(len(batch), -1) != labels[:, None]
        found.append(torch.where(crossed, shifts.abs(), math.inf).amin(1))
    scanned = torch.stack(found)
    # Nothing is nearer than the nearest crossing of the line, and most are that one: DeepFool goes
    # one way along a line, and the other way may be shorter.
    assert (result.distances >= scanned - step).all()
    assert (result.distances[scanned == math.inf] == math.inf).all()
    same = (result.distances - scanned).abs() <= step
    assert same[scanned < math.inf].double().mean() > 0.8


def test_two_moons_agree_with_a_scan_of_the_plane(moons):
    model, batch = moons
    labels, step = predicted(model, batch), 0.01
    radii = torch.arange(step, 1.5, step).double()
    turn = torch.linspace(0, 2 * math.pi, 121).double()[:-1]
    ring = torch.stack([turn.cos(), turn.sin()], dim=1)
    offsets = (radii[:, None, None] * ring).reshape(-1, 2)
    scanned = torch.stack(
        [
            torch.where(predicted(model, point + offsets) != label, offsets.norm(dim=1), math.inf)
            .min()
            for point, label in zip(batch, labels, strict=True)
        ]
    )  # fmt: skip
    none, bisect, normal = (
        margins(model, batch, [Whole((2,))], refine=refine).distances[0]
        for refine in ("none", "bisect", "normal")
    )
    near = scanned.isfinite()
    assert near.sum() > 70
    # The scan is never too short by more than a step and what lies between two directions.
    assert (normal >= scanned - 2 * step)[near].all()
    assert (normal <= bisect).all()
    assert (bisect <= none).all()
    assert (normal / scanned)[near].median() < 1.02
    assert (bisect / scanned)[near].median() < (none / scanned)[near].median()


def test_random_subspaces_follow_the_null_curve():
    size, dim, count = 40, 5, 400
    model, batch = affine(2, (size,)), images(2, (size,))
    parts = random_subspaces((size,), dim, count)
    result = margins(model, batch, [*parts, Whole((size,))])
    whole, within = result.distances[-1], result.distances[:-1]
    # E ||P_S w||^2 = S / D ||w||^2, so that the inverse squares of margins have a known mean.
    shares = (whole / within).square()
    error = shares.std(dim=0) / math.sqrt(count)
    assert ((shares.mean(dim=0) - dim / size).abs() < 3 * error).all()
    assert (error < 0.02).all()
    curve = result.null_curve(whole[0].item())
    harmonic = within[:, 0].square().reciprocal().mean().rsqrt().item()
    assert harmonic == pytest.approx(curve[0], rel=0.05)
    assert curve[-1] == whole[0].item()


def test_the_null_curve_is_the_root_of_the_share_of_dimensions():
    assert null_curve(2.0, (784, 196, 1), 784) == [2.0, 4.0, 56.0]
    assert null_curve(0, [3], 4) == [0.0]
    assert null_curve(math.inf, [3], 4) == [math.inf]
    for whole, dims, size in [(-1.0, (3,), 4), (math.nan, (3,), 4), (1.0, (0,), 4), (1.0, (5,), 4)]:
        with pytest.raises(InputError, match=r"at least 0|lie in"):
            null_curve(whole, dims, size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_but_can_be_projected(dtype):
    model, batch = affine(3, dtype=dtype), images(6, dtype=dtype)
    part = Block(SHAPE, 0, 0, 4, 4)
    with pytest.raises(InputError, match=r"images\.float\(\)"):
        margins(model, batch, [part])
    assert part.project(batch).dtype == dtype
