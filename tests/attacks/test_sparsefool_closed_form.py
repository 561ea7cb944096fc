"""SparseFool on affine models: the boundary is a plane, and the sparsest way there is known."""

import itertools
import math

import pytest
import torch
from attack_toys import Affine, Lambda, Sphere, affine, images, judged_anew

from robustkit.attacks import sparsefool
from robustkit.attacks.measured_steps import MeasuredSteps
from robustkit.attacks.trial import Trial

# Of the published code: planes are passed by that much, along their unit normals.
MARGIN = 1e-3


def binary(shape, *, seed=0, away=0.0):
    """An affine model of two classes; its boundary is amid the images, or so much further away."""
    model, batch = affine(2, shape, seed=seed), images(12, shape, seed=seed + 50)
    with torch.no_grad():
        gaps = (model(batch) @ torch.tensor([-1.0, 1.0]).double()).sort().values
        model.bias[1] -= gaps[5:7].mean() + away
    return model, batch


def plane(model, batch):
    """The normals that lead out of each image's class, and the lead of the class."""
    logits = model(batch).detach()
    labels = logits.argmax(1)
    signs = torch.where(labels == 0, 1.0, -1.0).double()[:, None]
    gaps = logits.diff(dim=1)[:, 0].abs()
    return signs * (model.weight[1] - model.weight[0]).detach(), gaps


@pytest.mark.parametrize("reach", [1, 1.5, 3])
@pytest.mark.parametrize("overshoot", [0.0, 0.02])
def test_as_published_the_steepest_component_goes_so_far(reach, overshoot):
    model, batch = binary((1, 4, 5))
    result = sparsefool(
        model, batch, legacy=True, reach=reach, overshoot=overshoot, bounds=(-1e3, 1e3)
    )
    normals, gaps = plane(model, batch)
    lengths = normals.norm(dim=1)
    assert result.success.all()
    assert result.iterations.tolist() == [1] * 12
    assert result.components.tolist() == [1] * 12
    moves = result.perturbation.flatten(1)
    steepest = normals.abs().argmax(1, keepdim=True)
    assert torch.equal(moves.abs().argmax(1, keepdim=True), steepest)
    slopes = normals.gather(1, steepest)[:, 0]
    expected = (1 + overshoot) * (reach * gaps + MARGIN * lengths) / slopes
    torch.testing.assert_close(moves.gather(1, steepest)[:, 0], expected, rtol=1e-9, atol=1e-9)


def test_the_published_length_is_the_shortest_but_for_its_constants():
    model, batch = binary((1, 4, 5))
    normals, gaps = plane(model, batch)
    shortest = gaps / normals.abs().amax(1)
    for reach, low, high in ((1, 1.02, 1.1), (3, 3.06, 3.15)):
        result = sparsefool(model, batch, legacy=True, reach=reach, bounds=(-1e3, 1e3))
        far = gaps > 0.05 * normals.norm(dim=1)
        ratios = (result.l1 / shortest)[far]
        assert far.any()
        assert ((ratios > low) & (ratios < high)).all()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_plane_is_that_of_the_nearest_class(classes):
    model, batch = affine(5), images(20, (1, 4, 5))
    result = sparsefool(
        model, batch, legacy=True, reach=1, overshoot=0, classes=classes, bounds=(-1e3, 1e3)
    )
    logits = model(batch).detach()
    own = logits.argmax(1, keepdim=True)
    normals = (model.weight - model.weight[own]).detach()
    distances = (logits.gather(1, own) - logits) / normals.norm(dim=2)
    ranked = logits.argsort(dim=1, descending=True)
    allowed = torch.zeros_like(logits, dtype=torch.bool)
    allowed.scatter_(1, ranked[:, 1:classes], True)
    nearest = distances.where(allowed, math.inf).argmin(1)
    assert (result.components[result.iterations == 1] == 1).all()
    # The image lies beyond the plane of that class by the margin, in units of the input.
    first = result.iterations == 1
    assert first.sum() > 15
    leads = model(result.adversarial).detach()
    leads = (leads - leads.gather(1, own)).gather(1, nearest[:, None])[:, 0]
    steep = normals.norm(dim=2).gather(1, nearest[:, None])[:, 0]
    torch.testing.assert_close((leads / steep)[first], torch.full_like(steep, MARGIN)[first])


def fewest(model, image, unit):
    """Brute force: the size of the smallest set of units at their bounds that can fool."""
    normals, gaps = plane(model, image[None])
    normal, gap = normals[0].reshape(image.shape), gaps.item()
    gains = torch.where(normal > 0, normal * (1 - image), -normal * image)
    gains = gains.flatten(1).sum(0) if unit == "pixel" else gains.flatten()
    for size in range(1, len(gains) + 1):
        if any(sum(chosen) > gap for chosen in itertools.combinations(gains.tolist(), size)):
            return size
    return math.inf


@pytest.mark.parametrize("candidates", [0, 4, 16])
@pytest.mark.parametrize(("unit", "shape"), [("component", (1, 3, 4)), ("pixel", (3, 2, 5))])
def test_in_a_box_it_finds_the_fewest(unit, shape, candidates):
    counts = []
    for seed, away in enumerate((0.0, 2.0, 5.0)):
        model, batch = binary(shape, seed=seed, away=away)
        result = sparsefool(
            model, batch, unit=unit, candidates=candidates, moves=2, reach=1, overshoot=0
        )
        expected = [fewest(model, image, unit) for image in batch]
        assert result.success.tolist() == [count < math.inf for count in expected]
        found = result.pixels if unit == "pixel" else result.components
        # An image that needs more units than there are takes any number of them.
        assert found[result.success].tolist() == [n for n in expected if n < math.inf]
        counts += expected
    assert len({count for count in counts if count < math.inf}) > 2


def test_measured_gains_see_what_slopes_do_not():
    # The first component promises most, and turns back half way; the second keeps its word.
    def forward(x):
        up = torch.where(x[:, 0] < 0.5, x[:, 0], 1 - x[:, 0]) * 3
        return torch.stack([x.new_full((len(x),), 1.0), up + 1.6 * x[:, 1] + 0.1 * x[:, 2]], 1)

    batch = torch.full((1, 3), 0.1).double()
    result = sparsefool(Lambda(forward), batch)
    assert result.success.all()
    assert (result.perturbation != 0).tolist() == [[False, True, False]]
    published = sparsefool(Lambda(forward), batch, legacy=True)
    assert (published.perturbation[:, 0] != 0).all()


def test_more_candidates_do_not_hurt_on_planes_and_cost_passes():
    model, batch = binary((1, 5, 6))
    few, many = (sparsefool(model, batch, candidates=count) for count in (2, 16))
    assert (many.components <= few.components).all()
    assert (many.forwards > few.forwards).all()


@pytest.mark.parametrize("unit", ["component", "pixel"])
def test_the_scale_of_pixels_and_of_logits_is_no_matter(unit):
    # Powers of two, so that all but the published constants scale without rounding.
    model, batch = affine(4, (3, 4, 5)), images(10, (3, 4, 5))
    expected = sparsefool(model, batch, unit=unit)
    scaled = Lambda(lambda x: 2.0**-20 * model(x / 256))
    result = sparsefool(scaled, 256 * batch, unit=unit, bounds=(0.0, 256.0))
    assert torch.equal(result.adversarial, 256 * expected.adversarial)
    assert torch.equal(result.iterations, expected.iterations)


def test_an_image_on_the_boundary_has_a_way_out():
    # Dyadic numbers: the two logits are equal to the last bit, and the way has length zero.
    weight = torch.tensor([[1.0, 2.0, 3.0], [1.0, -2.0, 0.0]])
    model = Affine(weight.double(), torch.tensor([-1.75, 0.0]).double())
    batch = torch.tensor([[0.5, 0.25, 0.25]]).double()
    assert model(batch)[0].diff() == 0
    for options in ({"legacy": True}, {"candidates": 0}, {}):
        result = sparsefool(model, batch, **options)
        assert result.success.all()
        assert result.components.tolist() == [1]
        assert torch.equal(result.success, judged_anew(model, result))


def test_a_curved_boundary_takes_more_planes_the_shorter_they_reach():
    # Inside of a sphere the tangent plane lies beyond the boundary: one plane is enough.
    batch = torch.full((1, 8), 0.02).double()
    batch[0, 0] = 0.05
    outward = sparsefool(Sphere(0.5), batch, legacy=True, reach=1, bounds=(-1.0, 1.0))
    assert outward.success.all()
    assert outward.iterations.tolist() == [1]
    # From outside it lies before the boundary, and steps that reach less far are more.
    far = 0.1 * torch.ones(1, 8).double()
    far[0, 0] = 0.9
    inward = [
        sparsefool(Sphere(0.5), far, legacy=True, reach=reach, bounds=(-1.0, 1.0))
        for reach in (0.5, 1, 3)
    ]
    assert [result.success.item() for result in inward][1:] == [True, True]
    assert inward[0].iterations > inward[1].iterations >= inward[2].iterations


def test_a_component_that_was_moved_is_not_moved_back():
    # Each of the first two gains alone; both together lose, and either would go back.
    def forward(x):
        gain = 2 * x[:, 0] - 4 * x[:, 0] * x[:, 1] + 2.2 * x[:, 1] + 2 * x[:, 2]
        return torch.stack([torch.full_like(gain, 10.0), gain], 1)

    batch = torch.full((1, 3), 0.1).double()
    trial = Trial(Lambda(forward), batch, None, (0.0, 1.0), 512)
    steps = MeasuredSteps(trial, unit="component", candidates=4, moves=3, precision=None)
    assert steps.run(trial.standing, 5).tolist() == [0]
    assert trial.adversarial.tolist() == [[1.0, 1.0, 1.0]]
    assert trial.iterations.tolist() == [1]
