"""Sparse steps whose gains are measured: the linear model proposes components, the network decides.

The boundary around an image is flat for a short l2 step, but not for one that takes a component all
the way to its bound, and there the gains that the gradient promises are often wrong in size or
sign. So the gradient only ranks the components; the gains of the best ranked are measured, one
forward pass each, and the solver of `linear_solver` fills in order of the measured gains.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustkit.attacks.classifier import lead, lead_weights, rounding
from robustkit.attacks.linear_solver import Unit, attainable, grouped
from robustkit.attacks.trial import Trial
from robustkit.shapes import chunks, lengths_of, precise, rows_of

_FRACTION, _WIDEST, _PATIENCE = 4, 8, 3


class MeasuredSteps:
    """The images of a trial, moved step by step until they fool, or until that does not pay.

    It does not where the measured gains have said three times that more than eight times
    `candidates` units are missing still.

    - `candidates`: how many units of each image are measured in a step, or twice as many as may
      move, if that is more.
    - `moves`: at most so many of them are moved in a step, or a quarter of those that the measured
      gains say are still missing, if that is more: images that need many units need few steps.
    - `precision`: of the measurements, a dtype for autocast; None for that of the model. Who is
      fooled is always decided in the model's own precision.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        unit: Unit,
        candidates: int,
        moves: int,
        precision: torch.dtype | None,
    ) -> None:
        self.trial, self.unit, self.precision = trial, unit, precision
        self.candidates, self.moves = candidates, moves
        self.allowed = torch.full_like(trial.labels, moves)
        self.vain = torch.zeros_like(trial.labels)

    def run(self, rows: Int[Tensor, " m"], steps: int) -> Int[Tensor, " rest"]:
        """Take at most so many steps, and return the rows of the images that are not fooled."""
        stuck = []
        for _ in range(steps):
            if len(rows) == 0:
                break
            outcomes = [self._step(part) for part in chunks(rows, self.trial.chunk)]
            rows = torch.cat([moved for moved, _ in outcomes])
            stuck += [still for _, still in outcomes]
        rows = torch.cat([rows, *stuck])
        left = []
        for part in chunks(rows, self.trial.chunk):
            logits = self.trial.classifier.logits(self.trial.adversarial[part], part)
            # Not "at most": the rounding of an output that is not finite compares with nothing.
            left.append(part[~(lead(logits, self.trial.labels[part]) > rounding(logits))])
        return torch.cat(left) if left else rows

    def _step(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Move the images that do not fool; return those that moved, and those that cannot."""
        trial = self.trial
        points = trial.adversarial[rows]
        slopes, ahead, fools = self._slopes(points, rows)
        broken, going = rows[ahead == -torch.inf], ~fools & (ahead > -torch.inf)
        rows, points, slopes, ahead = rows[going], points[going], slopes[going], ahead[going]
        if len(rows) == 0:
            return rows, broken
        wide = (2 * self.allowed[rows, None]).clamp(self.candidates, _WIDEST * self.candidates)
        widest = int(wide.max())
        slopes = self._midway(points, slopes, rows)
        ends, worth = self._ends(points, slopes, rows)
        chosen = worth.topk(min(widest, worth.shape[1]), dim=1)
        places = torch.arange(chosen.indices.shape[1], device=rows.device)
        useful = (chosen.values > 0) & (places < wide)
        gains = self._measure(points, ends, chosen.indices, useful, rows) - ahead[:, None]
        ranked = gains.where(useful, -torch.inf).sort(dim=1, descending=True, stable=True)
        positive = ranked.values.clamp(min=0)
        before = positive.cumsum(dim=1) - positive
        missing = -ahead[:, None]
        half = (wide + 1) // 2
        rate = positive.where(places < half, 0.0).sum(dim=1, keepdim=True) / half
        needed = missing / rate.clamp(min=torch.finfo(rate.dtype).tiny)
        quarter = (needed / _FRACTION).ceil().clamp(self.moves, _WIDEST // 2 * self.candidates)
        self.allowed[rows] = quarter.squeeze(1).long()
        moves = torch.minimum(quarter, half)
        taken = (before < missing) & (ranked.values > 0) & (places < moves)
        # Where nothing gains, the least loss may still open a way that no single unit shows.
        taken[:, 0] = ranked.values[:, 0] > -torch.inf
        self.vain[rows] += (needed > _WIDEST * self.candidates).squeeze(1)
        able = taken[:, 0] & (self.vain[rows] < _PATIENCE)
        units = chosen.indices.gather(1, ranked.indices)
        trial.adversarial[rows] = self._moved(points, ends, units, taken & able[:, None])
        trial.iterations[rows] += able
        return rows[able], torch.cat([rows[~able], broken])

    def _slopes(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of the best rival's lead, the lead, and whether it is one."""
        inputs, logits = self.trial.classifier.graph(points, rows)
        labels, scores = self.trial.labels[rows], logits.detach()
        ahead = lead(scores, labels)
        weights = lead_weights(scores, labels)
        slopes = self.trial.classifier.pull_back(inputs, logits, weights, rows)
        slopes = slopes.to(precise(slopes))
        lengths = rows_of(lengths_of(slopes), slopes)
        usable = (lengths > 0) & lengths.isfinite()
        return torch.where(usable, slopes / lengths, 0.0), ahead, ahead > rounding(scores)

    def _midway(self, points: Tensor, slopes: Tensor, rows: Tensor) -> Tensor:
        """Add the direction in the middle of a long move: a midpoint rule for gains.

        The move takes as many units as an image may miss without being left to planes: after a
        short one the gradient of an adversarially trained network would still be the old one.
        """
        ends, worth = self._ends(points, slopes, rows)
        chosen = worth.topk(min(_WIDEST * self.candidates, worth.shape[1]), dim=1)
        halfway = (points + ends) / 2
        middle = self._moved(points, halfway, chosen.indices, chosen.values > 0)
        return slopes + self._slopes(middle, rows)[0]

    def _ends(self, points: Tensor, slopes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds that the components point to, and the attainable gain of each unit.

        A unit that was moved already gains nothing, so that every step changes new ones.
        """
        box = self.trial.box.at(rows)
        ends = torch.where(slopes > 0, box.upper, torch.where(slopes < 0, box.lower, points))
        gains = attainable(slopes, points - box.lower, box.upper - points)
        fresh = ~grouped(points != self.trial.images[rows], self.unit).any(dim=1)
        return ends, grouped(gains, self.unit).sum(dim=1).where(fresh, 0.0)

    def _measure(
        self,
        points: Float[Tensor, "m *shape"],
        ends: Float[Tensor, "m *shape"],
        units: Int[Tensor, "m candidates"],
        useful: Bool[Tensor, "m candidates"],
        rows: Int[Tensor, " m"],
    ) -> Float[Tensor, "m candidates"]:
        """Return the lead of the best rival after each candidate alone has moved to its bound.

        Minus infinity for those that are not useful, or where the output is not finite.
        """
        leads = torch.full(units.shape, -torch.inf, device=units.device, dtype=precise(points))
        pairs = useful.nonzero()
        for part in chunks(torch.arange(len(pairs), device=units.device), self.trial.chunk):
            image, place = pairs[part].unbind(dim=1)
            alone = units[image, place][:, None]
            tried = self._moved(
                points[image], ends[image], alone, torch.ones_like(alone, dtype=torch.bool)
            )
            with torch.autocast(
                points.device.type, dtype=self.precision, enabled=self.precision is not None
            ):
                logits = self.trial.classifier.logits(tried, rows[image])
            found = lead(logits.to(leads.dtype), self.trial.labels[rows[image]])
            leads[image, place] = found
        return leads

    def _moved(self, points: Tensor, ends: Tensor, units: Tensor, taken: Tensor) -> Tensor:
        """Return the points with the taken ones of some units at their ends."""
        per_unit = grouped(points, self.unit)
        index = units[:, None].expand(-1, per_unit.shape[1], -1)
        kept = per_unit.gather(2, index)
        values = torch.where(taken[:, None], grouped(ends, self.unit).gather(2, index), kept)
        return per_unit.scatter(2, index, values).reshape(points.shape)
