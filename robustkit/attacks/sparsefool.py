"""SparseFool: few pixels that change a model's mind, batched; as published, and sparser."""

from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, check_nonnegative
from robustkit.attacks.box import Bounds
from robustkit.attacks.linear_solver import parse_unit
from robustkit.attacks.measured_steps import MeasuredSteps
from robustkit.attacks.plane_steps import PlaneSteps
from robustkit.attacks.pruning import eliminate
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.errors import InputError, unknown

_REACHES = (1.0, 1.5, 2.0, 3.0, 5.0)
_PRECISIONS = {"None": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@torch.inference_mode(False)
@torch.no_grad()
def sparsefool(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    reach: Number | Sequence[Number] | None = None,
    overshoot: Number = 0.02,
    classes: int = 10,
    steps: int = 50,
    unit: str = "component",
    candidates: int = 16,
    moves: int = 3,
    precision: torch.dtype | None = None,
    legacy: bool = False,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Find a perturbation of few pixels of each image that changes the class the model gives it.

    As published (`legacy=True`), each step lets DeepFool find the boundary, takes its tangent
    there, and moves the image onto that plane, `reach` times as far away, by the fewest components
    in l1. By default the linear model only proposes: it ranks the components by what they can gain
    before they meet their bounds, the gains of the best `candidates` are measured, and the fewest
    that are enough by these measurements move. Images on which that fails are moved onto planes in
    l0 order, with the smallest `reach` that works for each. Then what is not needed is restored.
    With `legacy`, `candidates`, `moves` and `precision` have no part.

    - `images`: `(N, *shape)`, floating point, within `bounds`.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `reach`: lambda of the paper, above 0: how far beyond the image to aim, in units of the
      distance to the plane. One number or several to try in turn on the images that are not fooled
      yet; by default 3 if `legacy`, else 1, 1.5, 2, 3 and 5. Given without `legacy`, and with
      `candidates=0`, it is SparseFool in l0 order with pruning, nothing measured.
    - `overshoot`: at least 0; on planes the perturbation is longer by this share.
    - `classes`: how many of the classes ranked first DeepFool looks at, counting the label.
    - `steps`: at most this many for an image, for each way of stepping. One still not fooled is a
      failure, and returned at its last point.
    - `unit`: what to change few of, "component" or "pixel" (all channels of a location in batches
      `(N, C, H, W)`). Pixels are always counted in the result too.
    - `candidates`: units of an image whose gains are measured in a step, one forward pass each:
      more of them cost more and find sparser perturbations. 0 measures nothing.
    - `moves`: at most so many units move in a step, or a quarter of those that the measured gains
      say are still missing, if that is more; twice as many are then measured. An image said to miss
      more than eight times `candidates` units, three times, is left to planes.
    - `precision`: torch.bfloat16 or torch.float16, to measure gains in by autocast; who is fooled
      is always decided in the model's own.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch;
      None is refused, as one component would then do.
    - `chunk`: most images in one call of the network.

    Unchanged components are the clean ones bit for bit. Zero or non-finite gradients and outputs
    make a failure of their own image only. Follows the images' device and dtype. Raises
    `InputError` for images, labels, bounds, arguments or a model that it cannot work with.

    Source: Modas, Moosavi-Dezfooli and Frossard, SparseFool: a few pixels make a big difference,
    CVPR 2019, Algorithms 1 and 2; measured gains, l0 order, pixel units and pruning are ours. Of
    the authors' code, `legacy` keeps the constants, and not the walk to the far corner of the box
    when an image is beyond the plane, nor the NaN that follow a zero gradient.
    """
    reaches = _parse_reach(reach, legacy)
    check_nonnegative("overshoot", overshoot)
    check_count("classes", classes, 2)
    check_count("steps", steps, 1)
    check_count("candidates", candidates, 0)
    check_count("moves", moves, 1)
    counted = parse_unit(unit)
    if precision not in _PRECISIONS.values():
        raise unknown("precision", str(precision), _PRECISIONS)
    if legacy and counted != "component":
        raise InputError(
            "the published algorithm changes components: pass unit='component', or legacy=False."
        )
    trial = Trial(model, images, labels, bounds, chunk)
    left = trial.standing
    if candidates and not legacy:
        measured = MeasuredSteps(
            trial, unit=counted, candidates=candidates, moves=moves, precision=precision
        )
        left = measured.run(left, steps)
    for distance in reaches:
        planes = PlaneSteps(
            trial,
            reach=distance,
            overshoot=overshoot,
            classes=classes,
            order="l1" if legacy else "l0",
            unit=counted,
        )
        left = planes.run(left, steps)
    if not legacy:
        failed = torch.zeros_like(trial.labels, dtype=torch.bool)
        failed[left] = True
        eliminate(trial, trial.standing[~failed[trial.standing]], counted)
    return trial.conclude()


def _parse_reach(reach: Number | Sequence[Number] | None, legacy: bool) -> tuple[Number, ...]:
    if reach is None:
        return (3.0,) if legacy else _REACHES
    reaches = tuple(reach) if isinstance(reach, Sequence) else (reach,)
    if not reaches:
        raise InputError("reach must be a number or a list of numbers, got an empty list.")
    for value in reaches:
        check_nonnegative("reach", value)
        if value == 0:
            raise InputError("reach must be above 0: at 0 an image would stay where it is.")
    return reaches
