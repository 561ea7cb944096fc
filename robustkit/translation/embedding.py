"""How far a shift moves an image in the space of a network's features."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from robustkit.arguments import Number
from robustkit.checks import check_held, check_logits, check_model
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.progress import progress
from robustkit.shapes import precise
from robustkit.stats import Interval, bootstrap, wilson
from robustkit.translation.labels import check_shiftable, chosen_shifts, count_of, parts_of
from robustkit.translation.windows import ShiftModel

Embedding = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class EmbeddingChange:
    """What K shifts do to the embeddings of N images; row i is about image i.

    - `cosines`: `(N, K)`, between the embeddings without a shift and after it, in [-1, 1].
    - `neighbour_changed`: `(N, K)`, whether another image of a gallery is the nearest; None without
      a gallery.
    - `label_changed`: `(N, K)`, whether the label of a head changes; None without a head.
    """

    cosines: Float[Tensor, "n k"]
    neighbour_changed: Bool[Tensor, "n k"] | None = None
    label_changed: Bool[Tensor, "n k"] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.cosines)

    def curve(
        self, thresholds: Shaped[Tensor, "..."], *, worst: bool = True
    ) -> Float[Tensor, " thresholds"]:
        """Return the share of images whose cosine is below each threshold, float64.

        An image counts by its smallest cosine over all shifts or, if not `worst`, by the share of
        shifts with a smaller one. Thresholds are `(T,)`, in any order; the curve never falls with
        them. Raises `InputError` for another shape or NaN.
        """
        check_held("thresholds", thresholds)
        if thresholds.ndim != 1 or thresholds.isnan().any():
            raise InputError(
                f"thresholds must be numbers of shape (T,), got {tuple(thresholds.shape)}."
            )
        cosines = self.cosines.amin(dim=1) if worst else self.cosines.flatten()
        ordered = cosines.double().sort().values
        below = torch.searchsorted(ordered, thresholds.to(ordered))
        return below.double() / len(ordered)

    def below(self, threshold: Number, *, worst: bool = True, level: float = 0.95) -> Interval:
        """Return the share of images whose cosine is below `threshold`, with its interval.

        `worst` is that of `curve`.
        """
        return _rate(self.cosines.double() < threshold, worst, level)

    def neighbour_rate(self, *, worst: bool = True, level: float = 0.95) -> Interval:
        """Return the share of images whose nearest neighbour changes, with its interval.

        An image counts if any shift changes it or, if not `worst`, by the share of shifts that do.
        Raises `InputError` where there was no gallery.
        """
        if self.neighbour_changed is None:
            raise InputError("pass a gallery to embedding_change to compare neighbours.")
        return _rate(self.neighbour_changed, worst, level)

    def label_rate(self, *, worst: bool = True, level: float = 0.95) -> Interval:
        """Return the share of images whose label changes, with its interval; see `neighbour_rate`.

        Raises `InputError` where there was no head.
        """
        if self.label_changed is None:
            raise InputError("pass a head to embedding_change to compare labels.")
        return _rate(self.label_changed, worst, level)


@torch.no_grad()
def embedding_change(
    embed: Embedding,
    images: Shaped[Tensor, "..."],
    shift_model: ShiftModel,
    shifts: Shaped[Tensor, "..."],
    *,
    gallery: Shaped[Tensor, "..."] | None = None,
    head: Embedding | None = None,
    batch_size: int = 256,
) -> EmbeddingChange:
    """Compare the embedding of each image with those after every shift.

    - `embed`: a function from floating images `(B, C, h, w)` to embeddings `(B, D)`: an image tower
      in evaluation mode, or `lambda x: robustkit.corruptions.penultimate_features(model, x)`.
    - `images`: the sources `(N, C, H, W)`, uint8 or floating point in [0, 1], where `embed` takes
      them.
    - `shift_model`: what a shift does, `CropShift(224)` for one.
    - `shifts`: `(K, 2)` for all images or `(N, K, 2)`, as the shift model takes them.
    - `gallery`: embeddings `(G, D)` of other images, at least 2; the nearest is that of the largest
      cosine, and has changed when it is less near than another.
    - `head`: a function from embeddings `(B, D)` to logits `(B, classes)`: a linear layer, or the
      cosines with the texts of a zero-shot classifier.
    - `batch_size`: the most shifted images at once.

    Raises `InputError` for arguments that do not fit, and for embeddings that are zero or not
    finite. Source: Shifman and Weiss, Lost in translation, ECCV 2024, for the question; what makes
    a change large is not known to us, so three answers are given.
    """
    check_shiftable(images, shift_model, shifts)
    for function in (embed, head):
        if isinstance(function, nn.Module):
            check_model(function)
    shape = len(images), count_of(shifts)
    parts = list(parts_of(*shape, batch_size))
    seen = shift_model.base(images)
    base = torch.cat([_embedded(embed, part) for part in seen.split(batch_size)])
    others = None if gallery is None else _gallery(gallery, base)
    cosines = base.new_empty(shape, dtype=precise(base))
    moved = None if others is None else cosines.new_empty(shape, dtype=torch.bool)
    relabelled = None if head is None else cosines.new_empty(shape, dtype=torch.bool)
    with progress(cosines.numel(), "embeddings of shifted images") as line:
        for rows, columns in parts:
            seen = shift_model.apply(images[rows], chosen_shifts(shifts, rows, columns))
            before = base[rows]
            after = _embedded(embed, seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
            cosines[rows, columns] = _cosines(_directions(before)[:, None], _directions(after))
            if moved is not None and others is not None:
                moved[rows, columns] = _moved(before, after, others)
            if relabelled is not None and head is not None:
                relabelled[rows, columns] = _labels(head, after) != _labels(head, before)[:, None]
            line.update(seen.shape[0] * seen.shape[1])
    return EmbeddingChange(cosines, moved, relabelled)


def _embedded(embed: Embedding, seen: Tensor) -> Float[Tensor, "b d"]:
    found = embed(as_float(seen))
    if found.ndim != 2 or len(found) != len(seen) or not found.is_floating_point():
        raise InputError(
            f"embed must map {len(seen)} images to floating embeddings ({len(seen)}, D), got "
            f"{found.dtype} of shape {tuple(found.shape)}."
        )
    return found.detach()


def _directions(features: Float[Tensor, "*count d"]) -> Float[Tensor, "*count d"]:
    features = features.to(precise(features))
    lengths = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise InputError("an embedding is zero, NaN or infinite and has no direction.")
    directions: Tensor = features / lengths
    return directions


def _cosines(
    first: Float[Tensor, "*#count d"], second: Float[Tensor, "*#count d"]
) -> Float[Tensor, "*count"]:
    # By the distance of unit vectors: of equal ones exactly 1, unlike their product.
    return (1 - (first - second).square().sum(dim=-1) / 2).clamp(-1, 1)


def _gallery(gallery: Tensor, base: Tensor) -> Float[Tensor, "g d"]:
    if gallery.ndim != 2 or len(gallery) < 2 or gallery.shape[1] != base.shape[1]:
        raise InputError(
            f"a gallery must hold at least two embeddings (G, {base.shape[1]}), got shape "
            f"{tuple(gallery.shape)}."
        )
    if not gallery.is_floating_point():
        raise InputError(f"a gallery must be floating point, got {gallery.dtype}.")
    check_held("gallery", gallery)
    return _directions(gallery.detach().to(device=base.device, dtype=precise(base)))


def _moved(before: Tensor, after: Tensor, gallery: Tensor) -> Bool[Tensor, "n k"]:
    nearest = (_directions(before) @ gallery.mT).argmax(dim=1)
    near = _directions(after) @ gallery.mT
    kept = near.gather(2, nearest[:, None, None].expand(-1, near.shape[1], 1)).squeeze(2)
    return kept < near.amax(dim=2)


def _labels(head: Embedding, features: Float[Tensor, "*count d"]) -> Tensor:
    flat = features.flatten(0, -2)
    logits = head(flat)
    check_logits(logits, len(flat))
    if bool(logits.isnan().any()):
        raise InputError("the head returns NaN; check its weights.")
    return logits.argmax(dim=1).reshape(features.shape[:-1])


def _rate(found: Tensor, worst: bool, level: float) -> Interval:
    if worst:
        return wilson(int(found.any(dim=1).sum()), len(found), level=level)
    return bootstrap(found.double().mean(dim=1).cpu().numpy(), level=level)
