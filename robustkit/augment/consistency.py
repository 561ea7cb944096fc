"""The consistency loss: how far apart the predictions for several views of an image are."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.checks import check_held
from robustkit.errors import InputError

# As published: a probability that underflows would make the logarithm of the mixture infinite.
_SMALLEST = 1e-7


def jsd_loss(*logits: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return the Jensen-Shannon divergence of the predictions for V views, mean over N images.

    `logits` are V tensors `(N, K)`, V at least 2, one for each view of the same N images. The
    predictions are their softmaxes p_1, ..., p_V, and the loss is
    (KL(p_1, m) + ... + KL(p_V, m)) / V in nats, with m their mean clamped to [1e-7, 1]: from 0 for
    equal predictions to log V for certain ones that all differ, up to rounding and the clamp, which
    can lower it by at most K * 1e-7. Half precision is computed in float32, and the loss is of that
    dtype.

    Raises `InputError` for fewer than two views, for logits that are not floating point `(N, K)`,
    or of several shapes, or for an empty batch.

    Source: Hendrycks et al., AugMix, ICLR 2020, section 3, with the clamp of its published code.
    """
    _check(logits)
    precise = [views if views.dtype == torch.float64 else views.float() for views in logits]
    logarithms = torch.stack([F.log_softmax(views, dim=1) for views in precise])
    mixture = logarithms.exp().mean(dim=0).clamp(_SMALLEST, 1).log()
    divergence = (logarithms.exp() * (logarithms - mixture)).sum(dim=(0, 2)) / len(logits)
    return divergence.mean()


def _check(logits: tuple[Tensor, ...]) -> None:
    if len(logits) < 2:
        raise InputError(
            f"a divergence needs at least 2 views, got {len(logits)}; pass one tensor of logits "
            "(N, K) for each view: jsd_loss(clean, first, second)."
        )
    shape = logits[0].shape
    for views in logits:
        if views.ndim != 2 or views.shape != shape or not views.is_floating_point():
            raise InputError(
                f"logits must be floating point and all of one shape (N, K), got {views.dtype} of "
                f"shape {tuple(views.shape)} beside {tuple(shape)}."
            )
        check_held("logits", views)
    if shape.numel() == 0:
        raise InputError(f"the batch is empty: logits have shape {tuple(shape)}.")
