"""The one-pixel attack: differential evolution of a few pixels' places and colours, batched."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from robustkit import rng
from robustkit.arguments import check_count, keys_of
from robustkit.attacks.box import Bounds
from robustkit.attacks.classifier import lead, rounding
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.errors import InputError
from robustkit.shapes import chunks, precise

_FACTOR = 0.5


@torch.inference_mode(False)
@torch.no_grad()
def one_pixel(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    pixels: int = 1,
    most_pixels: int | None = None,
    population: int = 400,
    generations: int = 100,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Search for a few pixels whose new colours change each image's class, from outputs alone.

    A candidate is the places and colours of `pixels` pixels. The first `population` of an image has
    uniform places and normal colours, with the middle of the bounds for a mean and half their range
    for a deviation. In each generation every candidate has one child, a random other candidate plus
    half the difference of two more, which replaces it where the label is less probable. An image
    leaves at the first generation with candidates that fool, as the one whose label is least
    probable.

    - `images`: `(N, C, H, W)`, floating point, within `bounds`.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `pixels`: how many may change; `most_pixels`: where given, an image that is not fooled is
      tried again with one pixel more, up to so many.
    - `population`: at least 4; `generations`: of children, at least 0, after the first population.
      Each costs `population` forward passes an image. `iterations` counts populations, the first
      ones too. No backward passes.
    - `seed` and `indices`: the random numbers of an image depend on the seed and the image's index,
      int64, by default its row, and on nothing else of the batch.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch,
      to which colours are clipped. None is refused.
    - `chunk`: most candidates, of whatever images, in one call of the network.

    An image never fooled is a failure, returned as its candidate with the least probable label.
    Outputs that are not finite are the least fit. Follows the images' device and dtype. Raises
    `InputError` for images, labels, bounds, arguments or a model that it cannot work with.

    Source: Su, Vargas and Sakurai, One pixel attack for fooling deep neural networks, IEEE
    Transactions on Evolutionary Computation 2019; with more and more pixels as in Modas,
    Moosavi-Dezfooli and Frossard, SparseFool, CVPR 2019.
    """
    check_count("pixels", pixels, 1)
    check_count("population", population, 4)
    check_count("generations", generations, 0)
    most = pixels if most_pixels is None else most_pixels
    check_count("most_pixels", most, pixels)
    if images.ndim != 4:
        raise InputError(
            f"places are rows and columns of images (N, C, H, W), got shape {tuple(images.shape)}."
        )
    trial = Trial(model, images, labels, bounds, chunk)
    evolution = _Evolution(trial, keys_of(indices, images), population, seed)
    active = trial.standing
    for count in range(pixels, most + 1):
        if len(active) == 0:
            break
        active = evolution.run(active, count, generations)
    return trial.conclude()


class _Evolution:
    """Populations of candidates: genes in [0, 1], for each pixel its row, column and colour."""

    def __init__(self, trial: Trial, keys: Int[Tensor, " n"], population: int, seed: int) -> None:
        self.trial, self.keys, self.population, self.seed = trial, keys, population, seed
        self.dtype = precise(trial.images)
        self.fittest = torch.full_like(keys, -torch.inf, dtype=self.dtype)

    def run(self, rows: Int[Tensor, " m"], pixels: int, generations: int) -> Int[Tensor, " rest"]:
        """Evolve candidates with so many pixels for the images at `rows`; return which resist."""
        genes = self._first(rows, pixels)
        fitness = torch.full_like(genes[..., 0, 0], -torch.inf)
        for generation in range(generations + 1):
            children = genes if generation == 0 else self._children(rows, genes, generation)
            fresh, fooled = self._judge(rows, children)
            self.trial.iterations[rows] += 1
            done = fooled.any(dim=1)
            self._settle(rows[done], children[done], fresh.where(fooled, -torch.inf)[done])
            better = fresh > fitness
            genes = torch.where(better[..., None, None], children, genes)[~done]
            fitness = fresh.where(better, fitness)[~done]
            rows = rows[~done]
            if len(rows) == 0:
                return rows
        best = fitness.amax(dim=1)
        gained = best > self.fittest[rows]
        self._settle(rows[gained], genes[gained], fitness[gained])
        self.fittest[rows] = torch.maximum(best, self.fittest[rows])
        return rows

    def _first(self, rows: Tensor, pixels: int) -> Tensor:
        keys, stream = self.keys[rows], f"one_pixel/{pixels}"
        shape, channels = (self.population, pixels), self.trial.images.shape[1]
        places = rng.uniform(self.seed, f"{stream}/places", keys, (*shape, 2), self.dtype)
        colours = rng.normal(self.seed, f"{stream}/colours", keys, (*shape, channels), self.dtype)
        return torch.cat([places, (0.5 + 0.5 * colours).clamp(0, 1)], dim=3)

    def _children(self, rows: Tensor, genes: Tensor, generation: int) -> Tensor:
        size = self.population
        stream = f"one_pixel/{genes.shape[2]}/parents/{generation}"
        draws = rng.uniform(self.seed, stream, self.keys[rows], (size, 3), torch.float64)
        # Three different members, none of them the parent: each skips those drawn before it.
        one, two, three = (draws * torch.arange(size - 1, size - 4, -1).to(draws)).long().unbind(2)
        two = two + (two >= one)
        three = three + (three >= torch.minimum(one, two))
        three = three + (three >= torch.maximum(one, two))
        parents = torch.arange(size, device=rows.device)[:, None]
        members = (parents + 1 + torch.stack([one, two, three], dim=2)) % size
        images = torch.arange(len(rows), device=rows.device)[:, None]
        first, second, third = (genes[images, member] for member in members.unbind(2))
        return (first + _FACTOR * (second - third)).clamp(0, 1)

    def _judge(
        self, rows: Int[Tensor, " m"], genes: Float[Tensor, "m population pixels genes"]
    ) -> tuple[Float[Tensor, "m population"], Bool[Tensor, "m population"]]:
        """Return the log-odds against the label of every candidate, and which of them fool.

        Odds order candidates as the label's probability does, and do not saturate as it does.
        """
        trial, flat = self.trial, genes.flatten(0, 1)
        owners = rows.repeat_interleave(self.population)
        fitness, fooled = [], []
        for part in chunks(torch.arange(len(owners), device=rows.device), trial.chunk):
            logits = trial.classifier.logits(self._paint(owners[part], flat[part]), owners[part])
            labels = trial.labels[owners[part]]
            scores = logits.to(self.dtype)
            others = scores.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
            odds = others - scores.gather(1, labels[:, None]).squeeze(1)
            fitness.append(odds.where(logits.isfinite().all(dim=1), -torch.inf))
            fooled.append(lead(logits, labels) > rounding(logits))
        shape = genes.shape[:2]
        return torch.cat(fitness).reshape(shape), torch.cat(fooled).reshape(shape)

    def _settle(self, rows: Tensor, genes: Tensor, fitness: Tensor) -> None:
        """Make the fittest candidate of each image its adversarial one."""
        if len(rows):
            best = genes[torch.arange(len(rows), device=rows.device), fitness.argmax(dim=1)]
            self.trial.adversarial[rows] = self._paint(rows, best)

    def _paint(
        self, rows: Int[Tensor, " m"], genes: Float[Tensor, "m pixels genes"]
    ) -> Float[Tensor, "m c h w"]:
        """Return the clean images with the pixels of one candidate each."""
        box, painted = self.trial.box, self.trial.images[rows]
        each = torch.arange(len(rows), device=rows.device)
        sides = torch.tensor(painted.shape[2:], device=rows.device)
        places = torch.minimum((genes[..., :2] * sides).long(), sides - 1)
        # One after the other, as two pixels of a candidate may share a place.
        for pixel in range(genes.shape[1]):
            down, right = places[:, pixel].unbind(1)
            low, high = box.lower[rows, :, down, right], box.upper[rows, :, down, right]
            colours = low + genes[:, pixel, 2:] * (high - low)
            painted[each, :, down, right] = torch.clamp(colours.to(low.dtype), low, high)
        return painted
