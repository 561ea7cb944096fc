"""Training on several devices, each process on its share of every batch.

Processes and devices are those of Accelerate, which starts the script:
`accelerate launch --num_processes 4 script.py`.
"""

import torch
from torch import Tensor, nn

from robustkit.errors import InputError
from robustkit.training.processes import Processes


class Accelerated(Processes):
    """As many processes as Accelerate has started: `train(..., processes=Accelerated())`.

    Every process calls `train` with the same arguments, and has the trained model when it returns,
    on its own device: a GPU each, or the processor with `cpu`. Process r of n trains on the images
    r, r + n, ... of each batch, so that `batch_size` is that of all processes together, and the
    weights are those of one process up to rounding. They are not where random numbers are not keyed
    per image: dropout, and a `transform` that draws from the global generators, see other numbers
    in each process.

    With `synchronize`, batch normalisation takes its statistics over the batches of all processes,
    which torch can do on GPUs only, and its layers in the model stay synchronised ones; without,
    over each process's own share, and the running statistics are those of the first.

    A checkpoint is written by the first process and read by all, on a file system that they share;
    any number of processes continues it.

    Raises `InputError` where Accelerate is not installed; `train` then raises it for a batch
    smaller than the number of processes, and for batch normalisation that cannot be synchronised.
    """

    def __init__(self, *, synchronize: bool = True, cpu: bool = False) -> None:
        try:
            from accelerate import PartialState
        except ModuleNotFoundError as error:
            raise InputError(
                "training in several processes needs Accelerate: pip install 'robustkit[scale]'."
            ) from error
        # What the user set for Accelerate's own loop, such as a precision, is not for this one.
        self._state = PartialState(cpu=cpu)
        self._synchronize = synchronize
        self.count = self._state.num_processes
        self.rank = self._state.process_index

    def device(self, model: nn.Module) -> torch.device:
        """Return the device of this process."""
        device: torch.device = self._state.device
        return device

    def joined(self, model: nn.Module) -> nn.Module:
        """Return the model whose backward pass averages gradients over all processes.

        Raises `InputError` for batch normalisation that cannot be synchronised.
        """
        if self.count == 1:
            return model
        normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        if self._synchronize and normalised:
            if self._state.device.type != "cuda":
                raise InputError(
                    "batch normalisation is synchronised between GPUs only; with synchronize=False "
                    "each process takes statistics of its own share."
                )
            # The layers are replaced in place, and the names of the state stay.
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        # Of the devices, a model on a processor names none.
        devices = [self._state.device] if self._state.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def total(self, share: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        from accelerate.utils import reduce

        summed: Tensor = reduce(share, "sum")
        return summed

    def agree(self, model: nn.Module) -> None:
        """Give every process the buffers that the first one has."""
        from accelerate.utils import broadcast

        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))

    def wait(self) -> None:
        """Return when every process has come here."""
        self._state.wait_for_everyone()
