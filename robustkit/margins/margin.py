"""Margins: how far the decision boundary is within each of many subspaces, batched over both."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, check_nonnegative
from robustkit.attacks.classifier import Classifier
from robustkit.checks import check_images
from robustkit.errors import InputError, unknown
from robustkit.margins.refinement import refined
from robustkit.margins.result import Margins
from robustkit.margins.stack import Stack, onto
from robustkit.margins.subspaces import Subspace
from robustkit.margins.walk import Front, Walk
from robustkit.progress import progress
from robustkit.shapes import lengths_of, precise

_REFINEMENTS = ("none", "bisect", "normal")
_STEPS = {"ours": 30, "published": 100}


@torch.inference_mode(False)
@torch.no_grad()
def margins(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    subspaces: Sequence[Subspace],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    candidates: int | None = 10,
    overshoot: Number = 0.02,
    steps: int | None = None,
    refine: str = "bisect",
    max_margin: Number = math.inf,
    legacy: bool = False,
    perturbations: bool = False,
    chunk: int = 512,
) -> Margins:
    """Find, for each image and subspace, a smallest move within it that changes the class.

    DeepFool with gradients projected onto the subspace, for all pairs of an image and a subspace at
    once: a pair that has crossed the boundary leaves, and the next one takes its place. The first
    graph of an image serves all of its subspaces. No bounds hold: this is the geometry of the
    network, and points may leave [0, 1].

    - `images`: `(N, *shape)`, float32 or float64, any finite range.
    - `subspaces`: M of them, as in `robustkit.margins.Subspace`.
    - `labels`: `(N,)`, the classes to leave; by default the model's own predictions. An image that
      the model puts in another class already has the margin 0.
    - `candidates`: how many of the classes ranked first at the clean image take part, counting the
      label itself; None for all. All of them in the first step, then the three that its slopes make
      the nearest.
    - `overshoot`: at least 0, as a share of each step.
    - `steps`: at most this many for a pair; by default 30, or 100 as published. A pair that is not
      over the boundary then follows the direction that it has reached, by doubling.
    - `refine`: "bisect" searches the segment from the image to the point that was found for its
      crossing, to a relative eps^(2/3): the margin is the distance and not 1.02 of it. Where there
      are several it need not be the first. "normal" then tries the opposite direction, and turns
      towards the boundary's normal for as long as that makes the margin shorter; "none" keeps the
      point of DeepFool.
    - `max_margin`: a pair that reaches this distance and has not crossed there is given up, and its
      margin infinite; so is a crossing beyond.
    - `legacy`: the published algorithm: all candidates at every step, gradients at the point before
      the overshoot, steps of at least 1e-4, a further forward pass to judge, and no refinement.
    - `perturbations`: return them too; `M * N` images of memory.
    - `chunk`: most pairs on their way at a time, and most images in one call of the network. Memory
      beside the network's own is about ten images a pair, or fifteen to turn to the normal.

    Where no step can be taken (the projected gradients are zero) or none is left, the margin is
    infinite and `success` False. Follows the images' device and dtype; the network's parameters and
    their gradients stay untouched. Raises `InputError` for images, labels, subspaces, arguments or
    a model that it cannot work with.

    Source: Ortiz-Jimenez, Modas, Moosavi-Dezfooli and Frossard, Hold me tight! Influence of
    discriminative features on deep network boundaries, NeurIPS 2020; constants from their code.
    """
    if candidates is not None:
        check_count("candidates", candidates, 2)
    check_nonnegative("overshoot", overshoot)
    steps = (_STEPS["published" if legacy else "ours"]) if steps is None else steps
    check_count("steps", steps, 1)
    check_count("chunk", chunk, 1)
    if refine not in _REFINEMENTS:
        raise unknown("refinement", refine, _REFINEMENTS)
    if legacy and refine == "normal":
        raise InputError('legacy margins are not refined; use legacy=False with refine="normal".')
    if not max_margin > 0:
        raise InputError(f"max_margin must be positive, got {max_margin}.")
    if not isinstance(subspaces, Sequence) or not subspaces:
        raise InputError("give at least one subspace, as from robustkit.margins.diagonal_blocks.")
    check_images(images, unit_range=False)
    if torch.finfo(images.dtype).bits < 32:
        raise InputError(
            f"margins in {images.dtype} would be those of its rounding; use images.float() and "
            "model.float()."
        )
    stack = Stack(subspaces)
    _check_subspaces(stack, images)
    classifier = Classifier(model, len(images), images.device, labels)
    walk = Walk(
        classifier,
        images.detach(),
        stack,
        candidates=candidates,
        overshoot=overshoot,
        steps=steps,
        longest=float(max_margin),
        legacy=legacy,
    )
    outcome = _Outcome(walk, "none" if legacy else refine, keep=perturbations)
    _run(walk, outcome, chunk)
    return outcome.result()


def _run(walk: Walk, outcome: "_Outcome", chunk: int) -> None:
    pairs = len(walk.images) * walk.subspaces
    nobody = Front(walk.labels.new_zeros(0), walk.images[:0], walk.leads.new_zeros(0, 0))
    front = arrived = nobody
    entered = 0
    with progress(pairs, "margins", "pair") as bar:
        while entered < pairs or len(front) or len(arrived):
            # Half empty before it is filled, so that an image's subspaces enter together.
            if entered < pairs and 2 * len(front) <= chunk:
                end = min(pairs, entered + chunk - len(front))
                numbers = torch.arange(entered, end, device=walk.images.device)
                fresh, wrong, classes = walk.enter(numbers)
                outcome.wrong_already(wrong, classes)
                front, entered = front.and_also(fresh), end
            if len(front):
                front, over, lost = walk.step(front)
                arrived = arrived.and_also(over).and_also(walk.outwards(lost))
            if 2 * len(arrived) >= chunk or not (entered < pairs or len(front)):
                places = torch.arange(len(arrived), device=walk.images.device)
                outcome.settle(arrived.at(places[:chunk]))
                arrived = arrived.at(places[chunk:])
            bar.update(entered - len(front) - bar.n)


class _Outcome:
    """The margins found so far."""

    def __init__(self, walk: Walk, refine: str, *, keep: bool) -> None:
        self.walk, self.refine = walk, refine
        count = len(walk.iterations)
        self.distances = walk.leads.new_full((count,), torch.inf)
        self.targets = walk.iterations.new_full((count,), -1)
        self.kept: Tensor | None = None
        if keep:
            self.kept = walk.images.new_zeros(count, *walk.images.shape[1:])

    def wrong_already(self, pairs: Int[Tensor, " m"], classes: Int[Tensor, " m"]) -> None:
        """Give margin 0 to pairs of images whose label is not the network's."""
        self.distances[pairs] = 0.0
        self.targets[pairs] = classes

    def settle(self, front: Front) -> None:
        """Refine pairs that are over the boundary, and write their margins down."""
        if len(front) == 0:
            return
        if self.walk.legacy:
            stretch = 1 + self.walk.overshoot
            front = front.moved_to(front.offsets * stretch)
            targets = self.walk.judge(front)[1]
        else:
            front, targets = refined(self.walk, front, self.refine)
        lengths = lengths_of(front.offsets.to(precise(front.offsets)))
        near = lengths <= self.walk.longest * (1 + self.walk.grain)
        pairs = front.pairs[near]
        self.distances[pairs] = lengths[near].to(self.distances.dtype)
        self.targets[pairs] = targets[near]
        if self.kept is not None:
            self.kept[pairs] = front.offsets[near]

    def result(self) -> Margins:
        """Return the table, subspaces by images."""
        walk, shape = self.walk, (len(self.walk.images), self.walk.subspaces)
        kept = self.kept
        if kept is not None:
            kept = kept.reshape(*shape, *walk.images.shape[1:]).transpose(0, 1).contiguous()
        distances = self.distances.reshape(shape).T.contiguous()
        return Margins(
            subspaces=tuple(one.name for one in walk.stack.subspaces),
            dims=tuple(one.dim for one in walk.stack.subspaces),
            size=walk.images[0].numel(),
            distances=distances,
            success=distances.isfinite(),
            iterations=walk.iterations.reshape(shape).T.contiguous(),
            targets=self.targets.reshape(shape).T.contiguous(),
            labels=walk.labels,
            forwards=walk.classifier.forwards,
            backwards=walk.classifier.backwards,
            forward_calls=walk.classifier.forward_calls,
            backward_calls=walk.classifier.backward_calls,
            perturbations=kept,
        )


def _check_subspaces(stack: Stack, images: Tensor) -> None:
    for one in stack.subspaces:
        # Raises for a subspace of images of another shape, before any pass through the network.
        onto(one, images[:1])
