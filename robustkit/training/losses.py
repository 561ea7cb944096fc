"""The loss of a batch: cross-entropy, and with a consistency weight what views have in common."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from robustkit.checks import check_logits, run_model
from robustkit.training.settings import Settings

VIEWS = 3


def batch_loss(
    model: nn.Module,
    batch: Float[Tensor, "inputs *shape"],
    targets: Int[Tensor, " n"],
    settings: Settings,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n classes"]]:
    """Return the loss of a prepared batch and the logits that count for the training accuracy.

    Without `settings.consistency` these are the cross-entropy and the logits of the N images of the
    batch. With it the batch holds `VIEWS` views of N images, the clean ones first, and the loss is
    the cross-entropy of the clean ones plus `consistency` times the Jensen-Shannon divergence of
    all views; the logits are those of the clean ones. The network sees all views in one batch.
    Source: Hendrycks et al., AugMix, ICLR 2020, section 3.
    """
    logits = run_model(model, batch)
    check_logits(logits, len(batch))
    if settings.consistency is None:
        return F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing), logits
    # Imported here, so that a run without it does not depend on the augmentations' source files.
    from robustkit.augment.consistency import jsd_loss

    views = logits.split(len(targets))
    loss = F.cross_entropy(views[0], targets, label_smoothing=settings.label_smoothing)
    return loss + settings.consistency * jsd_loss(*views), views[0]
