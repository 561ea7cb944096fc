"""What margins refuse, what they censor, and what they leave as it was."""

import math

import numpy as np
import pytest
import torch
from margin_toys import Affine, Function, affine, conv, draws, images, predicted
from torch import nn

from robustkit.errors import InputError
from robustkit.margins import Margins, Whole, diagonal_blocks, margins, random_subspaces

SHAPE = (2, 8, 8)
BATCH = images(4)
PARTS = [*diagonal_blocks(SHAPE, 4, 2), Whole(SHAPE)]
WAYS = [{}, {"refine": "none"}, {"refine": "normal"}, {"legacy": True}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, *SHAPE)}, "empty"),
        ({"images": torch.full_like(BATCH, math.nan)}, "NaN"),
        ({"images": (255 * BATCH).to(torch.uint8)}, "floating"),
        ({"images": BATCH[0, 0, 0]}, "batch dimension"),
        ({"images": BATCH[:, :1]}, r"images of shape \(2, 8, 8\)"),
        ({"images": BATCH[0]}, r"images of shape \(2, 8, 8\)"),
        ({"subspaces": []}, "at least one subspace"),
        ({"subspaces": [Whole((128,))]}, r"images of shape \(128,\)"),
        ({"subspaces": [*PARTS, Whole((2, 4, 16))]}, r"images of shape \(2, 4, 16\)"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "shape"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"labels": torch.full((4,), -1)}, "5 classes"),
        ({"labels": torch.zeros(4)}, "int64"),
        ({"model": affine(1)}, "at least two classes"),
        ({"model": Function(lambda x: x.sum())}, "logits"),
        ({"model": Function(lambda x: affine(3)(x.detach()).detach())}, "no gradient"),
        ({"model": affine(3).train()}, "training mode"),
        ({"candidates": 1}, "candidates"),
        ({"overshoot": -0.1}, "overshoot"),
        ({"overshoot": math.nan}, "overshoot"),
        ({"steps": 0}, "steps"),
        ({"chunk": 0}, "chunk"),
        ({"refine": "bisection"}, "Did you mean 'bisect'"),
        ({"refine": "newton"}, "Known: bisect, none, normal"),
        ({"max_margin": 0.0}, "max_margin"),
        ({"max_margin": -1.0}, "max_margin"),
        ({"max_margin": math.nan}, "max_margin"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": affine(5), "images": BATCH, "subspaces": PARTS, **arguments}
    with pytest.raises(InputError, match=message):
        margins(**arguments)


def test_a_wrong_shape_is_refused_before_any_pass():
    model = Function(affine(5))
    with pytest.raises(InputError):
        margins(model, BATCH, [*PARTS, Whole((2, 4, 16))])
    assert model.calls == []


def test_a_model_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double().eval()
    with pytest.raises(InputError, match="inference_mode"):
        margins(model, BATCH, PARTS)


@pytest.mark.parametrize(
    ("refine", "legacy"), [("none", False), ("bisect", False), ("normal", False), ("bisect", True)]
)
def test_a_margin_just_within_the_longest_is_found_and_one_just_beyond_is_not(refine, legacy):
    model, batch = affine(5), images(1)
    (exact,), _ = model.margins(batch, PARTS[-1:])
    exact = 1.02 * exact.item() if legacy else exact.item()
    options = {"refine": refine, "legacy": legacy, "perturbations": True}
    below = margins(model, batch, PARTS[-1:], max_margin=exact * (1 - 1e-6), **options)
    above = margins(model, batch, PARTS[-1:], max_margin=exact * (1 + 1e-6), **options)
    assert above.success.all()
    assert above.distances.item() == pytest.approx(exact, rel=2e-6)
    assert above.distances.item() <= exact * (1 + 2e-6)
    assert not below.success.any()
    assert below.distances.item() == math.inf
    assert below.targets.item() == -1
    assert (below.perturbations == 0).all()
    assert below.iterations.item() == 1


@pytest.mark.parametrize("options", WAYS)
def test_no_margin_is_longer_than_the_longest(options):
    model, batch = conv(smooth=False), images(8)
    parts = [*PARTS, *random_subspaces(SHAPE, 3, 2)]
    options = {"steps": 30, **options}
    free = margins(model, batch, parts, **options)
    most = free.distances.median().item()
    result = margins(model, batch, parts, max_margin=most, perturbations=True, **options)
    found = result.distances[result.success]
    assert (found <= most * (1 + 1e-12)).all()
    assert torch.equal(result.success, result.distances.isfinite())
    assert 0.4 < result.success.double().mean() < 0.9
    for offsets, success in zip(result.perturbations, result.success, strict=True):
        fooled = predicted(model, batch + offsets) != result.labels
        assert torch.equal(fooled, success)
    # What is well within is found as if there were no limit, or nearly all of it.
    assert result.success[free.distances <= 0.9 * most].double().mean() > 0.9
    # Who gets there is given up, and costs no more passes.
    if not options.get("legacy"):
        assert result.backwards.sum() <= free.backwards.sum()


def test_steps_run_out_as_published():
    model, batch = conv(), images(8)
    parts = [*diagonal_blocks(SHAPE, 2, 3), *random_subspaces(SHAPE, 3, 2)]
    full = margins(model, batch, parts, legacy=True)
    assert full.success.all()
    short = margins(model, batch, parts, steps=1, perturbations=True, legacy=True)
    assert torch.equal(short.success, full.iterations == 1)
    assert not short.success.all()
    assert (short.iterations == 1).all()
    assert (short.distances[~short.success] == math.inf).all()
    assert (short.perturbations[~short.success] == 0).all()
    torch.testing.assert_close(short.distances[short.success], full.distances[short.success])


def test_where_steps_run_out_the_direction_is_followed():
    model, batch = conv(), images(8)
    parts = [*diagonal_blocks(SHAPE, 2, 3), *random_subspaces(SHAPE, 3, 2)]
    short = margins(model, batch, parts, steps=1, perturbations=True)
    assert (short.iterations == 1).all()
    assert short.success.all()
    points = batch + short.perturbations.flatten(0, 1).reshape(len(parts), *batch.shape)
    for row in points:
        assert (model(row).argmax(1) != short.labels).all()
    # One step is not the whole way: the followed directions are longer.
    assert (short.distances >= margins(model, batch, parts, refine="normal").distances - 1e-9).all()


@pytest.mark.parametrize("start", [0.1, 0.6])
def test_a_plateau_and_a_wrong_sign_are_no_invariance(start):
    def plateau(points):
        x = points.flatten(1)[:, 0]
        lead = -1 + 0.5 * x.relu() - 0.5 * (x - 1).relu() + 2 * (x - 3).relu()
        return torch.stack([-lead, lead], dim=1)

    found = margins(Function(plateau), torch.full((1, 3), start).double(), [Whole((3,))])
    # The lead is zero at 3.25.
    assert found.distances.item() == pytest.approx(3.25 - start, rel=1e-6)


def test_an_overflow_is_stepped_back_from():
    def steep(points):
        x = points.flatten(1)[:, 0]
        lead = -1 + 1e-6 * torch.exp(20 * x)
        return torch.stack([-lead, lead], dim=1)

    found = margins(Function(steep), torch.zeros(1, 3).double(), [Whole((3,))])
    assert found.distances.item() == pytest.approx(math.log(1e6) / 20, rel=1e-6)


def spoiled(network, batch, rows, value):
    marks = batch[rows, 0, 0, 0]

    def forward(points):
        # By a pixel that no block of the test moves: the images stay spoiled.
        bad = (points[:, 0, 0, 0, None] == marks).any(dim=1)
        return torch.where(bad[:, None], value, network(points))

    return Function(forward)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("given", [False, True])
def test_images_with_no_finite_output_leave_the_others_alone(options, value, given):
    network, batch = conv(), images(6)
    labels = predicted(network, batch) if given else None
    plain = margins(network, batch, PARTS, labels, **options)
    model = spoiled(network, batch, [1, 4], value)
    result = margins(model, batch, PARTS, labels, perturbations=True, **options)
    good = [0, 2, 3, 5]
    torch.testing.assert_close(result.distances[:, good], plain.distances[:, good])
    assert torch.equal(result.targets[:, good], plain.targets[:, good])
    bad = [1, 4]
    assert (result.distances[:, bad] == math.inf).all()
    assert not result.success[:, bad].any()
    assert (result.targets[:, bad] == -1).all()
    assert (result.iterations[:, bad] == 0).all()
    assert (result.perturbations[:, bad] == 0).all()
    if not given:
        assert result.labels[bad].tolist() == [-1, -1]
        assert torch.equal(result.labels[good], plain.labels[good])


@pytest.mark.parametrize("options", WAYS)
def test_one_class_without_a_finite_output_spoils_its_image_and_no_steps_are_told(options):
    network, batch = conv(), images(4)
    mark = batch[2, 0, 0, 0].item()

    def forward(points):
        logits = network(points)
        bad = (points[:, 0, 0, 0] == mark)[:, None]
        last = torch.where(bad, -math.inf, logits[:, -1:])
        return torch.cat([logits[:, :-1], last], dim=1)

    result = margins(Function(forward), batch, PARTS, **options)
    assert result.success[:, [0, 1, 3]].all()
    assert (result.distances[:, 2] == math.inf).all()
    assert (result.iterations[:, 2] == 0).all()


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("label", [0, 1])
def test_a_point_without_finite_output_is_not_across_the_boundary(options, label):
    batch = images(1)
    weight = draws(2, 128, seed=3)
    weight[label] += batch.flatten()
    network = Affine(weight, torch.zeros(2, dtype=torch.float64))
    assert predicted(network, batch).item() == label

    def forward(points):
        logits = network(points)
        crossed = logits.argmax(dim=1, keepdim=True) != label
        return torch.where(crossed, math.nan, logits)

    result = margins(Function(forward), batch, PARTS[-1:], perturbations=True, **options)
    assert not result.success.any()
    assert result.distances.item() == math.inf


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("chunk", [3, 512])
def test_labels_that_are_wrong_have_margin_zero(options, chunk):
    model, batch = conv(), images(6)
    predictions = predicted(model, batch)
    plain = margins(model, batch, PARTS, **options)
    labels = predictions.clone()
    labels[:3] = (labels[:3] + 1) % 6
    result = margins(model, batch, PARTS, labels, chunk=chunk, perturbations=True, **options)
    assert (result.distances[:, :3] == 0).all()
    assert result.success[:, :3].all()
    assert (result.iterations[:, :3] == 0).all()
    assert torch.equal(result.targets[:, :3], predictions[:3].expand(len(PARTS), 3))
    assert (result.perturbations[:, :3] == 0).all()
    torch.testing.assert_close(result.distances[:, 3:], plain.distances[:, 3:], rtol=1e-8, atol=0)
    assert torch.equal(result.labels, labels)
    # The right labels are the default.
    same = margins(model, batch, PARTS, predictions, **options)
    torch.testing.assert_close(same.distances, plain.distances, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_serve(dtype):
    model, batch = conv(), images(4)
    labels = predicted(model, batch)
    result = margins(model, batch, PARTS, labels.to(dtype))
    assert result.labels.dtype == torch.int64
    assert torch.equal(result.labels, labels)
    assert torch.equal(result.distances, margins(model, batch, PARTS, labels).distances)


def test_a_tie_of_all_logits_is_a_boundary_like_any_other():
    model = Affine(draws(3, 128, seed=1), torch.zeros(3, dtype=torch.float64))
    result = margins(model, torch.zeros(1, *SHAPE).double(), PARTS, perturbations=True)
    assert result.success.all()
    assert (result.distances < 1e-12).all()


def test_a_model_without_a_gradient_somewhere_has_no_margin():
    model = Function(lambda x: 0 * x.flatten(1)[:, :3] + torch.tensor([1.0, 0.0, 0.5]))
    for options in WAYS:
        result = margins(model, BATCH, PARTS, **options)
        assert not result.success.any()
        assert (result.iterations == 0).all()
        assert result.labels.tolist() == [0] * 4


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_runs_where_the_caller_wants_no_gradients(options, mode):
    model, batch = conv(), images(4)
    expected = margins(model, batch, PARTS, **options)
    with mode():
        # The subspaces are made there, too.
        parts = [*diagonal_blocks(SHAPE, 4, 2), Whole(SHAPE), *random_subspaces(SHAPE, 5)]
        result = margins(model, batch.clone(), parts, perturbations=True, **options)
    torch.testing.assert_close(result.distances[:4], expected.distances, rtol=1e-12, atol=0)
    for tensor in (result.distances, result.perturbations, result.labels, result.forwards):
        assert not tensor.is_inference()
    again = margins(model, batch, parts, **options)
    torch.testing.assert_close(again.distances, result.distances, rtol=1e-12, atol=0)


@pytest.mark.parametrize("options", WAYS)
def test_nothing_of_the_caller_is_changed(options):
    model, batch = conv(), images(5)
    model[0].weight.requires_grad_(False)
    model[2].weight.grad = torch.ones_like(model[2].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    kept, state = batch.clone(), torch.random.get_rng_state()
    labels = predicted(model, batch)
    labels[0] = (labels[0] + 1) % 6
    given = labels.clone()
    leaf = batch.clone().requires_grad_()
    result = margins(model, leaf, PARTS, labels, perturbations=True, **options)
    assert torch.equal(leaf.detach(), kept)
    assert leaf.grad is None
    assert torch.equal(labels, given)
    assert not result.distances.requires_grad
    assert not result.perturbations.requires_grad
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(model[2].weight.grad, torch.ones_like(model[2].weight))
    assert model[0].weight.grad is None
    assert model[6].weight.grad is None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), state)
    result.perturbations.add_(1)
    assert torch.equal(batch, kept)


def table(distances):
    distances = torch.as_tensor(distances, dtype=torch.float64)
    count, number = distances.shape
    zeros = torch.zeros(number, dtype=torch.int64)
    return Margins(
        subspaces=tuple("abcdef"[:count]),
        dims=tuple(range(1, count + 1)),
        size=16,
        distances=distances,
        success=distances.isfinite(),
        iterations=torch.arange(count * number).reshape(count, number),
        targets=torch.where(distances.isfinite(), 1, -1),
        labels=zeros,
        forwards=zeros,
        backwards=zeros,
        forward_calls=0,
        backward_calls=0,
    )


INF = math.inf


def test_quantiles_count_censored_margins_as_the_largest():
    result = table([[3, 1, 2, 4, 5], [3, INF, 1, INF, 2], [INF, INF, 1, INF, 2], [INF] * 5])
    assert len(result) == 4
    assert result.found.tolist() == [1.0, 0.6, 0.4, 0.0]
    assert [one.estimate for one in result.medians()] == [3, 3, INF, INF]
    assert [one.estimate for one in result.quantile(0.2)] == [1, 1, 1, INF]
    assert [one.estimate for one in result.quantile(0.9)] == [5, INF, INF, INF]
    assert [one.count for one in result.medians()] == [5] * 4
    assert {one.level for one in result.medians(level=0.8)} == {0.8}
    for one in result.medians():
        assert one.low <= one.estimate <= one.high
    for probability in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="probability"):
            result.quantile(probability)
    with pytest.raises(InputError, match="level"):
        result.medians(level=1.0)
    with pytest.raises(InputError, match='"order" or "bootstrap"'):
        result.medians(method="mean")


def test_bootstrapped_medians_know_censored_margins():
    rows = draws(3, 41).abs()
    rows[1, :15] = INF
    rows[2, :] = INF
    result = table(rows)
    order, boot = result.medians(), result.medians(method="bootstrap", seed=1)
    assert [one.estimate for one in boot] == [one.estimate for one in order]
    assert boot[0].low < boot[0].estimate < boot[0].high < INF
    assert boot[1].low < boot[1].estimate <= boot[1].high
    assert (boot[2].low, boot[2].high) == (INF, INF)
    assert boot == result.medians(method="bootstrap", seed=1)


def test_the_frame_has_a_row_for_each_pair():
    result = table([[3, INF, 1], [0, 2, INF]])
    frame = result.frame()
    assert list(frame.columns) == [
        "subspace", "dim", "image", "distance", "success", "iterations", "target",
    ]  # fmt: skip
    assert frame["subspace"].tolist() == ["a"] * 3 + ["b"] * 3
    assert frame["dim"].tolist() == [1] * 3 + [2] * 3
    assert frame["image"].tolist() == [0, 1, 2] * 2
    assert frame["distance"].tolist() == [3, INF, 1, 0, 2, INF]
    assert frame["success"].tolist() == [True, False, True, True, True, False]
    assert frame["iterations"].tolist() == list(range(6))
    assert frame["target"].tolist() == [1, -1, 1, 1, 1, -1]


def test_the_null_curve_of_a_table_uses_its_dimensions():
    result = table([[1.0], [1.0], [1.0], [1.0]])
    assert result.null_curve(3.0) == pytest.approx([12 / math.sqrt(dim) for dim in (1, 2, 3, 4)])
    assert result.null_curve(INF) == [INF] * 4
    with pytest.raises(InputError, match="at least 0"):
        result.null_curve(-1.0)


def test_a_measurement_feeds_its_table():
    model, batch = affine(5), images(12)
    result = margins(model, batch, PARTS, max_margin=1.0)
    frame, row = result.frame(), np.asarray(result.distances)[0]
    assert len(frame) == len(PARTS) * 12
    assert result.medians()[0].estimate == pytest.approx(np.median(row))
    assert result.subspaces == ("0", "1", "2", "whole space")
    assert result.dims == (32, 32, 32, 128)
    assert result.size == 128
    assert result.perturbations is None
    assert result.null_curve(0.5)[-1] == 0.5
