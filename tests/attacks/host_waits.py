"""Where the host waits for the device: what keeps a GPU idle, seen on any machine."""

from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("_local_scalar_dense", "nonzero", "equal.default")


class Waits(TorchDispatchMode):
    """Count the operations whose outcome the host must know before it can go on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in _WAITING)
        return function(*args, **(kwargs or {}))
