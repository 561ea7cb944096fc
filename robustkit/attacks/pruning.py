"""Backward elimination: restore what a sparse perturbation does not need."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from robustkit.attacks.box import Bounds
from robustkit.attacks.classifier import lead, lead_weights, rounding
from robustkit.attacks.linear_solver import Unit, grouped, parse_unit
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.shapes import chunks, precise


@torch.inference_mode(False)
@torch.no_grad()
def prune(
    model: nn.Module,
    result: AttackResult,
    *,
    unit: str = "component",
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Restore changed components that an adversarial image does not need, and judge it anew.

    The components are tried in the order in which the linear model at the adversarial image would
    miss them least: each is set back to its clean value, and stays there if the image still fools.
    Long supports are tried in blocks that double while restoring succeeds and halve when it fails,
    down to single units; so none that is left can be restored alone at the moment it was tried.

    - `result`: of any attack on images `(N, *shape)`; only images that fooled are pruned. One that
      the model gets wrong without any change comes back clean.
    - `unit`: "component", or "pixel" to restore the channels of a pixel of `(N, C, H, W)` together
      first, and what is left by components after that.
    - `bounds`: those of the attack; `chunk`: most images in one call of the network.

    Labels and iterations are those of `result`, to whose passes this adds its own: two forwards to
    judge, one forward and one backward to order the units of each kind, and one forward a trial.
    Raises `InputError` for a model or bounds that do not fit.
    """
    parsed = parse_unit(unit)
    # Labels are -1 where the model had no finite output; the rest must be classes of this model.
    trial = Trial(model, result.images, result.labels.clamp(min=0), bounds, chunk)
    trial.labels, trial.iterations = result.labels.clone(), result.iterations.clone()
    trial.adversarial[trial.standing] = result.adversarial[trial.standing]
    rows = trial.standing[result.success[trial.standing]]
    eliminate(trial, rows, parsed)
    classifier = trial.classifier
    classifier.forwards += result.forwards
    classifier.backwards += result.backwards
    classifier.forward_calls += result.forward_calls
    classifier.backward_calls += result.backward_calls
    return trial.conclude()


def eliminate(trial: Trial, rows: Int[Tensor, " m"], unit: Unit) -> None:
    """Prune the adversarial images of a trial at `rows`, which all fool."""
    for part in chunks(rows, trial.chunk):
        if unit == "pixel" and trial.images.ndim == 4:
            _eliminate(trial, part, "pixel")
        _eliminate(trial, part, "component")


def _eliminate(trial: Trial, rows: Int[Tensor, " m"], unit: Unit) -> None:
    order, lengths = _order(trial, rows, unit)
    # One at a time pays for short supports; for long ones most of a first block is dispensable.
    blocks = (lengths // 8).clamp(min=1)
    done = torch.zeros_like(lengths)
    places = torch.arange(order.shape[1], device=rows.device)[None]
    while True:
        active = (done < lengths).nonzero().squeeze(1)
        if len(active) == 0:
            return
        first, last = done[active, None], (done + blocks)[active, None]
        chosen = (places >= first) & (places < torch.minimum(last, lengths[active, None]))
        which = rows[active]
        points = _restored(trial, which, order[active], chosen, unit)
        logits = trial.classifier.logits(points, which)
        fools = lead(logits, trial.labels[which]) > rounding(logits)
        trial.adversarial[which[fools]] = points[fools]
        stuck = ~fools & (blocks[active] == 1)
        done[active] += torch.where(fools, blocks[active], stuck.to(done))
        blocks[active] = torch.where(fools, 2 * blocks[active], blocks[active] // 2).clamp(min=1)


def _order(
    trial: Trial, rows: Int[Tensor, " m"], unit: Unit
) -> tuple[Int[Tensor, "m longest"], Int[Tensor, " m"]]:
    """Return the changed units of each image, least missed first, and how many they are."""
    inputs, logits = trial.classifier.graph(trial.adversarial[rows], rows)
    weights = lead_weights(logits.detach(), trial.labels[rows])
    slopes = trial.classifier.pull_back(inputs, logits, weights, rows)
    changes = inputs.detach().to(precise(inputs)) - trial.images[rows]
    missed = grouped(slopes.nan_to_num() * changes, unit).sum(dim=1)
    changed = grouped(inputs.detach() != trial.images[rows], unit).any(dim=1)
    lengths = changed.sum(dim=1)
    longest = int(lengths.max())
    ranked = missed.where(changed, torch.inf).sort(dim=1, stable=True).indices
    return ranked[:, :longest], lengths


def _restored(
    trial: Trial,
    rows: Int[Tensor, " m"],
    order: Int[Tensor, "m longest"],
    chosen: Bool[Tensor, "m longest"],
    unit: Unit,
) -> Float[Tensor, "m *shape"]:
    points, clean = trial.adversarial[rows], trial.images[rows]
    per_unit = grouped(points, unit)
    mask = torch.zeros_like(per_unit[:, 0], dtype=torch.bool).scatter(1, order, chosen)
    return torch.where(mask[:, None], grouped(clean, unit), per_unit).reshape(points.shape)
