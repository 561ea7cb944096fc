"""A plain multilayer perceptron, for data without spatial structure."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robustkit.errors import InputError


class MLP(nn.Module):
    """`depth` hidden layers of `width` ReLUs on `size` inputs, and a linear layer to `classes`.

    Points are `(N, *shape)` of `size` components in all, which are flattened. Raises `InputError`
    on another size, and for fewer than 1 input, 2 classes, 1 unit a layer or 1 hidden layer.
    """

    def __init__(self, size: int, classes: int = 2, width: int = 500, depth: int = 10) -> None:
        super().__init__()
        if size < 1 or classes < 2 or width < 1 or depth < 1:
            raise InputError(
                "a perceptron needs at least 1 input, 2 classes and 1 hidden layer of 1 unit, "
                f"got size={size}, classes={classes}, width={width} and depth={depth}."
            )
        self.size = size
        sizes = [size] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(sizes))
        self.output = nn.Linear(width, classes)

    def forward(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits `(N, classes)`."""
        features = points.flatten(1)
        if features.shape[1] != self.size:
            raise InputError(
                f"the perceptron takes points of {self.size} components, got shape "
                f"{tuple(points.shape)}; build one of size {features.shape[1]}."
            )
        for layer in self.hidden:
            features = F.relu(layer(features))
        logits: Tensor = self.output(features)
        return logits
