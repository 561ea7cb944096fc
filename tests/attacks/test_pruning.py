"""Pruning: what an adversarial image does not need goes home, and nothing else changes."""

import itertools
import math

import pytest
import torch
from attack_toys import Affine, Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.attacks import deepfool, pgd, prune, random_pixels
from robustkit.attacks.classifier import lead, rounding
from robustkit.errors import InputError


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def dense(model, batch, labels=None, radius=2.0, **options):
    """A perturbation of all components, most of which it does not need."""
    labels = predicted(model, batch) if labels is None else labels
    return pgd(model, batch, labels, norm="inf", radius=radius, steps=5, **options)


def fooled(model, points, labels):
    with torch.no_grad():
        logits = model(points)
    return lead(logits, labels) > rounding(logits)


def kept_at_least(model, clean, attacked, label):
    """Brute force: the fewest changed components that fool when the others are restored."""
    places = (clean != attacked).nonzero().squeeze(1).tolist()
    for size in range(len(places) + 1):
        chosen = list(itertools.combinations(places, size))
        points = clean.repeat(len(chosen), 1)
        for row, keep in enumerate(chosen):
            points[row, list(keep)] = attacked[list(keep)]
        if fooled(model, points, label.expand(len(chosen))).any():
            return size
    return math.inf


@pytest.mark.parametrize("size", [5, 10])
def test_of_an_affine_model_the_fewest_components_are_left(size):
    for seed in range(3):
        model, batch = affine(2, (size,), seed=seed), images(8, (size,), seed=seed + 9)
        attacked = dense(model, batch)
        result = prune(model, attacked)
        assert torch.equal(result.success, attacked.success)
        for row in attacked.success.nonzero().squeeze(1):
            expected = kept_at_least(
                model, batch[row], attacked.adversarial[row], attacked.labels[row]
            )
            assert result.components[row] == expected
    assert attacked.success.any()


def test_of_a_long_support_the_fewest_are_left_too():
    # Sorted gains say how many: the least are restored as long as their sum allows.
    model, batch = affine(2, (1, 20, 20)), images(6, (1, 20, 20))
    attacked = dense(model, batch, radius=0.5, early_stop=False)
    assert attacked.success.all()
    result = prune(model, attacked)
    normals = (model.weight[1] - model.weight[0]).detach()
    signs = torch.where(attacked.labels == 0, 1.0, -1.0)[:, None]
    with torch.no_grad():
        need = -lead(model(batch), attacked.labels)
    gains = (signs * normals * attacked.perturbation.flatten(1)).sort(descending=True).values
    expected = (gains.cumsum(1) <= need[:, None]).sum(1) + 1
    assert torch.equal(result.components, expected)
    # And it takes far fewer trials than there are components.
    trials = result.forwards - attacked.forwards
    assert (trials < 200).all()


@pytest.mark.parametrize("unit", ["component", "pixel"])
def test_nothing_that_is_left_of_an_affine_model_can_be_restored_alone(unit):
    model, batch = affine(4, (2, 5, 5)), images(6, (2, 5, 5))
    result = prune(model, dense(model, batch), unit=unit)
    assert result.success.all()
    for row in range(6):
        places = result.perturbation[row].nonzero()
        points = result.adversarial[row].repeat(len(places), 1, 1, 1)
        for number, place in enumerate(places.tolist()):
            points[(number, *place)] = batch[(row, *place)]
        labels = result.labels[row].expand(len(places))
        # Not with respect to the class that it fools into, which is the nearest one at the end.
        assert not fooled(model, points, labels).any()


def reference(model, clean, attacked, label, unit):
    """The blocks of one image, in plain loops."""
    point = attacked.clone().requires_grad_()
    logits = model(point[None])[0]
    others = logits.detach().clone()
    others[label] = -math.inf
    (slope,) = torch.autograd.grad(logits[others.argmax()] - logits[label], point)
    missed = slope * (attacked - clean)
    places = {}
    for place in (attacked != clean).nonzero().tolist():
        places.setdefault(tuple(place[1:]) if unit == "pixel" else tuple(place), []).append(place)
    worth = {
        key: sum(missed[tuple(place)].item() for place in members)
        for key, members in places.items()
    }
    order = sorted(places, key=lambda key: worth[key])
    block, done, current, trials = max(1, len(order) // 8), 0, attacked.clone(), 0
    while done < len(order):
        tried = current.clone()
        for key in order[done : done + block]:
            for place in places[key]:
                tried[tuple(place)] = clean[tuple(place)]
        trials += 1
        if predicted(model, tried[None]).item() != label:
            current, done, block = tried, done + block, 2 * block
        elif block == 1:
            done += 1
        else:
            block //= 2
    return current, trials


@pytest.mark.parametrize("unit", ["component", "pixel"])
@pytest.mark.parametrize("smooth", [True, False])
def test_it_is_what_a_plain_loop_does(unit, smooth):
    model, batch = conv(smooth=smooth), images(8)
    sparse = random_pixels(model, batch, components=torch.arange(1, 9) * 4)
    attacked = dense(model, batch)
    for before in (attacked, sparse):
        result = prune(model, before, unit=unit)
        for row in range(8):
            expected, trials = before.adversarial[row], 0
            label = before.labels[row].item()
            if before.success[row]:
                for stage in ("pixel", "component") if unit == "pixel" else ("component",):
                    expected, more = reference(model, batch[row], expected, label, stage)
                    # One more to order the units.
                    trials += more + 1
            torch.testing.assert_close(result.adversarial[row], expected, rtol=0, atol=0)
            # And two to judge the clean image and the outcome.
            assert result.forwards[row] - before.forwards[row] == trials + 2
    assert not sparse.success.all()
    assert (prune(model, attacked).components < attacked.components / 2).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    unit=st.sampled_from(["component", "pixel"]),
    radius=st.sampled_from([0.01, 0.1, 0.6]),
    norm=st.sampled_from([2, "inf"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    early_stop=st.booleans(),
)
def test_it_keeps_success_and_only_goes_home(seed, unit, radius, norm, dtype, early_stop):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(4, 2, 8, 8, generator=draw, dtype=dtype)
    lower, upper = (batch - 0.3).clamp(min=0), (batch + 0.4).clamp(max=1)
    labels = torch.randint(6, (4,), generator=draw)
    options = {"norm": norm, "radius": radius, "steps": 4, "early_stop": early_stop}
    before = pgd(model, batch, labels, bounds=(lower, upper), **options)
    result = prune(model, before, unit=unit, bounds=(lower, upper))
    assert torch.equal(result.success, before.success)
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.predictions, predicted(model, result.adversarial))
    assert torch.equal(result.labels, before.labels)
    assert torch.equal(result.iterations, before.iterations)
    moved = result.adversarial != batch
    assert torch.equal(result.adversarial[moved], before.adversarial[moved])
    assert (result.components <= before.components).all()
    failed = ~before.success
    assert torch.equal(result.adversarial[failed], before.adversarial[failed])
    wrong = predicted(model, batch) != labels
    assert torch.equal(result.adversarial[wrong], batch[wrong])
    # Once more has less to do, and never undoes.
    again = prune(model, result, unit=unit, bounds=(lower, upper))
    assert ((again.adversarial != batch) <= moved).all()


def test_pixels_are_restored_whole_and_then_by_components():
    # Two channels: the first pixel needs both, the second one, the third none.
    weight = torch.tensor([[0.0] * 6, [4.0, 3.0, 0.1, 4.0, 0.0, 0.1]]).double()
    model = Affine(weight, torch.tensor([10.5, 0.0]).double())
    batch = torch.zeros(1, 2, 1, 3).double()
    before = random_pixels(model, batch, components=3, seed=0, bounds=(0.0, 1.0))
    before.adversarial.fill_(1.0)
    before.success.fill_(True)
    for unit in ("pixel", "component"):
        result = prune(model, before, unit=unit)
        assert result.success.all()
        assert result.adversarial.flatten().tolist() == [1, 1, 0, 1, 0, 0]
        assert (result.pixels.item(), result.components.item()) == (2, 3)


def test_pixels_first_leaves_fewer_pixels():
    model, batch = conv(), images(24)
    before = dense(model, batch)
    by_pixel = prune(model, before, unit="pixel")
    by_component = prune(model, before)
    assert by_pixel.pixels.sum() < by_component.pixels.sum()
    assert by_component.components.sum() <= by_pixel.components.sum()


def test_images_misclassified_without_any_change_come_back_clean():
    model, batch = conv(), images(6)
    labels = predicted(model, batch)
    labels[:3] = (labels[:3] + 1) % 6
    before = dense(model, batch, labels, early_stop=False)
    assert (before.components[:3] > 0).all()
    result = prune(model, before)
    assert torch.equal(result.adversarial[:3], batch[:3])
    assert torch.equal(result.predictions[:3], predicted(model, batch[:3]))
    assert torch.equal(result.success, judged_anew(model, result))
    assert result.success[:3].all()


def test_images_without_a_finite_output_fail_alone():
    network = conv()

    def forward(x):
        logits = network(x)
        return torch.where(x[:, 0, 0, 0, None] == 0, torch.full_like(logits, math.nan), logits)

    batch = images(4)
    batch[1, 0, 0, 0] = 0.0
    before = deepfool(Lambda(forward), batch)
    assert before.labels[1] == -1
    result = prune(Lambda(forward), before)
    assert result.success.tolist() == [True, False, True, True]
    assert result.labels[1] == -1
    assert result.predictions[1] == -1
    assert torch.equal(result.adversarial[1], batch[1])
    rest = torch.tensor([0, 2, 3])
    expected = prune(network, deepfool(network, batch[rest]))
    assert torch.equal(result.adversarial[rest] != batch[rest], expected.perturbation != 0)


def test_restored_points_without_a_finite_output_do_not_count():
    # Restoring the first component alone breaks the output, which is no success.
    def forward(x):
        logits = torch.stack([x.new_full((len(x),), 0.8), x.sum(1)], 1)
        broken = (x[:, 0] == 0) & (x[:, 1] > 0)
        return torch.where(broken[:, None], torch.full_like(logits, math.nan), logits)

    batch = torch.zeros(1, 2).double()
    before = dense(Lambda(forward), batch, torch.zeros(1, dtype=torch.int64), early_stop=False)
    before.adversarial.copy_(torch.tensor([[0.875, 1.0]]))
    before.success.fill_(True)
    result = prune(Lambda(forward), before)
    assert result.success.all()
    assert result.adversarial.tolist() == [[0.875, 0.0]]


@pytest.mark.parametrize("chunk", [1, 3, 512])
@pytest.mark.parametrize("unit", ["component", "pixel"])
def test_the_rest_of_the_batch_does_not_matter(unit, chunk):
    model, batch = conv(), images(8)
    before = dense(model, batch, random_start=False)
    whole = prune(model, before, unit=unit)
    rows = torch.tensor([6, 1, 3])
    part = prune(model, dense(model, batch[rows], random_start=False), unit=unit, chunk=chunk)
    assert torch.equal(part.perturbation != 0, (whole.perturbation != 0)[rows])
    assert torch.equal(part.forwards, whole.forwards[rows])
    assert torch.equal(part.backwards, whole.backwards[rows])


def test_the_passes_are_added_as_made():
    network, batch = conv(), images(7)
    before = dense(network, batch)
    model = Lambda(network)
    result = prune(model, before, chunk=5)
    assert result.forward_calls - before.forward_calls == model.calls
    assert (result.forwards - before.forwards).sum() == model.images
    assert (result.backwards - before.backwards).tolist() == [1] * 7
    assert result.backward_calls - before.backward_calls == 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off_and_leaves_its_inputs_alone(mode):
    model, batch = conv(), images(4)
    before = dense(model, batch)
    kept = before.adversarial.clone()
    iterations, forwards = before.iterations.clone(), before.forwards.clone()
    expected = prune(model, before)
    with mode():
        result = prune(model, before)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert torch.equal(before.adversarial, kept)
    assert torch.equal(before.iterations, iterations)
    assert torch.equal(before.forwards, forwards)
    assert result.adversarial.data_ptr() != before.adversarial.data_ptr()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_serves(dtype):
    model, batch = conv(dtype=dtype), images(4, dtype=dtype)
    before = dense(model, batch)
    result = prune(model, before)
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.success, before.success)
    assert (result.components[before.success] < before.components[before.success]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "voxel"}, "unit"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": None}, "needs bounds"),
        ({"bounds": (0.4, 0.6)}, "outside the given bounds"),
        ({"model": conv().train()}, "training mode"),
        ({"model": conv(2)}, "2 classes"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    model, batch = conv(), images(8)
    arguments = {"model": model, "result": dense(model, batch), **arguments}
    with pytest.raises(InputError, match=message):
        prune(**arguments)
