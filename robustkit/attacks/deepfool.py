"""DeepFool: a minimal perturbation by repeated projection onto the linearised boundary, batched."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, check_nonnegative
from robustkit.attacks.box import Bounds, check_batch
from robustkit.attacks.classifier import Classifier
from robustkit.attacks.norms import parse_norm
from robustkit.attacks.result import AttackResult, conclude
from robustkit.attacks.search import Projection, Search
from robustkit.errors import InputError
from robustkit.shapes import chunks


@torch.inference_mode(False)
@torch.no_grad()
def deepfool(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    norm: Number | str = 2,
    candidates: int | None = 10,
    overshoot: Number = 0.02,
    steps: int = 50,
    bounds: Bounds | None = (0.0, 1.0),
    projection: Projection | None = None,
    bisection: int = 0,
    chunk: int = 512,
) -> AttackResult:
    """Find a small perturbation of each image that changes the class the model gives it.

    At each step the boundary to every rival class is linearised at the current point, and the
    image moves onto the nearest of these planes and past it by `overshoot` times the step, so that
    without bounds the perturbation is (1 + overshoot) times the sum of the steps. On an affine
    model one step is exact. An image leaves the batch once it is fooled.

    - `images`: `(N, *shape)`, floating point, within `bounds`; any finite range if those are None.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `norm`: 2 or "inf", the norm of the perturbation to keep small.
    - `candidates`: how many of the classes ranked first at the clean image take part, counting the
      label itself; None for all. One backward call a rival and step, whatever the batch.
    - `overshoot`: at least 0, as a share of each step.
    - `steps`: at most this many for an image. One still not fooled is a failure, and returned at
      its last point.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch.
      A step is then the exact projection onto the plane inside the box, and the result lies in the
      box exactly. None is the published geometry, where pixels go anywhere.
    - `projection`: an orthogonal projector onto a linear subspace, linear from `(n, *shape)` to the
      same shape; the perturbation stays in the subspace. With `norm=2` and `bounds=None` only. A
      class out of reach in the subspace is never a success.
    - `bisection`: halvings of the segment from the clean to the fooling image. The result is the
      nearest point that was seen to fool, within 2^-bisection of the segment.
    - `chunk`: most images in one call of the network.

    One forward pass tells who is fooled, and its graph serves the gradients of those who are not,
    unless so many leave that a new graph for the rest is cheaper. Zero or non-finite gradients and
    outputs make a failure of their own image only; one whose output at its last point is not finite
    is returned clean. Follows the images' device and dtype; parameters and their gradients stay
    untouched. Raises `InputError` for images, labels, bounds, arguments or a model that it cannot
    work with.

    Source: Moosavi-Dezfooli, Fawzi and Frossard, DeepFool, CVPR 2016, Algorithm 2 and its
    generalisation to l_p norms. As in the authors' code the ranking of classes is that of the clean
    image, and gradients are taken at the overshot point. That code also lengthens every step by
    1e-4, so that none is lost to rounding; here a step is lengthened by the rounding error of its
    own logits and pixels instead, so that short distances stay true.
    """
    norm = parse_norm(norm, (2, "inf"))
    if candidates is not None:
        check_count("candidates", candidates, 2)
    check_nonnegative("overshoot", overshoot)
    check_count("steps", steps, 1)
    check_count("bisection", bisection, 0)
    check_count("chunk", chunk, 1)
    if projection is not None and (bounds is not None or norm != 2):
        raise InputError(
            "a projection onto a subspace needs norm=2 and bounds=None: a step inside a box, or "
            "along signs, would leave the subspace."
        )
    box = check_batch(images, bounds)
    classifier = Classifier(model, len(images), images.device, labels)
    search = Search(
        classifier,
        images,
        box,
        norm=norm,
        candidates=candidates,
        stride=1 + overshoot,
        projection=projection,
    )
    everything = active = torch.arange(len(images), device=images.device)
    for step in range(steps):
        active = torch.cat([search.step(rows, first=step == 0) for rows in chunks(active, chunk)])
        if len(active) == 0:
            break
    search.judge(everything, chunk)
    if bisection:
        moved = (search.predictions != search.labels) & (search.iterations > 0)
        rows = everything[moved & (search.predictions >= 0)]
        search.bisect(rows, bisection, chunk)
        search.judge(rows, chunk)
    return conclude(
        classifier,
        images,
        search.points,
        search.labels,
        search.predictions,
        search.iterations,
        box,
    )
