"""Digests of tensors and models: what a checkpoint knows its data and weights by."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a sha256 over named tensors: names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def describe_model(model: nn.Module) -> str:
    """Return a digest of a model: its class, its layers as printed, and its weights."""
    kind = f"{type(model).__module__}.{type(model).__qualname__} {model!r}"
    weights: dict[str, Tensor] = dict(model.state_dict())
    return hashlib.sha256(f"{kind} {digest(weights)}".encode()).hexdigest()
