"""Pairs of an image and a subspace on their way to the boundary, in one batch that is kept full."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.attacks.boundary import free_move
from robustkit.attacks.classifier import (
    Classifier,
    lead,
    rival_gradients,
    rounding,
    top_rivals,
    wasteful,
)
from robustkit.margins.stack import Stack
from robustkit.shapes import lengths_of, precise, rows_of

# After the first step, gradients of this many rivals: those that its slopes say are nearest.
_FEW = 3
# Of the length at which DeepFool gave up: a thousand times as far is as good as infinite.
_DOUBLINGS = 10


@dataclass(frozen=True, eq=False)
class Front:
    """Pairs on their way: their numbers, how far from their clean images, their first slopes."""

    pairs: Int[Tensor, " m"]
    offsets: Float[Tensor, "m *shape"]
    slopes: Float[Tensor, "m rivals"]

    def __len__(self) -> int:
        return len(self.pairs)

    def at(self, places: Tensor) -> "Front":
        """Return some of the pairs."""
        return Front(self.pairs[places], self.offsets[places], self.slopes[places])

    def moved_to(self, offsets: Float[Tensor, "m *shape"]) -> "Front":
        """Return the same pairs elsewhere."""
        return Front(self.pairs, offsets, self.slopes)

    def and_also(self, other: "Front") -> "Front":
        """Return the pairs of both."""
        if len(self) == 0 or len(other) == 0:
            return self if len(other) == 0 else other
        return Front(
            torch.cat([self.pairs, other.pairs]),
            torch.cat([self.offsets, other.offsets]),
            torch.cat([self.slopes, other.slopes]),
        )


class Walk:
    """DeepFool within subspaces for N images and M subspaces; pair p is image p // M in p % M.

    `labels` (N,) are the classes to leave, -1 where the network has no finite output; `leads` (N,)
    their leads at the clean images; `iterations` (P,) the steps taken; `grain` is the relative
    rounding of a length.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Float[Tensor, "n *shape"],
        stack: Stack,
        *,
        candidates: int | None,
        overshoot: Number,
        steps: int,
        longest: float,
        legacy: bool,
    ) -> None:
        self.classifier, self.images, self.stack = classifier, images, stack
        self.candidates, self.steps, self.longest = candidates, steps, longest
        self.overshoot, self.legacy = overshoot, legacy
        self.subspaces = len(stack.subspaces)
        self.grain = 16 * torch.finfo(images.dtype).eps
        count = len(images)
        self.labels = torch.full_like(classifier.forwards, -1)
        if classifier.labels is not None:
            self.labels = classifier.labels.to(self.labels)
        self.leads = torch.zeros(count, dtype=precise(images), device=images.device)
        self.rivals = self.labels.new_zeros(count, 0)
        self.iterations = self.labels.new_zeros(count * self.subspaces)

    def points(self, front: Front, shares: Tensor | None = None) -> Float[Tensor, "m *shape"]:
        """Return the current points of pairs, or those at shares of the way to them."""
        offsets = (
            front.offsets if shares is None else front.offsets * rows_of(shares, front.offsets)
        )
        return self.images[front.pairs // self.subspaces] + offsets

    def judge(self, front: Front, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return how far the label has lost at these points (positive: fooled), and the class."""
        image = front.pairs // self.subspaces
        logits = self.classifier.logits(self.points(front, shares), image)
        ahead = lead(logits, self.labels[image])
        return (ahead - rounding(logits)).to(self.leads.dtype), logits.argmax(dim=1)

    def enter(
        self, pairs: Int[Tensor, " m"]
    ) -> tuple[Front, Int[Tensor, " wrong"], Int[Tensor, " wrong"]]:
        """Take the first step of new pairs; one graph an image serves all of its subspaces.

        Returns the pairs that moved, those whose image the network has wrong as it is, and as what.
        """
        image, place = (pairs // self.subspaces).unique(return_inverse=True)
        inputs, logits = self.classifier.graph(self.images[image], image)
        scores = logits.detach()
        self._rank(image, scores)
        labels = self.labels[image]
        ahead = lead(scores, labels.clamp(min=0))
        self.leads[image] = ahead.to(self.leads.dtype)
        fooled = (ahead > rounding(scores)) & (labels >= 0)
        usable = ((labels >= 0) & (ahead > -torch.inf) & ~fooled)[place]
        rivals = self.rivals[image]
        gradients = rival_gradients(
            self.classifier, inputs, logits, image, labels.clamp(min=0), rivals
        )
        spread = (gradient[place] for gradient in gradients)
        slopes: list[Tensor] = []
        offsets = torch.zeros_like(self.images[pairs // self.subspaces])
        nowhere = Front(pairs, offsets, self.leads.new_zeros(len(pairs), 0))
        front, moved = self._advance(
            nowhere, spread, scores[place], labels[place], rivals[place], slopes
        )
        front = Front(pairs, front.offsets, torch.stack(slopes, dim=1))
        self.iterations[pairs] += moved & usable
        wrong = fooled[place]
        return front.at(moved & usable), pairs[wrong], scores.argmax(dim=1)[place][wrong]

    def step(self, front: Front) -> tuple[Front, Front, Front]:
        """Advance those that are not over the boundary yet.

        Returns them, those that are over it, and those that have no step left, or none that leads
        anywhere. Who is as far as the longest margin of interest is in none of the three.
        """
        image = front.pairs // self.subspaces
        spent = self.iterations[front.pairs] >= self.steps
        if self.legacy:
            over = self._over_as_published(front)
            halved = lost = front.at(front.pairs[:0])
            arrived, front = front.at(over), front.at(~over & ~spent)
            if len(front) == 0:
                return front, arrived, lost
            image = front.pairs // self.subspaces
            inputs, logits = self.classifier.graph(self.points(front), image)
            going = torch.ones(len(front), dtype=torch.bool, device=image.device)
        else:
            inputs, logits = self.classifier.graph(self.points(front), image)
            ahead = lead(logits.detach(), self.labels[image])
            over = ahead > rounding(logits.detach())
            waiting = ~over & (ahead > -torch.inf)
            far = lengths_of(front.offsets) >= self.longest * (1 - self.grain)
            going = waiting & ~spent & ~far
            arrived, lost = front.at(over), front.at(waiting & spent & ~far)
            halved = self._halved(front.at((ahead == -torch.inf) & ~spent))
            staying = going.nonzero().squeeze(1)
            if wasteful(len(front), len(staying), backward_calls=_FEW):
                front, going = front.at(staying), going[staying]
                if len(front) == 0:
                    return halved, arrived, lost
                image = front.pairs // self.subspaces
                del inputs, logits
                inputs, logits = self.classifier.graph(self.points(front), image)
        labels, scores = self.labels[image], logits.detach()
        rivals = self._nearest(front, scores, labels)
        gradients = rival_gradients(self.classifier, inputs, logits, image, labels, rivals)
        front, moved = self._advance(front, gradients, scores, labels, rivals, [])
        self.iterations[front.pairs] += moved & going
        if not self.legacy:
            lost = lost.and_also(front.at(going & ~moved))
        return front.at(moved & going).and_also(halved), arrived, lost

    def outwards(self, front: Front) -> Front:
        """Follow directions outwards, both ways, doubling; return who gets over the boundary."""
        found = front.at(front.pairs[:0])
        for _ in range(_DOUBLINGS):
            if len(front) == 0:
                break
            # The last try of a pair is at the longest margin of interest itself.
            room = self.longest / lengths_of(front.offsets)
            shares = room.clamp(max=2.0).to(front.offsets.dtype)
            front = front.moved_to(front.offsets * rows_of(shares, front.offsets))
            back = front.moved_to(-front.offsets)
            ahead, behind = self.judge(front)[0] > 0, self.judge(back)[0] > 0
            found = found.and_also(front.at(ahead)).and_also(back.at(behind & ~ahead))
            front = front.at(~ahead & ~behind & (room > 2))
        return found

    def _halved(self, front: Front) -> Front:
        """Bring pairs half way back from where the network has no finite output."""
        self.iterations[front.pairs] += 1
        return front.moved_to(front.offsets / 2)

    def _rank(self, image: Tensor, scores: Tensor) -> None:
        if self.rivals.shape[1] == 0:
            classes = scores.shape[1]
            kept = classes if self.candidates is None else min(self.candidates, classes)
            self.rivals = self.labels.new_zeros(len(self.labels), kept - 1)
        if self.classifier.labels is None:
            self.labels[image] = scores.argmax(dim=1).where(scores.isfinite().all(dim=1), -1)
        labels = self.labels[image].clamp(min=0)
        self.rivals[image] = top_rivals(scores, labels, self.rivals.shape[1])

    def _nearest(self, front: Front, scores: Tensor, labels: Tensor) -> Int[Tensor, "m few"]:
        rivals = self.rivals[front.pairs // self.subspaces]
        if self.legacy or rivals.shape[1] <= _FEW:
            return rivals
        gaps = scores.gather(1, labels[:, None]) - scores.gather(1, rivals)
        away = gaps / front.slopes
        nearest = away.nan_to_num(nan=torch.inf).topk(_FEW, dim=1, largest=False).indices
        return rivals.gather(1, nearest)

    def _advance(
        self,
        front: Front,
        gradients: Iterator[Tensor],
        scores: Tensor,
        labels: Tensor,
        rivals: Tensor,
        slopes: list[Tensor],
    ) -> tuple[Front, Tensor]:
        """Return the front after a step, and which of it could move; fill in the slopes seen."""
        dtype, which = precise(self.images), front.pairs % self.subspaces
        gaps = scores.gather(1, labels.clamp(min=0)[:, None]) - scores.gather(1, rivals)

        def normals() -> Iterator[Tensor]:
            for gradient in gradients:
                normal = self.stack.project(gradient, which).flatten(1).to(dtype)
                slopes.append(torch.linalg.vector_norm(normal, dim=1))
                yield normal

        if self.legacy:
            needs = gaps.abs().to(dtype).clamp(min=torch.finfo(dtype).tiny)
            move, length = free_move(normals(), needs, 2)
            move = move * (length.clamp(min=1e-4) / length)[:, None]
        else:
            needs = (gaps + 2 * rounding(scores)[:, None]).to(dtype)
            move, length = free_move(normals(), needs, 2, 4 * torch.finfo(scores.dtype).eps)
            move = move * (1 + self.overshoot)
        movable = length.isfinite()
        move = torch.where(movable[:, None], move, 0.0)
        offsets = front.offsets + move.to(front.offsets.dtype).reshape(front.offsets.shape)
        if self.longest < torch.inf and not self.legacy:
            # At the longest margin of interest the pair is judged once more, and then given up.
            share = self.longest / lengths_of(offsets)
            offsets = offsets * rows_of(share.clamp(max=1.0), offsets)
        return front.moved_to(offsets), movable

    def _over_as_published(self, front: Front) -> Tensor:
        image = front.pairs // self.subspaces
        shares = self.leads.new_full((len(front),), 1 + self.overshoot).to(self.images.dtype)
        logits = self.classifier.logits(self.points(front, shares), image)
        return (logits.argmax(dim=1) != self.labels[image]) & logits.isfinite().all(dim=1)
