"""Distances between features: closed forms on the circle, and what the last layer is given."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustkit.corruptions.benchmark.distance import minimum_distance, penultimate_features
from robustkit.errors import InputError


def circle(degrees):
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def test_angles_on_the_circle():
    augmented = circle([0.0, 90.0]) * torch.tensor([[5.0], [0.1]])
    corrupted = 3 * circle([0.0, 30.0, 60.0, 225.0, 270.0])
    angles = torch.tensor([0, 30, 30, 135, 90], dtype=torch.float64) * math.pi / 180
    torch.testing.assert_close(minimum_distance(augmented, corrupted), 1 - angles.cos())


def test_the_distance_is_between_zero_and_two():
    one, opposite = circle([40.0]).float(), circle([220.0]).float()
    assert minimum_distance(one, 7 * one).tolist() == [0.0]
    assert minimum_distance(one, opposite).tolist() == pytest.approx([2.0])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shapes=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
    chunk=st.integers(1, 10),
)
def test_it_is_the_smallest_of_all_pairs(seed, shapes, chunk):
    generator = torch.Generator().manual_seed(seed)
    many, few, size = shapes
    augmented = torch.randn(many, size, generator=generator, dtype=torch.float64)
    corrupted = torch.randn(few, size, generator=generator, dtype=torch.float64)
    pairs = 1 - nn.functional.cosine_similarity(augmented[:, None], corrupted[None], dim=2)
    found = minimum_distance(augmented, corrupted, chunk=chunk)
    torch.testing.assert_close(found, pairs.min(dim=0).values, rtol=0, atol=1e-12)


def test_groups_are_compared_within_themselves():
    generator = torch.Generator().manual_seed(0)
    augmented = torch.randn(2, 3, 7, 4, generator=generator)
    corrupted = torch.randn(2, 3, 5, 4, generator=generator)
    found = minimum_distance(augmented, corrupted, chunk=2)
    assert found.shape == (2, 3, 5)
    alone = minimum_distance(augmented[1, 2], corrupted[1, 2])
    torch.testing.assert_close(found[1, 2], alone)


def test_half_precision_is_compared_in_single():
    features = torch.tensor([[1.0, 0.0], [1.0, 1e-3]], dtype=torch.float16)
    found = minimum_distance(features[:1], features[1:])
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(5e-7, rel=1e-2)


def test_features_without_a_direction_are_refused():
    fine = torch.ones(2, 3)
    for wrong in (0.0, math.inf, math.nan):
        with pytest.raises(InputError, match="no direction"):
            minimum_distance(fine, torch.full((1, 3), wrong))
    with pytest.raises(InputError, match="same leading axes"):
        minimum_distance(fine, torch.ones(2, 4))
    with pytest.raises(InputError, match="same leading axes"):
        minimum_distance(fine[None], fine)
    with pytest.raises(InputError, match="same leading axes"):
        minimum_distance(torch.ones(3), fine)
    with pytest.raises(InputError, match="floating point and not empty"):
        minimum_distance(fine, fine.long())
    with pytest.raises(InputError, match="floating point and not empty"):
        minimum_distance(fine[:0], fine)
    with pytest.raises(InputError, match="chunk must be at least 1"):
        minimum_distance(fine, fine, chunk=0)


class Doubled(nn.Module):
    """Two linear layers, of which the one made first is applied last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.body = nn.Linear(5, 3), nn.Linear(12, 5)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images.flatten(1)).relu())


@pytest.mark.parametrize("batch_size", [1, 3, 512])
def test_features_enter_the_layer_that_is_applied_last(batch_size):
    model = Doubled()
    images = torch.rand(7, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    features = penultimate_features(model, images, batch_size=batch_size)
    assert features.shape == (7, 5)
    assert not features.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(features, model.body(images.flatten(1)).relu())
        torch.testing.assert_close(model.head(features), model(images))
    eight_bit = (images * 255).to(torch.uint8)
    torch.testing.assert_close(
        penultimate_features(model, eight_bit), penultimate_features(model, eight_bit / 255)
    )


def test_no_hook_stays_behind():
    model = Doubled()
    images = torch.rand(2, 3, 2, 2)
    penultimate_features(model, images)
    with pytest.raises(InputError, match="shapes cannot be multiplied"):
        penultimate_features(model, torch.rand(2, 3, 4, 4))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_models_without_features_are_refused():
    images = torch.rand(2, 3, 2, 2)
    with pytest.raises(InputError, match="hook of your own"):
        penultimate_features(nn.Flatten().eval(), images)
    with pytest.raises(InputError, match="hook of your own"):
        penultimate_features(nn.Sequential(nn.Linear(2, 2), nn.Flatten()).eval(), images)
    with pytest.raises(InputError, match="training mode"):
        penultimate_features(Doubled().train(), images)
    with pytest.raises(InputError, match="lie in"):
        penultimate_features(Doubled(), 255 * images + 2)
    with pytest.raises(InputError, match="batch_size"):
        penultimate_features(Doubled(), images, batch_size=0)
