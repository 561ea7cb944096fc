"""Images, generators and one draw of an operation, for the tests of PRIME."""

import torch

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, shape=(3, 12, 10), seed=0, dtype=torch.float32):
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def drawn(operation, count, shape=(3, 32, 32), seed=0, dtype=torch.float64):
    return operation.sample(count, shape, generator=generator(seed), dtype=dtype, device=CPU)


def augmented(operation, batch, seed=0):
    drawn_ = drawn(operation, len(batch), tuple(batch.shape[1:]), seed, batch.dtype)
    return operation.apply(batch, drawn_)
