"""A classifier as attacks see it: logits, class gradients, and a count of the passes made."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.checks import (
    check_held,
    check_images,
    check_labels,
    check_logits,
    check_model,
    run_model,
)
from robustkit.errors import InputError


class Classifier:
    """A model that counts how often each of `count` images goes through it, and back.

    `forwards` and `backwards` (int64, `(count,)`) count the passes an image took part in;
    `forward_calls` and `backward_calls` count batched calls. `classes` is known, and `labels` are
    checked against it, from the first call on. Raises `InputError` for a model in training mode or
    with parameters made in inference mode, which cannot be differentiated.
    """

    def __init__(
        self,
        model: nn.Module,
        count: int,
        device: torch.device,
        labels: Shaped[Tensor, "..."] | None = None,
    ) -> None:
        check_model(model)
        if any(tensor.is_inference() for tensor in [*model.parameters(), *model.buffers()]):
            raise InputError(
                "the model was built or loaded inside torch.inference_mode(), so that no gradient "
                "can pass it; build it outside."
            )
        if labels is not None:
            # The first call tells how many classes there are; labels are copied before.
            check_held("labels", labels)
        self.model, self.labels, self.classes = model, labels, 0
        self.forwards = torch.zeros(count, dtype=torch.int64, device=device)
        self.backwards = torch.zeros(count, dtype=torch.int64, device=device)
        self.forward_calls = 0
        self.backward_calls = 0

    def logits(
        self, images: Float[Tensor, "m *shape"], rows: Int[Tensor, " m"]
    ) -> Float[Tensor, "m classes"]:
        """Return the logits of the images at `rows` of the batch, without a graph."""
        with torch.no_grad():
            return self._forward(images, rows)

    def graph(
        self, images: Float[Tensor, "m *shape"], rows: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m *shape"], Float[Tensor, "m classes"]]:
        """Return differentiable inputs and their logits, to hand to `pull_back`.

        Raises `InputError` when the logits do not carry a gradient.
        """
        inputs = images.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._forward(inputs, rows)
        if not logits.requires_grad:
            raise InputError(
                "the model's logits carry no gradient: it detaches its input, or rounds it. "
                "Gradient attacks need a differentiable model."
            )
        return inputs, logits

    def pull_back(
        self,
        inputs: Float[Tensor, "m *shape"],
        logits: Float[Tensor, "m classes"],
        weights: Float[Tensor, "m classes"],
        rows: Int[Tensor, " m"],
        *,
        keep_graph: bool = False,
    ) -> Float[Tensor, "m *shape"]:
        """Return the gradient of each image's weighted sum of logits, in one backward call.

        One call serves the batch because images do not interact in eval mode. Logits that do not
        depend on the input have the gradient zero.
        """
        self.backwards.index_add_(0, rows, torch.ones_like(rows))
        self.backward_calls += 1
        (gradient,) = torch.autograd.grad(
            logits, inputs, weights, retain_graph=keep_graph, materialize_grads=True
        )
        return gradient

    def _forward(self, images: Tensor, rows: Tensor) -> Tensor:
        # An attack may try several candidates of one image in one call.
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        self.forward_calls += 1
        logits = run_model(self.model, images)
        check_logits(logits, len(images))
        check_held("the logits of the model", logits)
        if self.classes == 0:
            self.classes = logits.shape[1]
            if self.labels is not None:
                check_labels(self.labels, len(self.forwards), self.classes)
        return logits


def wasteful(total: int, staying: int, *, backward_calls: int) -> bool:
    """Say if gradients cost less in a new graph, made of those images alone that stay.

    In the graph at hand each backward call is wasted on the images that leave; a new one costs
    those that stay another forward pass, which takes about as long as one backward pass.
    """
    return (total - staying) * backward_calls > staying


def top_rivals(
    scores: Float[Tensor, "m classes"], labels: Int[Tensor, " m"], count: int
) -> Int[Tensor, "m count"]:
    """Return the classes with the `count` largest scores beside the label, largest first."""
    others = scores.scatter(1, labels[:, None], -torch.inf)
    return others.topk(count, dim=1).indices


def rival_gradients(
    classifier: Classifier,
    inputs: Float[Tensor, "m *shape"],
    logits: Float[Tensor, "m classes"],
    rows: Int[Tensor, " m"],
    labels: Int[Tensor, " m"],
    rivals: Int[Tensor, "m rivals"],
) -> Iterator[Float[Tensor, "m *shape"]]:
    """Yield, rival by rival, the gradients of the rival's logit minus the label's.

    The difference is differentiated at once: one backward call a rival, none for the label, and
    one gradient in memory at a time. The graph is freed after the last.
    """
    last = rivals.shape[1] - 1
    ones = torch.ones_like(logits[:, :1])
    for column in range(last + 1):
        weights = torch.zeros_like(logits)
        weights.scatter_(1, rivals[:, column, None], ones).scatter_(1, labels[:, None], -ones)
        yield classifier.pull_back(inputs, logits, weights, rows, keep_graph=column < last)


def class_gradients(
    model: nn.Module, images: Shaped[Tensor, "..."], classes: Int[Tensor, "n chosen"]
) -> tuple[Float[Tensor, "n classes"], Float[Tensor, "n chosen ..."]]:
    """Return the logits `(N, K)` and the gradients of chosen logits `(N, chosen, *shape)`.

    Row i of `classes` names the classes whose logits are differentiated at image i. One forward
    call and `chosen` backward calls serve the whole batch. Works in a caller's `torch.no_grad()`.
    Raises `InputError` for images or a model that `robustkit.checks` refuses (any finite range of
    pixels is accepted), for logits without a gradient, and for classes that the model lacks.
    """
    check_images(images, unit_range=False)
    if classes.ndim != 2 or len(classes) != len(images) or 0 in classes.shape:
        raise InputError(
            f"classes must be ({len(images)}, chosen), at least one an image, got shape "
            f"{tuple(classes.shape)}."
        )
    with torch.inference_mode(False):
        rows = torch.arange(len(images), device=images.device)
        classifier = Classifier(model, len(images), images.device)
        inputs, logits = classifier.graph(images.clone(), rows)
        check_labels(classes.flatten(), classes.numel(), logits.shape[1])
        classes = classes.to(rows)
        gradients = []
        for column in range(classes.shape[1]):
            weights = torch.zeros_like(logits).scatter_(1, classes[:, column, None], 1.0)
            keep = column < classes.shape[1] - 1
            gradients.append(classifier.pull_back(inputs, logits, weights, rows, keep_graph=keep))
        return logits.detach(), torch.stack(gradients, dim=1)


def lead(logits: Float[Tensor, "m classes"], labels: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Return the best other logit minus the label's: positive where the label lost.

    Minus infinity where any logit is NaN or infinite: such an output is never a success.
    """
    own = labels[:, None]
    others = logits.scatter(1, own, -torch.inf).amax(dim=1)
    difference = others - logits.gather(1, own).squeeze(1)
    return difference.where(logits.isfinite().all(dim=1), -torch.inf)


def lead_weights(
    logits: Float[Tensor, "m classes"], labels: Int[Tensor, " m"]
) -> Float[Tensor, "m classes"]:
    """Return the gradient of the lead: one at the best other logit, minus one at the label's."""
    own = labels[:, None]
    best = logits.scatter(1, own, -torch.inf).argmax(dim=1, keepdim=True)
    return torch.zeros_like(logits).scatter(1, best, 1.0).scatter(1, own, -1.0)


def rounding(logits: Float[Tensor, "m classes"]) -> Float[Tensor, " m"]:
    """Return the difference of two logits below which their order may be rounding alone.

    The same image in a batch of another size has logits that differ in the last digits; a lead
    above this threshold stays a lead there.
    """
    return 16 * torch.finfo(logits.dtype).eps * logits.abs().amax(dim=1)
