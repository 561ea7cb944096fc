"""Quantization: closed forms on one component, bounds, repair, and the trip through a file."""

import math

import pytest
import torch
from attack_toys import Affine, Lambda, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.attacks import AttackResult, deepfool, pgd
from robustkit.attacks.quantization import quantize
from robustkit.data import to_float
from robustkit.errors import InputError

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def on_levels(count, shape=(2, 8, 8), *, seed=1, dtype=torch.float64):
    numbers = torch.randint(256, (count, *shape), generator=generator(seed))
    return to_float(numbers.to(torch.uint8), dtype)


def through_a_file(batch):
    return to_float((batch * 255).round().to(torch.uint8), batch.dtype)


def found(clean, adversarial, *, success=True, labels=0):
    """A result of label 0 and five steps that claims to fool."""
    zeros = torch.zeros(len(clean), dtype=torch.int64)
    succeeded = torch.full((len(clean),), success)
    return AttackResult(
        clean,
        adversarial,
        zeros + labels,
        zeros + 1,
        succeeded,
        zeros + 5,
        zeros + 7,
        zeros + 3,
        7,
        3,
    )


def threshold(at):
    """Class 1 where the sum of the image exceeds `at`."""
    return Lambda(lambda x: torch.stack([0 * x.flatten(1).sum(1), x.flatten(1).sum(1) - at], 1))


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def test_components_go_to_the_nearest_level_and_small_changes_go_home():
    level = torch.arange(256, dtype=torch.float64) / 255
    clean = level[[100, 100, 100, 100, 0, 255]][None]
    moved = torch.tensor([[100.0, 100.4, 103.6, 98.6, 0.7, 254.4]], dtype=torch.float64) / 255
    moved[0, 0] = clean[0, 0]
    result = quantize(threshold(-1.0), found(clean, moved))
    assert torch.equal(result.adversarial[0], level[[100, 100, 104, 99, 1, 254]])
    assert result.components.tolist() == [4]
    assert result.success.tolist() == [True]
    assert result.predictions.tolist() == [1]


@pytest.mark.parametrize("levels", [2, 3, 16, 256, 65536])
def test_any_number_of_levels(levels):
    steps = torch.arange(levels, dtype=torch.float64)
    clean = (steps.flip(0) / (levels - 1))[None]
    result = quantize(threshold(-1.0), found(clean, clean.flip(1)), levels=levels)
    assert torch.equal(result.adversarial, clean.flip(1))
    halves = (clean + torch.rand(clean.shape, generator=generator()).double()).clamp(max=1)
    numbers = quantize(threshold(-1.0), found(clean, halves), levels=levels).adversarial
    expected = (halves * (levels - 1)).round() / (levels - 1)
    torch.testing.assert_close(numbers, expected, rtol=0, atol=1e-12)


def test_rounding_is_inward_at_a_bound():
    clean = torch.full((1, 4), 100 / 255, dtype=torch.float64)
    # 110.6 is nearest to 111, which is beyond; so is 89 of 89.4. The others have room.
    moved = torch.tensor([[110.6, 89.4, 110.6, 89.4]], dtype=torch.float64) / 255
    lower = torch.tensor([0.0, 89.4, 0.0, 0.0]).double() / 255
    upper = torch.tensor([110.6, 255.0, 255.0, 255.0]).double() / 255
    result = quantize(threshold(-1.0), found(clean, moved), bounds=(lower, upper))
    assert torch.equal(result.adversarial[0], torch.tensor([110, 90, 111, 89]).double() / 255)


def test_pixels_outside_bounds_go_onto_them_first():
    clean = torch.full((1, 4), 100 / 255, dtype=torch.float64)
    moved = torch.tensor([[-3.0, 7.0, math.nan, math.inf]], dtype=torch.float64)
    for bounds in ((0.0, 1.0), None, (-1.0, 2.0)):
        result = quantize(threshold(-1.0), found(clean, moved), bounds=bounds)
        assert result.adversarial.tolist() == [[0.0, 1.0, clean[0, 0].item(), 1.0]]


def test_outward_repair_succeeds_where_the_nearest_level_fails():
    clean = torch.full((2, 3), 100 / 255, dtype=torch.float64)
    # One up, one down and one by less than half a level; 110.3 + 99.4 + 100.2 rounds down to 309.
    moved = torch.tensor([[110.3, 99.4, 100.2], [110.6, 100, 100]]).double() / 255
    moved[1, 1:] = clean[1, 1:]
    model = threshold(309.5 / 255)
    result = quantize(model, found(clean, moved))
    assert torch.equal(result.adversarial[0], torch.tensor([111, 99, 101]).double() / 255)
    assert result.success.tolist() == [True, True]
    assert result.predictions.tolist() == [1, 1]
    # The second needs no repair, and takes no part in it.
    assert torch.equal(result.adversarial[1], torch.tensor([111, 100, 100]).double() / 255)
    assert result.forwards.tolist() == [9, 8]
    assert result.backwards.tolist() == [3, 3]
    assert (result.forward_calls, result.backward_calls) == (9, 3)
    assert (model.calls, model.images) == (2, 3)
    assert result.iterations.tolist() == [5, 5]


def test_repair_stops_at_the_bounds():
    clean = torch.full((1, 2), 100 / 255, dtype=torch.float64)
    moved = torch.tensor([[110.3, 105.3]]).double() / 255
    upper = torch.tensor([110.4, 255.0]).double() / 255
    result = quantize(threshold(215.5 / 255), found(clean, moved), bounds=(0.0, upper))
    assert torch.equal(result.adversarial[0], torch.tensor([110, 106]).double() / 255)
    assert result.success.all()


def test_where_nothing_helps_it_fails_at_the_nearest_level():
    clean = torch.full((1, 2), 100 / 255, dtype=torch.float64)
    moved = torch.tensor([[110.3, 99.7]]).double() / 255
    model = threshold(400 / 255)
    result = quantize(model, found(clean, moved))
    assert torch.equal(result.adversarial[0], torch.tensor([110, 100]).double() / 255)
    assert not result.success.any()
    assert result.predictions.tolist() == [0]
    assert result.distance("pixels").tolist() == [math.inf]
    assert model.calls == 2
    # A failure of the attack needs no repair.
    model.calls = 0
    again = quantize(model, result)
    assert torch.equal(again.adversarial, result.adversarial)
    assert model.calls == 1


def test_one_image_without_finite_output_fails_alone():
    clean = torch.full((2, 2), 100 / 255, dtype=torch.float64)
    moved = clean + 5 / 255
    moved[1] += 5 / 255
    broken = Lambda(lambda x: threshold(0.0)(x) / (x[:, :1] < 108 / 255))
    result = quantize(broken, found(clean, moved))
    assert result.predictions.tolist() == [1, -1]
    assert result.success.tolist() == [True, False]


def test_images_without_a_label_stay_failures():
    clean = torch.full((1, 2), 100 / 255, dtype=torch.float64)
    result = quantize(threshold(0.0), found(clean, clean, success=False, labels=-1))
    assert result.labels.tolist() == [-1]
    assert not result.success.any()


def test_misclassified_images_stay_as_they_are():
    model, batch = conv(), on_levels(6)
    labels = predicted(model, batch)
    labels[:3] = (labels[:3] + 1) % 6
    result = quantize(model, deepfool(model, batch, labels, overshoot=0.5))
    assert torch.equal(result.adversarial[:3], batch[:3])
    assert result.iterations[:3].tolist() == [0] * 3
    assert result.success[:3].all()
    assert result.attacked.tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_8_bit_image_is_on_the_levels(dtype):
    numbers = torch.arange(256, dtype=torch.uint8)[None]
    clean = to_float(numbers, dtype)
    # What a device makes that multiplies with the reciprocal, and the double nearest to k/255.
    reciprocal = (numbers.to(torch.promote_types(dtype, torch.float32)) * (1 / 255)).to(dtype)
    for batch in (clean, reciprocal.clamp(max=1), (numbers.double() / 255).to(dtype)):
        assert torch.equal(quantize(threshold(-1.0), found(batch, batch)).adversarial, batch)
        # A file holds the same levels; 0 and 255 have nowhere to go.
        lit = quantize(threshold(-1.0), found(batch, clean.flip(1)))
        assert torch.equal(through_a_file(lit.adversarial), clean.flip(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_last_digit_of_another_device_stays(dtype):
    level = to_float(torch.tensor([[100, 101, 102]], dtype=torch.uint8), dtype)
    clean = torch.nextafter(level, torch.ones_like(level))
    # Frozen at a value just above its level; and free, with a change of one digit only.
    lower, upper = torch.zeros_like(clean), torch.ones_like(clean)
    lower[0, :2], upper[0, 0] = clean[0, :2], clean[0, 0]
    moved = clean.clone()
    moved[0, 2] = level[0, 2]
    result = quantize(threshold(400.0), found(clean, moved), bounds=(lower, upper))
    assert torch.equal(result.adversarial, clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repair_does_not_take_the_last_digit_for_a_distance(dtype):
    clean, level, outward = to_float(
        torch.tensor([[100, 100], [110, 105], [110, 106]], dtype=torch.uint8), dtype
    ).split(1)
    moved = torch.nextafter(level, torch.ones_like(level))
    moved[0, 1] = 105.3 / 255
    result = quantize(threshold(215.5 / 255), found(clean, moved))
    assert torch.equal(result.adversarial, outward)
    assert result.success.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attack", ["deepfool", "pgd"])
def test_what_fools_survives_a_file_bit_for_bit(attack, dtype):
    model, batch = conv(dtype=dtype), on_levels(24, dtype=dtype)
    labels = predicted(model, batch)
    if attack == "deepfool":
        result = deepfool(model, batch, labels)
    else:
        result = pgd(model, batch, labels, norm="inf", radius=0.1)
    assert not torch.equal(result.adversarial, through_a_file(result.adversarial))
    quantized = quantize(model, result, chunk=7)
    read = through_a_file(quantized.adversarial)
    assert torch.equal(read, quantized.adversarial)
    assert torch.equal(predicted(model, read), quantized.predictions)
    assert torch.equal(quantized.success, judged_anew(model, quantized))
    assert quantized.success.any()
    assert torch.equal(quantized.labels, labels)
    # The untouched are the same bits, and no component changes that had not.
    untouched = result.adversarial == batch
    assert torch.equal(quantized.adversarial[untouched], batch[untouched])


def test_repair_saves_images_of_a_network():
    model, batch = conv(), on_levels(48)
    result = deepfool(model, batch, overshoot=0.0)
    assert result.success.all()
    nearest = through_a_file(result.adversarial)
    alone = (predicted(model, nearest) != result.labels).sum()
    repaired = quantize(model, result).success.sum()
    assert alone < repaired


def plainly(model, clean, adversarial, label, lower, upper):
    """One image, component by component, in the words of the documentation."""
    nearest, outward = clean.clone(), clean.clone()
    for index in range(clean.numel()):
        was, now = clean[index].item(), adversarial[index].item()
        if was == now:
            continue
        inside = [k for k in range(256) if lower[index] <= k / 255 <= upper[index]]
        closest = min(inside, key=lambda k: abs(k / 255 - now))
        beyond = [k for k in inside if (k / 255 - now) * (1 if now > was else -1) >= 0]
        far = min(beyond, key=lambda k: abs(k / 255 - now), default=closest)
        nearest[index], outward[index] = closest / 255, far / 255
    for candidate in (nearest, outward):
        if predicted(model, candidate[None]).item() != label:
            return candidate, True
    return nearest, False


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), room=st.sampled_from([0.01, 0.1, 1.0]))
def test_it_is_what_a_plain_loop_does(seed, room):
    draw = generator(seed)
    normal = torch.randn(12, generator=draw, dtype=torch.float64)
    batch = on_levels(4, (12,), seed=seed)
    # The plane passes close to the images, so that rounding decides.
    model = Affine(torch.stack([0 * normal, normal]), torch.zeros(2).double())
    model.bias.data[1] = -(batch[0] @ normal) - 0.01
    noise = torch.rand(batch.shape, generator=draw, dtype=torch.float64)
    lower = (batch - room * noise).clamp(min=0)
    upper = (batch + room * noise.flip(1)).clamp(max=1)
    result = deepfool(model, batch, bounds=(lower, upper), overshoot=0.0)
    quantized = quantize(model, result, bounds=(lower, upper), chunk=3)
    for row in range(4):
        expected, fools = plainly(
            model, batch[row], result.adversarial[row], result.labels[row], lower[row], upper[row]
        )
        if not result.success[row]:
            # Failures are rounded without a repair.
            continue
        assert torch.equal(quantized.adversarial[row], expected)
        assert bool(quantized.success[row]) == fools


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    room=st.sampled_from([0.001, 0.03, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    overshoot=st.sampled_from([0.0, 0.1]),
)
def test_it_is_feasible_honest_and_idempotent(seed, room, dtype, overshoot):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = on_levels(5, seed=seed, dtype=dtype)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    frozen = torch.rand(batch.shape, generator=draw) < 0.3
    lower, upper = batch.where(frozen, lower), batch.where(frozen, upper)
    result = deepfool(model, batch, bounds=(lower, upper), overshoot=overshoot, steps=4)
    kept = result.adversarial.clone()
    once = quantize(model, result, bounds=(lower, upper))
    assert torch.equal(result.adversarial, kept)
    assert ((once.adversarial >= lower) & (once.adversarial <= upper)).all()
    assert torch.equal(once.adversarial, through_a_file(once.adversarial))
    assert torch.equal(once.adversarial[frozen], batch[frozen])
    assert torch.equal(once.success, judged_anew(model, once))
    assert (once.components <= result.components).all()
    assert ((once.linf - result.linf) <= 1 / 255 + 1e-6).all()
    twice = quantize(model, once, bounds=(lower, upper))
    assert torch.equal(twice.adversarial, once.adversarial)
    assert torch.equal(twice.success, once.success)


def test_each_image_is_on_its_own():
    model, batch = conv(), on_levels(20)
    result = deepfool(model, batch, overshoot=0.0)
    whole = quantize(model, result)
    parts = quantize(model, result, chunk=3)
    assert torch.equal(parts.adversarial, whole.adversarial)
    assert torch.equal(parts.success, whole.success)
    assert torch.equal(parts.forwards, whole.forwards)
    alone = deepfool(model, batch[4:5], overshoot=0.0)
    torch.testing.assert_close(
        quantize(model, alone).adversarial, whole.adversarial[4:5], rtol=0, atol=0
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off_and_leaves_the_model_alone(mode):
    model, batch = conv(), on_levels(3)
    result = deepfool(model, batch)
    expected = quantize(model, result).adversarial
    with mode():
        assert torch.equal(quantize(model, result).adversarial, expected)
    assert all(parameter.grad is None for parameter in model.parameters())


CLEAN = on_levels(3, (4,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"result": found(images(3, (4,)), CLEAN)}, r"3 of 3 clean .*to_float"),
        ({"result": found(CLEAN * 255, CLEAN)}, "Normalized"),
        ({"levels": 200}, "3 of 3 clean images are not on 200 levels"),
        ({"levels": 1}, "levels must be at least 2"),
        ({"levels": 65537}, "at most 65536"),
        ({"result": found(CLEAN.half(), CLEAN.half()), "levels": 2049}, "at most 2048"),
        ({"result": found(CLEAN.bfloat16(), CLEAN.bfloat16()), "levels": 257}, "at most 256"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": (1.0, 0.0)}, "exceeds"),
        ({"bounds": (CLEAN + 0.001, 2.0)}, "outside the given bounds"),
        ({"model": threshold(0.0).train()}, "training mode"),
        ({"model": Lambda(lambda x: x.sum())}, "logits"),
        ({"result": found(CLEAN, CLEAN, labels=2)}, "2 classes"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    with pytest.raises(InputError, match=message):
        quantize(**{"model": threshold(0.0), "result": found(CLEAN, CLEAN), **arguments})


def test_one_digit_off_the_levels_is_refused():
    clean = CLEAN.clone()
    clean[1, 2] += 1e-12
    with pytest.raises(InputError, match="1 of 3 clean images"):
        quantize(threshold(0.0), found(clean, clean))
