"""JSMA: the best pair by brute force, the published loop on one image, targets and budgets."""

import math
import sys

import pytest
import torch
from attack_toys import Affine, Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit import rng
from robustkit.attacks.jsma import best_pairs, jsma
from robustkit.errors import InputError

BATCH = images(4, (1, 4, 5))


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def components(result):
    return (result.adversarial != result.images).flatten(1).sum(1)


def saliencies(rises, falls):
    """The saliency of every pair of one image, minus one where it has none."""
    up, down = rises[:, None] + rises, falls[:, None] + falls
    scores = torch.where((up > 0) & (down > 0), up * down, -1.0)
    return scores.fill_diagonal_(-1.0)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.integers(2, 30),
    correlation=st.sampled_from([-1.0, -0.9, 0.0, 0.9, 1.0]),
    shift=st.sampled_from([-2.0, 0.0, 2.0]),
    grid=st.booleans(),
    pairs=st.sampled_from([1, 100, 2**22]),
)
def test_the_best_pair_is_the_best_of_all_pairs(seed, size, correlation, shift, grid, pairs):
    draw = generator(seed)
    rises, noise = torch.randn(2, 4, size, generator=draw, dtype=torch.float64)
    falls = correlation * rises + math.sqrt(1 - correlation**2) * noise + shift
    if grid:
        # Many ties.
        rises, falls = rises.round(), falls.round()
    absent = torch.rand(4, size, generator=draw) < 0.2
    rises[absent], falls[absent] = -math.inf, -math.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[jsma.__module__], "_PAIRS", pairs)
        chosen, found = best_pairs(rises, falls)
    for row in range(4):
        scores = saliencies(rises[row], falls[row])
        assert found[row] == (scores.max() >= 0)
        if found[row]:
            assert scores[tuple(chosen[row])] == scores.max()


def test_pairs_on_a_front_are_all_compared():
    # On a quarter of a circle no component is better than another in both respects.
    angle = torch.rand(1, 400, generator=generator(), dtype=torch.float64) * math.pi / 2
    chosen, found = best_pairs(angle.cos(), angle.sin())
    scores = saliencies(angle.cos()[0], angle.sin()[0])
    assert found.all()
    assert scores[tuple(chosen[0])] == scores.max()


def test_pairs_of_a_large_image_need_no_square_of_memory():
    # All pairs of 224 x 224 x 3 components would be 90 GB.
    draw = generator()
    rises, falls = torch.randn(2, 2, 3 * 224 * 224, generator=draw)
    chosen, found = best_pairs(rises, falls)
    assert found.all()
    # No component can do better than the best, twice, and a good pair is at least this good.
    score = rises.gather(1, chosen).sum(1) * falls.gather(1, chosen).sum(1)
    good = (rises + falls).topk(2, dim=1).indices
    assert (score >= rises.gather(1, good).sum(1) * falls.gather(1, good).sum(1)).all()


def test_the_pair_is_the_one_worked_out_by_hand():
    # Class 1 rises with components 0 and 3, class 0 falls with 2 and 3; 1 does the contrary.
    weight = torch.tensor([[0.0, 5.0, -3.0, -2.0], [1.0, 0.0, 0.5, 2.0]])
    model, image = Affine(weight, torch.tensor([5.0, 0.0])), torch.full((1, 4), 0.5)
    # Pairs: 02 1.5 * 3, 03 3 * 2, 23 2.5 * 5; with component 1 the label rises.
    result = jsma(model, image, budget=0.5)
    assert result.adversarial.tolist() == [[0.5, 0.5, 1.0, 1.0]]
    # Decreasing, the pairs with 1 serve: only there the target rises or the label falls.
    weight = torch.tensor([[1.0, 5.0, 3.0, -2.0], [-1.0, 0.0, 0.5, -2.0]])
    model = Affine(weight, torch.tensor([5.0, 0.0]))
    # Downwards: 01 1 * 6, 02 0.5 * 4, 03 3 * -1, 12 -0.5, 13 2 * 3, 23 1.5 * 1: a tie of 01, 13.
    result = jsma(model, image, budget=0.5, theta=-0.25)
    assert result.adversarial.tolist()[0][1] == 0.25
    assert components(result).tolist() == [2]


def reference(model, image, label, target, *, theta, iterations, targeted):
    """One image, all pairs at once, and the gradients of every class by itself."""
    point, open_ = image.clone(), torch.ones(image.numel(), dtype=torch.bool)
    for count in range(iterations + 1):
        variable = point.clone().requires_grad_()
        logits = model(variable[None])[0]
        top = logits.argmax().item()
        if (top == target) if targeted else (top != label):
            return point, count
        if count == iterations:
            break
        jacobian = torch.stack(
            [
                torch.autograd.grad(logit, variable, retain_graph=True)[0].flatten()
                for logit in logits
            ]
        )
        sign = 1 if theta > 0 else -1
        rise = sign * jacobian[target]
        fall = -sign * torch.cat([jacobian[:target], jacobian[target + 1 :]]).sum(0)
        closed = ~open_
        scores = saliencies(
            rise.masked_fill(closed, -math.inf), fall.masked_fill(closed, -math.inf)
        )
        if scores.max() < 0:
            break
        flat = point.flatten()
        for component in divmod(scores.argmax().item(), image.numel()):
            flat[component] = (flat[component] + theta).clamp(0, 1)
            if flat[component] == (1 if theta > 0 else 0):
                open_[component] = False
        point = flat.reshape(image.shape)
    return point, count


@pytest.mark.parametrize("theta", [1.0, -1.0, 0.25, -0.3])
@pytest.mark.parametrize("targeted", [True, False])
def test_it_is_the_published_algorithm(theta, targeted, monkeypatch):
    model, batch = conv(), images(5).clamp(0.01, 0.99)
    labels = predicted(model, batch)
    targets = (labels + torch.arange(1, 6)) % 6
    if not targeted:
        monkeypatch.setattr(
            rng,
            "uniform",
            lambda *_: ((targets - (targets > labels).long()) / 5 + 0.1)[:, None],
        )
    result = jsma(model, batch, targets=targets if targeted else None, theta=theta, budget=0.2)
    options = {"theta": theta, "iterations": 12, "targeted": targeted}
    for row in range(5):
        pair = labels[row].item(), targets[row].item()
        expected, count = reference(model, batch[row], *pair, **options)
        torch.testing.assert_close(result.adversarial[row], expected, rtol=0, atol=1e-12)
        assert result.iterations[row] == count
    assert torch.equal(result.success, judged_anew(model, result))


def revealing(classes):
    """A model whose logit k is the mean of components 2k and 2k + 1: changes show the target."""
    weight = torch.eye(classes).repeat_interleave(2, dim=1) - 0.05
    return Affine(weight, 10.0 * torch.eye(classes)[0])


def test_targets_are_random_classes_other_than_the_label_and_keyed():
    model, batch = revealing(4), torch.full((900, 8), 0.5)
    result = jsma(model, batch, budget=0.25, seed=3)
    assert not result.success.any()
    changed = (result.perturbation != 0).reshape(900, 4, 2)
    assert changed.flatten(1).sum(1).eq(2).all()
    targets = changed.all(2).int().argmax(1)
    # 900 draws of three classes; five standard deviations are 71.
    assert torch.bincount(targets, minlength=4)[0] == 0
    assert (torch.bincount(targets)[1:] - 300).abs().max() < 71
    rows = torch.tensor([5, 700, 31])
    part = jsma(model, batch[rows], budget=0.25, seed=3, indices=rows, chunk=2)
    assert torch.equal(part.adversarial, result.adversarial[rows])
    assert not torch.equal(jsma(model, batch, budget=0.25, seed=4).adversarial, result.adversarial)


def test_a_target_is_reached_past_other_classes():
    # Class 1 takes over after one pair, class 2 after the second.
    weight = torch.tensor([[-3.0] * 4, [0.1, 0.1, 0.0, 0.0], [1.0, 1.0, 2.0, 2.0]])
    model, batch = Affine(weight, torch.tensor([8.0, 5.0, 0.0])), torch.zeros(1, 4)
    any_class = jsma(model, batch, budget=1.0)
    assert (any_class.predictions.tolist(), any_class.iterations.tolist()) == ([1], [1])
    driven = jsma(model, batch, targets=torch.tensor([2]), budget=1.0)
    assert (driven.predictions.tolist(), driven.iterations.tolist()) == ([2], [2])
    # A success that is not at its target.
    short = jsma(model, batch, targets=torch.tensor([2]), budget=0.5)
    assert (short.predictions.tolist(), short.success.tolist()) == ([1], [True])
    own = jsma(model, batch, targets=torch.tensor([0]), budget=1.0)
    assert torch.equal(own.adversarial, batch)
    assert (own.success.tolist(), own.iterations.tolist()) == ([False], [0])


def test_the_budget_is_kept_and_more_of_it_never_hurts():
    model, batch = conv(smooth=False), images(10)
    previous = None
    for budget in (0.02, 0.05, 0.2, 1.0):
        result = jsma(model, batch, budget=budget)
        limit = 2 * math.floor(budget * 64)
        assert (components(result) <= limit).all()
        assert (result.iterations <= limit // 2).all()
        assert torch.equal(result.success, judged_anew(model, result))
        if previous is not None:
            assert torch.equal(
                result.adversarial[previous.success], previous.adversarial[previous.success]
            )
            assert (result.success | ~previous.success).all()
        previous = result
    assert 0 < jsma(model, batch, budget=0.05).success.sum() < 10


def test_a_budget_of_so_many_components_pays_for_all_of_them():
    # In floating point 58 / 100 * 100 is less than 58.
    batch = torch.full((1, 100), 0.5)
    assert jsma(revealing(50), batch, theta=0.01, budget=58 / 100).iterations.tolist() == [29]


@pytest.mark.parametrize("theta", [1.0, 0.2, 0.1, 0.05])
def test_components_reach_their_bounds_exactly_and_leave(theta):
    # Rounding must not leave a last small step to take.
    steps = round(1 / theta)
    weight = torch.tensor([[-1.0, -1.0], [1.0, 0.5]]).repeat(1, 2 * steps)
    model, batch = Affine(weight, torch.tensor([999.0, 0.0])), torch.zeros(1, 4 * steps)
    bounds = (batch - 0.3, batch + 1.0)
    result = jsma(model, batch - 0.3, theta=theta, bounds=bounds, budget=1.0)
    assert result.iterations.tolist() == [2 * steps]
    assert (result.adversarial == bounds[1]).sum() == 4
    assert components(result).tolist() == [4]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    room=st.sampled_from([0.05, 0.3, 1.0]),
    theta=st.sampled_from([1.0, -1.0, 0.37, -0.05]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    given_labels=st.booleans(),
)
def test_results_are_in_bounds_and_success_is_true(seed, room, theta, dtype, given_labels):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(5, 2, 8, 8, generator=draw, dtype=dtype)
    batch = torch.where(torch.rand(batch.shape, generator=draw) < 0.2, batch.round(), batch)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    lower[:, :, 6:], upper[:, :, 6:] = batch[:, :, 6:], batch[:, :, 6:]
    labels = torch.randint(6, (5,), generator=draw) if given_labels else None
    before = batch.clone()
    result = jsma(model, batch, labels, theta=theta, bounds=(lower, upper), seed=seed)
    assert torch.equal(batch, before)
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.adversarial[:, :, 6:], batch[:, :, 6:])
    assert ((result.perturbation * theta) >= 0).all()
    assert (components(result) <= 2 * result.iterations).all()
    already = result.labels != predicted(model, batch)
    assert torch.equal(result.adversarial[already], batch[already])
    assert (result.iterations[already] == 0).all()


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_the_rest_of_the_batch_does_not_matter(chunk):
    model, batch = conv(), images(9)
    labels = predicted(model, batch)
    labels[3] = (labels[3] + 1) % 6
    whole = jsma(model, batch, labels)
    rows = torch.tensor([6, 3, 0, 2])
    part = jsma(model, batch[rows], labels[rows], indices=rows, chunk=chunk)
    assert torch.equal(part.adversarial, whole.adversarial[rows])
    assert torch.equal(part.iterations, whole.iterations[rows])


def test_the_passes_are_counted_as_made():
    model = Lambda(conv())
    batch = images(9)
    labels = predicted(model.function, batch)
    labels[:2] = (labels[:2] + 1) % 6
    result = jsma(model, batch, labels, chunk=4)
    assert result.forwards[:2].tolist() == [1, 1]
    assert result.backwards[:2].tolist() == [0, 0]
    # Clean and returned, and each iteration; one more if it was seen to fool, and a few for
    # graphs that were made anew for those who stayed.
    assert (result.forwards[2:] >= result.iterations[2:] + 2).all()
    assert (result.backwards[2:] >= 2 * result.iterations[2:]).all()
    assert (result.forward_calls, int(result.forwards.sum())) == (model.calls, model.images)
    longest = int(result.iterations.max())
    assert result.backward_calls <= 2 * 2 * (longest + 1)


def test_the_number_of_calls_does_not_grow_with_the_batch():
    for count in (3, 30):
        result = jsma(revealing(8), torch.full((count, 16), 0.5), theta=0.1, budget=0.5)
        assert result.iterations.tolist() == [4] * count
        assert (result.forward_calls, result.backward_calls) == (6, 8)


@pytest.mark.parametrize("targets", [None, torch.tensor([0, 1, 2, 0])])
@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.full((len(x), 3), math.nan, dtype=x.dtype) * x.sum(),
        lambda x: x.flatten(1)[:, :3] * math.inf,
        lambda x: 0 * x.flatten(1)[:, :3] + torch.arange(3.0),
        lambda x: nn.Parameter(torch.arange(3.0, dtype=x.dtype)).expand(len(x), 3),
        lambda x: (0 * x.flatten(1)[:, :3]).sqrt() + torch.arange(3.0),
    ],
)
def test_a_model_without_finite_gradients_is_never_fooled(forward, targets):
    model = Lambda(forward)
    result = jsma(model, BATCH, targets=targets, budget=1.0)
    assert not result.success.any()
    assert torch.equal(result.adversarial, BATCH)
    assert result.iterations.tolist() == [0] * 4
    assert model.calls < 6


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("targets", [None, torch.tensor([1, 1])])
def test_an_output_that_turns_infinite_on_the_way_returns_clean(broken, targets):
    def forward(x):
        total = x.sum(1)
        late = torch.where(total > 2.5, broken, 0.0)
        if targets is None:
            return torch.stack([9 - total, total - late], dim=1)
        return torch.stack([9 - total, total, -late], dim=1)

    batch = torch.full((2, 4), 0.5)
    result = jsma(Lambda(forward), batch, targets=targets, budget=1.0)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert result.predictions.tolist() == [0, 0]
    assert result.iterations.tolist() == [1, 1]


def test_small_gradients_are_no_smaller_for_the_search():
    model, batch = conv(dtype=torch.float32), images(4, dtype=torch.float32)
    tiny = Lambda(lambda x: 1e-30 * model(x))
    expected = jsma(model, batch, budget=0.2)
    assert torch.equal(jsma(tiny, batch, budget=0.2).adversarial, expected.adversarial)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_runs_where_the_caller_wants_no_gradients(mode):
    model, batch = conv(), images(4)
    expected = jsma(model, batch)
    with mode():
        result = jsma(model, batch + 0)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_serves(dtype):
    model, batch = affine(3, dtype=dtype), images(6, (1, 4, 5), dtype=dtype)
    result = jsma(model, batch, budget=1.0)
    assert result.adversarial.dtype == dtype
    assert result.success.any()
    assert torch.equal(result.success, judged_anew(model, result))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"model": affine(3).train()}, "training mode"),
        ({"model": Lambda(lambda x: affine(3)(x.detach()).detach())}, "no gradient"),
        ({"targets": torch.full((4,), 5)}, "targets: .*5 classes"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, "targets: .*shape"),
        ({"targets": torch.zeros(4)}, "targets: .*int64"),
        ({"theta": 0.0}, "theta"),
        ({"theta": 1.5}, "theta"),
        ({"theta": math.nan}, "theta"),
        ({"budget": 0.0}, "budget"),
        ({"budget": 1.1}, "budget"),
        ({"budget": 0.05}, "does not pay for one pair"),
        ({"indices": torch.arange(3)}, "indices"),
        ({"indices": torch.zeros(4)}, "indices"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": None}, "needs bounds"),
        ({"bounds": (0.5, 1.0)}, "outside the given bounds"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": affine(5), "images": BATCH, **arguments}
    with pytest.raises(InputError, match=message):
        jsma(**arguments)
