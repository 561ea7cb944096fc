"""Synthetic data: the features are where they are said to be, and the rest is noise."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from robustkit.errors import InputError
from robustkit.margins.synthetic import Synthetic, directional, linear_feature, two_features
from robustkit.models import build_mlp
from robustkit.training import Adversarial, evaluate, train

DOUBLE = torch.float64


def coordinates(data: Synthetic) -> Tensor:
    return data.points @ data.basis


def made(kind: str, **changes: object) -> Synthetic:
    if kind == "directional":
        direction = torch.arange(1.0, 1.0 + changes.pop("size", 12))
        return directional(**{"count": 40, "direction": direction, "dtype": DOUBLE} | changes)
    function = linear_feature if kind == "linear_feature" else two_features
    return function(**{"count": 40, "size": 12, "dtype": DOUBLE} | changes)


KINDS = ["linear_feature", "two_features", "directional"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 60), size=st.integers(3, 20), seed=st.integers(0, 2**40))
def test_the_rotation_is_orthogonal_and_the_classes_are_balanced(
    kind: str, count: int, size: int, seed: int
) -> None:
    data = made(kind, count=count, size=size, seed=seed)
    assert data.points.shape == (count, size)
    torch.testing.assert_close(data.basis.T @ data.basis, torch.eye(size, dtype=DOUBLE))
    assert abs(2 * int(data.labels.sum()) - count) <= 1
    assert (data.seed, len(data)) == (seed, count)


@pytest.mark.parametrize("kind", KINDS)
def test_splits_share_the_rotation_and_nothing_else(kind: str) -> None:
    first, again, test = made(kind), made(kind), made(kind, split="test")
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.basis, test.basis)
    # No noise coordinate of the one comes back in the other.
    noise = [coordinates(data)[:, 2:].flatten() for data in (first, test)]
    assert (noise[0][:, None] - noise[1]).abs().min() > 1e-9
    other = made(kind, seed=1)
    assert (other.basis - first.basis).abs().max() > 0.01
    assert (coordinates(other) - coordinates(first))[:, 2:].abs().min() > 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_follows_from_its_index_alone(kind: str) -> None:
    torch.testing.assert_close(made(kind, count=7).points, made(kind).points[:7])


def test_the_rotation_is_uniform() -> None:
    # The entries of a uniform rotation have variance 1 / D, and no sign is preferred.
    corners = torch.stack([linear_feature(1, size=4, seed=seed).basis for seed in range(300)])
    assert (corners.mean(dim=0).abs() < 5 * math.sqrt(0.25 / 300)).all()
    torch.testing.assert_close(
        corners.square().mean(dim=0), torch.full((4, 4), 0.25), rtol=0.2, atol=0
    )
    assert (torch.linalg.det(corners) > 0).float().mean().sub(0.5).abs() < 0.1


def test_the_linear_feature_is_epsilon_from_the_middle_and_the_rest_is_normal() -> None:
    data = linear_feature(4000, size=8, epsilon=0.7, sigma=2.0, dtype=DOUBLE)
    found = coordinates(data)
    signs = 2.0 * data.labels.double() - 1
    torch.testing.assert_close(found[:, 0], 0.7 * signs)
    assert data.margins == (0.7,)
    for column in found[:, 1:].T:
        assert stats.kstest(column.numpy() / 2.0, "norm").pvalue > 1e-3
        # Noise says nothing of the class.
        assert abs(float((column * signs).mean())) < 5 * 2.0 / math.sqrt(4000)
    covariance = torch.cov(found[:, 1:].T)
    torch.testing.assert_close(covariance, 4 * torch.eye(7, dtype=DOUBLE), rtol=0.1, atol=0.3)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_second_feature_alternates_in_slabs(levels: int) -> None:
    data = two_features(3000, size=5, epsilon=0.3, rho=4.0, levels=levels, dtype=DOUBLE)
    found = coordinates(data)
    torch.testing.assert_close(found[:, 0], 0.3 * (2.0 * data.labels.double() - 1))
    slabs = (found[:, 1] / 4.0).round()
    torch.testing.assert_close(found[:, 1], 4.0 * slabs)
    assert torch.equal(slabs.long() % 2, data.labels)
    for label in (0, 1):
        values, counts = slabs[data.labels == label].unique(return_counts=True)
        expected = [k for k in range(-levels, levels + 1) if k % 2 == label]
        assert values.tolist() == expected
        assert len(counts) == 1 or stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert stats.kstest(found[:, 2:].flatten().numpy(), "norm").pvalue > 1e-3


def test_the_margins_are_those_of_the_largest_gap_between_the_classes() -> None:
    data = two_features(2000, size=5, epsilon=0.3, rho=4.0, levels=3, dtype=DOUBLE)
    for margin, column in zip(data.margins, coordinates(data).T[:2], strict=True):
        distances = (column[data.labels == 0][:, None] - column[data.labels == 1]).abs()
        assert float(distances.min()) == pytest.approx(2 * margin)
    assert two_features(4, epsilon=0).margins == (0.0, 5.0)


def test_the_gap_along_a_direction_is_between_the_classes() -> None:
    direction = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    data = directional(3000, direction, gap=1.0, sigma=3.0, dtype=DOUBLE)
    vector = (direction / direction.norm()).flatten().double()
    torch.testing.assert_close(data.basis[:, 0], vector, rtol=1e-6, atol=1e-7)
    signs = 2.0 * data.labels.double() - 1
    torch.testing.assert_close(data.points @ vector, signs / 2, rtol=0, atol=1e-6)
    assert data.margins == (0.5,)
    noise = data.points - (signs / 2)[:, None] * vector
    assert stats.kstest((coordinates(data)[:, 1:].flatten() / 3).numpy(), "norm").pvalue > 1e-3
    expected = 9 * (torch.eye(18, dtype=DOUBLE) - torch.outer(vector, vector))
    torch.testing.assert_close(torch.cov(noise.T), expected, rtol=0.2, atol=0.9)


def test_a_direction_may_be_tiny_and_is_not_changed() -> None:
    direction = torch.tensor([3e-30, 4e-30])
    data = directional(2, direction, dtype=DOUBLE)
    torch.testing.assert_close(data.basis[:, 0], torch.tensor([0.6, 0.8], dtype=DOUBLE))
    assert torch.equal(direction, torch.tensor([3e-30, 4e-30]))


def test_logistic_regression_finds_the_feature_and_its_margin() -> None:
    data = linear_feature(2000, size=30, epsilon=5.0)
    model = nn.Sequential(nn.Linear(30, 2))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    train(model, data.dataset("T1", "train"), epochs=10, learning_rate=0.1, weight_decay=0.0)
    test = linear_feature(500, size=30, epsilon=5.0, split="test").dataset("T1", "test")
    assert evaluate(model, test).rate == 1
    normal = (model[0].weight[1] - model[0].weight[0]).detach()
    along = float(normal @ data.basis[:, 0])
    assert along / float(normal.norm()) > 0.99
    with torch.no_grad():
        logits = model(test.images)
    margins = (logits[:, 1] - logits[:, 0]).abs() / along
    assert float(margins.median()) == pytest.approx(5.0, rel=0.05)


def test_the_dataset_has_two_classes() -> None:
    data = linear_feature(6, size=3)
    dataset = data.dataset("T1", "train")
    assert repr(dataset) == "Dataset(T1/train: 6 vectors of 3, 2 classes, cpu)"
    assert dataset.images is data.points
    assert dataset.labels.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_have_the_type_asked_for(dtype: torch.dtype) -> None:
    data = two_features(5, dtype=dtype)
    assert data.points.dtype == data.basis.dtype == dtype


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: linear_feature(0), "at least 1 point"),
        (lambda: linear_feature(5, size=1), "at least 2 coordinates"),
        (lambda: two_features(5, size=2), "at least 3 coordinates"),
        (lambda: two_features(5, levels=0), "levels must be"),
        (lambda: two_features(5, rho=math.inf), "rho must be a finite"),
        (lambda: linear_feature(5, epsilon=-1.0), "epsilon must be a finite"),
        (lambda: linear_feature(5, sigma=math.nan), "sigma must be a finite"),
        (lambda: linear_feature(5, dtype=torch.int64), "dtype must be floating"),
        (lambda: directional(5, torch.zeros(4)), "direction must be finite and not zero"),
        (lambda: directional(5, torch.tensor([1.0, math.nan])), "direction must be finite"),
        (lambda: directional(5, torch.ones(1)), "at least 2 coordinates"),
    ],
)
def test_impossible_data_are_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


@torch.no_grad()
def distances_along(
    model: nn.Module, points: Tensor, direction: Tensor, *, far: float = 40.0, step: float = 0.1
) -> Tensor:
    """How far each point is from another label along a direction, either way; inf beyond `far`."""
    own = model(points).argmax(dim=1)
    nearest = torch.full((len(points),), math.inf)
    for signed in (direction, -direction):
        grid = torch.arange(0, far, step)
        labels = torch.stack([model(point + grid[:, None] * signed).argmax(1) for point in points])
        other = labels != own[:, None]
        high = grid[other.float().argmax(dim=1)]
        low = (high - step).clamp(min=0)
        for _ in range(12):
            middle = (low + high) / 2
            beyond = model(points + middle[:, None] * signed).argmax(dim=1) != own
            low, high = middle.where(~beyond, low), middle.where(beyond, high)
        nearest = torch.minimum(nearest, high.where(other.any(dim=1), math.inf))
    return nearest


def test_a_perceptron_cuts_the_linear_feature_in_the_middle() -> None:
    data = linear_feature(2000, size=50)
    model = build_mlp(50, width=100, depth=3)
    train(model, data.dataset("T1", "train"), epochs=5, learning_rate=0.05, clip=1.0)
    points = linear_feature(60, size=50, split="test").points
    medians = [float(distances_along(model, points, u).median()) for u in data.basis.T[:3]]
    assert medians[0] == pytest.approx(5.0, rel=0.1)
    assert min(medians[1:]) > 20


@pytest.mark.parametrize(
    ("epsilon", "radius", "uses"), [(0.3, 0, 0), (1.0, 0.5, 0), (1.0, 2.0, 1), (0.0, 0, 1)]
)
def test_the_feature_used_switches_where_the_attack_reaches_across_the_first(
    epsilon: float, radius: float, uses: int
) -> None:
    data = two_features(4000, size=10, epsilon=epsilon)
    test = two_features(60, size=10, epsilon=epsilon, split="test")
    model = build_mlp(10, width=64, depth=4)
    train(
        model,
        data.dataset("T2", "train"),
        epochs=20,
        learning_rate=0.1,
        batch_size=200,
        clip=0.5,
        adversarial=Adversarial(2, radius, steps=3, bounds=None) if radius else None,
    )
    assert evaluate(model, test.dataset("T2", "test")).rate > 0.95
    first, second = (
        float(distances_along(model, test.points, u).median()) for u in data.basis.T[:2]
    )
    if uses == 0:
        assert first == pytest.approx(epsilon, rel=0.2)
        assert second > 20
    else:
        assert first > max(3 * epsilon, 3.0)
        assert second == pytest.approx(5.0, rel=0.2)
