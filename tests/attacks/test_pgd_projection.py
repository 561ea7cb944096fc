"""PGD with a projection of the caller's: where it is asked, and images bounded in another basis."""

from functools import partial

import pytest
import torch
from attack_toys import affine, conv, images
from torch import Tensor, nn

from robustkit.attacks import pgd
from robustkit.errors import InputError
from robustkit.margins.dct import dct, idct
from robustkit.margins.dykstra import project_ball_box
from robustkit.shapes import lengths_of, rows_of

OPTIONS = {"norm": 2, "bounds": None, "early_stop": False}


def flip(batch: Tensor) -> Tensor:
    return idct(dct(batch).flip(-1, -2))


class Flipped(nn.Module):
    """A model of images that undoes their flip first."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, batch: Tensor) -> Tensor:
        return self.model(flip(batch))


def ball(points: Tensor, clean: Tensor, radii: Tensor) -> Tensor:
    offsets = points - clean
    share = (radii / lengths_of(offsets)).clamp(max=1).nan_to_num(nan=1.0)
    return clean + rows_of(share, offsets) * offsets


def losses(model: nn.Module, batch: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.functional.cross_entropy(model(batch), labels, reduction="none")


def extreme_images(count: int) -> Tensor:
    """Images with half of their pixels at a bound, so that the box matters."""
    return (3 * images(count) - 1).clamp(0, 1)


def test_the_usual_projection_passed_in_changes_nothing() -> None:
    model, batch = conv(), images(6)
    labels = model(batch).argmax(1)
    radii = torch.linspace(0.1, 1.0, 6, dtype=torch.float64)
    expected = pgd(model, batch, labels, radius=radii, steps=5, **OPTIONS)
    found = pgd(model, batch, labels, radius=radii, steps=5, projection=ball, **OPTIONS)
    torch.testing.assert_close(found.adversarial, expected.adversarial, rtol=0, atol=1e-12)


def test_it_is_asked_after_the_start_and_each_step_with_the_rows_of_its_chunk() -> None:
    model, batch = affine(2, (4,)), images(5, (4,))
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def recorded(points: Tensor, clean: Tensor, radii: Tensor) -> Tensor:
        seen.append((points, clean, radii))
        return clean

    radii = torch.linspace(0.1, 0.5, 5, dtype=torch.float64)
    labels = model(batch).argmax(1)
    result = pgd(
        model, batch, labels, radius=radii, steps=2, chunk=3, projection=recorded, **OPTIONS
    )
    assert torch.equal(result.adversarial, batch)
    assert [len(points) for points, _, _ in seen] == [3, 2] * 3
    for call, rows in zip(seen, [slice(0, 3), slice(3, 5)] * 3, strict=True):
        assert torch.equal(call[1], batch[rows])
        assert torch.equal(call[2], radii[rows])
        # What it is given is not yet projected; each step is 2.5 radii over the number of steps.
    for points, clean, at in seen[2:]:
        torch.testing.assert_close((points - clean).norm(dim=1), at * 2.5 / 2)


def test_half_precision_is_projected_in_single() -> None:
    model, batch = affine(2, (4,), dtype=torch.bfloat16), images(3, (4,), dtype=torch.bfloat16)

    def checked(points: Tensor, clean: Tensor, radii: Tensor) -> Tensor:
        assert points.dtype == clean.dtype == radii.dtype == torch.float32
        return ball(points, clean, radii)

    labels = torch.zeros(3, dtype=torch.int64)
    result = pgd(model, batch, labels, radius=0.5, steps=2, projection=checked, **OPTIONS)
    assert result.adversarial.dtype == torch.bfloat16


def test_in_the_plain_box_it_climbs_at_least_as_high_as_the_usual_projections() -> None:
    # On an affine model of two classes the loss is linear, and its maximum over both sets unique.
    model, batch = affine(2, (20,)), extreme_images(12).flatten(1)[:, :20]
    labels = model(batch).argmax(1)
    options = {"radius": 0.5, "steps": 200, "step_size": 0.05, "random_start": False, "norm": 2}
    usual = pgd(model, batch, labels, early_stop=False, **options).adversarial
    nearest = pgd(
        model,
        batch,
        labels,
        projection=project_ball_box,
        bounds=None,
        early_stop=False,
        **options,
    ).adversarial
    assert ((nearest >= 0) & (nearest <= 1)).all()
    gains = losses(model, nearest, labels) - losses(model, usual, labels)
    assert (gains > -1e-6).all()
    # The optimality conditions: a multiple of the gradient, clamped, that is as long as the radius.
    away = (model.weight[1] - model.weight[0]).detach() * (1 - 2 * labels)[:, None]
    low, high = torch.zeros(12, 1, dtype=torch.float64), torch.full((12, 1), 1e3).double()
    for _ in range(100):
        middle = (low + high) / 2
        inside = ((batch + middle * away).clamp(0, 1) - batch).norm(dim=1, keepdim=True) < 0.5
        low, high = middle.where(inside, low), middle.where(~inside, high)
    optimum = losses(model, (batch + low * away).clamp(0, 1), labels)
    torch.testing.assert_close(losses(model, nearest, labels), optimum, rtol=1e-4, atol=0)


def test_an_attack_on_flipped_images_equals_the_one_on_plain_ones() -> None:
    model, batch = conv(), extreme_images(24)
    labels = model(batch).argmax(1)
    options = {"radius": 0.7, "steps": 20, **OPTIONS}
    plain = pgd(model, batch, labels, random_start=False, projection=project_ball_box, **options)
    rotated = partial(project_ball_box, transform=flip, inverse=flip)
    flipped = pgd(
        Flipped(model), flip(batch), labels, random_start=False, projection=rotated, **options
    )
    # Orthogonal maps keep gradients, balls and projections: step for step the same, seen flipped.
    torch.testing.assert_close(flip(flipped.adversarial), plain.adversarial, rtol=0, atol=1e-6)
    # From random starts, which differ, about as high as PGD that clamps after the ball.
    started = pgd(Flipped(model), flip(batch), labels, projection=rotated, **options)
    clamped = pgd(model, batch, labels, **{**options, "bounds": (0.0, 1.0)})
    for result in (flipped, started):
        assert (result.l2 <= 0.7 + 1e-9).all()
        back = flip(result.adversarial)
        assert back.min() > -1e-9
        assert back.max() < 1 + 1e-9
    reached = losses(Flipped(model), started.adversarial, labels).mean()
    assert reached > 0.97 * losses(model, clamped.adversarial, labels).mean()


def test_clamping_flipped_images_in_their_own_pixels_would_refuse_them() -> None:
    batch = extreme_images(4)
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        pgd(Flipped(conv()), flip(batch), torch.zeros(4, dtype=torch.int64), radius=0.1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bounds": (0.0, 1.0)}, "norm=2 and bounds=None"),
        ({"norm": "inf"}, "norm=2 and bounds=None"),
        ({"projection": lambda points, clean, radii: points[:, :2]}, "must keep the shape"),
    ],
)
def test_what_a_projection_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    model, batch = affine(2, (4,)), images(2, (4,))
    settings = {"radius": 0.1, "projection": ball} | OPTIONS | changes
    with pytest.raises(InputError, match=says):
        pgd(model, batch, torch.zeros(2, dtype=torch.int64), **settings)
