"""Adversarial images on the levels of a file: rounded, judged anew, and repaired."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.attacks.box import Bounds, Box, check_batch
from robustkit.attacks.classifier import Classifier
from robustkit.attacks.result import AttackResult, conclude
from robustkit.checks import check_images
from robustkit.errors import InputError
from robustkit.shapes import chunks, precise


@torch.inference_mode(False)
@torch.no_grad()
def quantize(
    model: nn.Module,
    result: AttackResult,
    *,
    levels: int = 256,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Round adversarial images to the levels of 8-bit files, and judge anew whether they fool.

    Every changed component moves to the nearest level within its bounds; one whose nearest level
    is the clean value is unchanged from then on, and unchanged components stay bit for bit. Where
    an image that fooled no longer does, its components move to the next level away from the clean
    image instead: where bounds allow it, no change is then smaller than the attack made it. If that
    does not fool either, the image is a failure, at its nearest levels.

    - `result`: of an attack on images `(N, *shape)` in [0, 1] whose pixels lie on the levels
      already, as those of `robustkit.data.to_float` do; its last digit may be that of another
      device. Perturbed pixels outside the bounds move onto them first, and NaN to the clean value.
    - `levels`: of the file, 0, 1/(levels - 1), ..., 1. 256 is 8 bits; from 2 to 65536, and no more
      than the images' dtype tells apart.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch,
      as the attack had them; None for [0, 1] alone.
    - `chunk`: most images in one call of the network.

    Labels and iterations are those of `result`, to whose passes this adds one forward pass for each
    image, and one more for each in need of repair. Quantizing the outcome again changes no image.
    Follows the images' device and dtype. Raises `InputError` for clean images that are not on the
    levels or not within bounds, and for arguments or a model that it cannot work with.

    Source: the discretization of Carlini and Wagner, Towards evaluating the robustness of neural
    networks, IEEE S&P 2017. They repair by a greedy search, one pixel at a time; here all pixels
    of an image are repaired in one pass.
    """
    check_images(result.images)
    check_count("levels", levels, 2)
    check_count("chunk", chunk, 1)
    most = min(65536, round(2 / torch.finfo(result.images.dtype).eps))
    if levels > most:
        raise InputError(f"levels must be at most {most} in {result.images.dtype}, got {levels}.")
    box = check_batch(result.images, bounds)
    # Labels are -1 where the model had no finite output; the rest must be classes of this model.
    classifier = Classifier(
        model, len(result), result.images.device, labels=result.labels.clamp(min=0)
    )
    grid = _Grid(levels, result.images.dtype)
    rows_of_chunks = chunks(torch.arange(len(result), device=result.images.device), chunk)
    astray = torch.cat(
        [~grid.holds(result.images[rows]).flatten(1).all(dim=1) for rows in rows_of_chunks]
    )
    if bool(astray.any()):
        raise InputError(
            f"{int(astray.sum())} of {len(result)} clean images are not on {levels} levels, so "
            "that they would not survive saving themselves. Load 8-bit images, turn them into "
            "floats with robustkit.data.to_float(images), and attack those."
        )
    points = result.adversarial.detach().clone()
    predictions = torch.full_like(result.labels, -1)
    for rows in rows_of_chunks:
        bounded = None if box is None else box.at(rows)
        nearest, outward = grid.around(points[rows], result.images[rows], bounded)
        points[rows] = nearest
        predictions[rows] = _predict(classifier, nearest, rows)
        lost = result.success[rows] & ~_fools(predictions[rows], result.labels[rows])
        rows, outward = rows[lost], outward[lost]
        if len(rows) == 0:
            continue
        found = _predict(classifier, outward, rows)
        won = _fools(found, result.labels[rows])
        points[rows[won]], predictions[rows[won]] = outward[won], found[won]
    judged = conclude(
        classifier, result.images, points, result.labels, predictions, result.iterations, box
    )
    return replace(
        judged,
        forwards=result.forwards + judged.forwards,
        backwards=result.backwards + judged.backwards,
        forward_calls=result.forward_calls + judged.forward_calls,
        backward_calls=result.backward_calls + judged.backward_calls,
    )


@dataclass(frozen=True)
class _Grid:
    """The levels 0, 1/(levels - 1), ..., 1, named by their integer numbers as floats."""

    levels: int
    dtype: torch.dtype

    def value(self, numbers: Float[Tensor, "m *shape"]) -> Float[Tensor, "m *shape"]:
        # The arithmetic of robustkit.data.to_float, so that a file read by it has the same bits. A
        # device that multiplies with the reciprocal instead can end up above 1.
        return (numbers.to(self.dtype) / (self.levels - 1)).clamp(max=1.0)

    def nearest(self, images: Float[Tensor, "m *shape"]) -> Float[Tensor, "m *shape"]:
        return (images.to(precise(images)) * (self.levels - 1)).round()

    def holds(self, images: Float[Tensor, "m *shape"]) -> Bool[Tensor, "m *shape"]:
        """Say which components are levels, up to the last digit of at least single precision."""
        # The reciprocal is off by one digit, and images may come from another device than this.
        exact = self.nearest(images) / (self.levels - 1)
        margin = torch.finfo(exact.dtype).eps
        below, above = exact * (1 - margin), exact * (1 + margin)
        return (images >= below.to(self.dtype)) & (images <= above.to(self.dtype))

    def around(
        self,
        points: Float[Tensor, "m *shape"],
        clean: Float[Tensor, "m *shape"],
        box: Box | None,
    ) -> tuple[Float[Tensor, "m *shape"], Float[Tensor, "m *shape"]]:
        """Return the points at their nearest levels, and at the next ones away from clean."""
        points = torch.where(points.isnan(), clean, points).clamp(0.0, 1.0)
        if box is None:
            box = Box(torch.zeros_like(points), torch.ones_like(points))
        points = box.clamp(points)
        home, numbers = self.nearest(clean), self.nearest(points)
        values = self.value(numbers)
        inward = (values < box.lower).to(numbers) - (values > box.upper).to(numbers)
        # A clean pixel may be the last digit off its level, and outside its bounds once rounded.
        numbers = numbers + inward.where(numbers != home, 0.0)
        nearest = self._place(numbers, home, clean, box, otherwise=clean)
        rising = points > clean
        short = torch.where(rising, nearest < points, nearest > points) & ~self.holds(points)
        further = numbers + torch.where(rising, 1.0, -1.0).to(numbers) * short
        return nearest, self._place(further, home, clean, box, otherwise=nearest)

    def _place(
        self, numbers: Tensor, home: Tensor, clean: Tensor, box: Box, *, otherwise: Tensor
    ) -> Tensor:
        values = torch.where(numbers == home, clean, self.value(numbers))
        return torch.where((values >= box.lower) & (values <= box.upper), values, otherwise)


def _predict(classifier: Classifier, images: Tensor, rows: Tensor) -> Tensor:
    logits = classifier.logits(images, rows)
    return logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)


def _fools(predictions: Tensor, labels: Tensor) -> Tensor:
    return (predictions != labels) & (predictions >= 0) & (labels >= 0)
