"""RICS: robust inference by crop selection, around any classifier."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.checks import run_model
from robustkit.data import as_float
from robustkit.errors import InputError, unknown
from robustkit.translation.circular import canonical, select_circular
from robustkit.translation.content_hash import hash_score
from robustkit.translation.level_crops import level_crops
from robustkit.translation.levels import Size, as_levels, check_batch, in_parts, pair
from robustkit.translation.ranking import positions_of
from robustkit.translation.resizing import resized
from robustkit.translation.scores import Score, resolve_score, scores_of
from robustkit.translation.selection import Selection, check_way, select
from robustkit.translation.window_selection import check_places, select_windows

# Pixels of scenes whose maps are in memory at once.
_PIXELS = 2**21


def score_maps(
    images: Shaped[Tensor, "..."], crop: Size, score: str | Score = "filter", key: int = 0
) -> tuple[Int[Tensor, "n rows columns"], Int[Tensor, "n rows columns"]]:
    """Return the scores and the content hashes of all crops of images, int64, placed as they are.

    - `images`: `(N, C, H, W)`, uint8, or floating point that holds 8-bit levels (`as_levels`).
    - `crop`: rows and columns, or one number for both, in pixels.
    - `score`: "filter", "hash", "laplacian", or a function of uint8 images and (rows, columns) that
      returns int64; it must not depend on where a crop lies.
    - `key`: of the score and of the hash.

    Raises `InputError` for other images, crops that do not fit, or other scores.
    """
    levels, size, rate = as_levels(images), pair("crop", crop), resolve_score(score, key)
    scores = scores_of(levels, size, rate)
    return scores, _hashes(levels, size, scores, rate, key)


def best_positions(
    images: Shaped[Tensor, "..."], crop: Size, score: str | Score = "filter", key: int = 0
) -> Int[Tensor, "n 2"]:
    """Return the positions of `select(*score_maps(images, crop, score, key))`, at a lower cost.

    Only images whose best score is reached twice need hashes. Raises `InputError` as `score_maps`.
    """
    levels, size, rate = as_levels(images), pair("crop", crop), resolve_score(score, key)
    scores = scores_of(levels, size, rate)
    best, places = scores.flatten(1).max(dim=1)
    positions = positions_of(places, scores.shape[2])
    (tied,) = ((scores == best[:, None, None]).sum(dim=(1, 2)) > 1).nonzero(as_tuple=True)
    if len(tied):
        hashes = _hashes(levels[tied], size, scores[tied], rate, key)
        positions[tied] = select(scores[tied], hashes).positions
    return positions


def _hashes(levels: Tensor, crop: tuple[int, int], scores: Tensor, rate: Score, key: int) -> Tensor:
    hashing = hash_score(key)
    return scores if rate == hashing else hashing(levels, crop)


class RICS(nn.Module):
    """Classify one crop of each image, selected by its own pixels, or a few crops.

    - `model`: any classifier of images in [0, 1]; normalisation belongs to it. Its mode, training
      or evaluation, becomes that of this module.
    - `crop`: rows and columns of a crop, or one number for both, in pixels.
    - `score`: what selects: "filter", which small noise rarely changes, "hash", for guarantees,
      both keyed by `key`, "laplacian", or a function (`score_maps`).
    - `mode`: "crop" for a camera that moves, or "circular" for images whose pixels come back at the
      other side: crops go on there, all circular shifts of an image select the same pixels, and
      the logits are the same, exactly. The score is then "seam" by default, and the crop may be
      None, the whole image (`select_circular`); only "argmax" selects.
    - `select`, `radius`, `count`: "argmax", "landmark" or "bottomk" and their arguments, see the
      function `select`. Of several crops the mean probabilities count, whose logarithms are the
      logits, so that each crop weighs 1 / `count`, or more where an image has fewer different ones.
    - `size`: what the model takes: crops are resized to it, bilinear and antialiased. It happens
      after the selection, because resampled pixels change with every shift.

    Images are `(N, C, H, W)`, uint8, or floating point that holds 8-bit levels (`as_levels`); the
    model is given the levels, k / 255, so that equal crops are equal for it to the last bit, and
    gradients pass to the pixels of the selected crops. All crops are candidates, so that a shift of
    the window by whole pixels keeps most of them; the selected crop changes only if it left the
    window, or a better one came in.

    Raises `InputError` for other arguments, images or crops that do not fit. Source: our reading of
    Shifman and Weiss, Lost in translation, ECCV 2024 (RICS: robust inference by crop selection).
    """

    # Read by `predict`: 8-bit images need not be made floating point.
    takes_levels = True

    def __init__(
        self,
        model: nn.Module,
        crop: Size | None,
        *,
        score: str | Score | None = None,
        mode: str = "crop",
        select: str = "argmax",
        radius: int = 8,
        count: int = 8,
        size: Size | None = None,
        key: int = 0,
    ) -> None:
        check_way(select, radius, count)
        if mode not in ("crop", "circular"):
            raise unknown("mode", mode, ("crop", "circular"))
        if mode == "circular" and select != "argmax":
            raise InputError(f"a circular shift keeps all crops: use 'argmax', not {select!r}.")
        if mode == "crop" and crop is None:
            raise InputError("mode='crop' needs the size of a crop, smaller than the images.")
        super().__init__()
        self.model, self.mode, self.key = model, mode, key
        self.crop = None if crop is None else pair("crop", crop)
        if score is None:
            score = "filter" if mode == "crop" else "seam"
        seam = mode == "circular" and score == "seam"
        self.score: str | Score = score if seam else resolve_score(score, key)
        self.how, self.radius, self.count = select, radius, count
        self.size = None if size is None else pair("size", size)
        self.training = model.training

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return the logits of the selected crop, or the logarithms of mean probabilities."""
        if self.how != "bottomk":
            return self._logits(self.crops(images))
        levels = as_levels(images)
        chosen = self.select(levels)
        crops = level_crops(images, levels, chosen.positions, self._crop())
        # One crop of every image at a time: together they would take `count` times the memory.
        logits = torch.stack([self._logits(part) for part in crops.unbind(1)], dim=1)
        return _pooled(logits, chosen.hashes >= 0)

    def select(self, images: Shaped[Tensor, "..."]) -> Selection:
        """Return which crops are selected, and by how much; see `Selection`."""
        if self.mode == "circular":
            return select_circular(images, self.crop, score=self.score, key=self.key)
        return select(*self.score_maps(images), how=self.how, radius=self.radius, count=self.count)

    def select_windows(
        self, source: Shaped[Tensor, "..."], window: Size, positions: Shaped[Tensor, "..."]
    ) -> Selection:
        """Return which crops are selected in P windows of each of N scenes, from one map of each.

        - `source`: `(N, C, H, W)` scenes; `window`: the size of windows, in pixels.
        - `positions`: int64 `(P, 2)` or `(N, P, 2)`, of the windows' first pixels in the scenes.

        The result has the dimensions (N, P) and equals `select` of every window; its positions are
        in the frame of the window. Raises `InputError` for windows smaller than the crop, or not
        inside the scene. Scenes are scored in parts, in bounded memory.
        """
        size, crop = pair("window", window), self._crop()
        grid = (size[0] - crop[0] + 1, size[1] - crop[1] + 1)
        if min(grid) < 1:
            raise InputError(
                f"a window of {size[0]} x {size[1]} pixels is smaller than the crop of "
                f"{crop[0]} x {crop[1]}."
            )
        check_batch(source)
        check_places(positions, len(source))
        found, start = [], 0
        for part in in_parts(source, _PIXELS):
            own = positions if positions.ndim == 2 else positions[start : start + len(part)]
            found.append(
                select_windows(
                    *self.score_maps(part),
                    grid,
                    own,
                    how=self.how,
                    radius=self.radius,
                    count=self.count,
                )
            )
            start += len(part)
        return Selection.joined(found)

    def crops(self, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n ..."]:
        """Return the selected crops before they are resized, in the type of the images.

        `(N, C, rows, columns)`, or of "bottomk" `(N, count, C, rows, columns)`; floating values are
        exactly those of their levels, k / 255.
        """
        if self.mode == "circular":
            return canonical(images, self.crop, score=self.score, key=self.key)
        crop, levels = self._crop(), as_levels(images)
        if self.how == "argmax":
            positions = best_positions(levels, crop, self.score, self.key)
        else:
            positions = self.select(levels).positions
        return level_crops(images, levels, positions, crop)

    def score_maps(
        self, images: Shaped[Tensor, "..."]
    ) -> tuple[Int[Tensor, "n rows columns"], Int[Tensor, "n rows columns"]]:
        """Return the scores and the content hashes of all crops; see the function `score_maps`.

        Raises `InputError` in circular mode, where `circular_scores` has them.
        """
        return score_maps(images, self._crop(), self.score, self.key)

    def extra_repr(self) -> str:
        """Show the crop and how it is selected in `print(rics)`."""
        how = f"score={self.score}, mode={self.mode!r}, select={self.how!r}"
        return f"crop={self.crop}, {how}, size={self.size}"

    def _crop(self) -> tuple[int, int]:
        if self.crop is None or self.mode == "circular":
            raise InputError("there are no windows in circular mode; call circular_scores instead.")
        return self.crop

    def _logits(self, crops: Tensor) -> Tensor:
        return run_model(self.model, resized(as_float(crops), self.size))


def _pooled(logits: Tensor, counts: Tensor) -> Tensor:
    # A crop that is there to fill a place has no share in the mean.
    shares = counts.to(logits.dtype)
    shares = (shares / shares.sum(dim=1, keepdim=True)).log()
    return torch.logsumexp(logits.log_softmax(dim=2) + shares[..., None], dim=1)
