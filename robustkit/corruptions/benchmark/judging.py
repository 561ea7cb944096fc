"""Models that label the same batches, cell by cell, with what is finished kept on disk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from robustkit.checks import check_labels, check_predictions
from robustkit.corruptions.benchmark.store import CellStore
from robustkit.corruptions.benchmark.table import CLEAN, CorruptionTable
from robustkit.data import as_float
from robustkit.digests import describe_model
from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.progress import progress

Cell = tuple[str, int]
Batches = Callable[[Cell], Iterable[Tensor]]


class Judge:
    """Models by name, and the true labels `(N,)` of the images that they are to label.

    `sample` is an image of those `(1, C, H, W)` that every model must take; all models are on one
    device, or without parameters follow `sample`. Finished cells are kept in `folder` if there is
    one, under `settings(cell)`, plain values that describe the cell's images and labels. Raises
    `InputError` for no model, models on several devices or in training mode, and labels that a
    model has no logit for.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        sample: Shaped[Tensor, "..."],
        labels: Shaped[Tensor, "..."],
        folder: Path | str | None,
        settings: Callable[[Cell], Mapping[str, object]],
    ) -> None:
        self.models = dict(models)
        if not self.models:
            raise InputError("there is no model to judge: pass at least one.")
        self.device = _common_device(self.models, sample.device)
        for model in self.models.values():
            classes = check_predictions(model, as_float(sample.to(self.device)))
            check_labels(labels, len(labels), classes)
        self.labels = labels.to(self.device)
        self.stores = {}
        if folder is not None:
            precision = {"precision": _precision(self.device)}
            self.stores = {
                name: CellStore(folder, {"model": describe_model(model), **precision}, settings)
                for name, model in self.models.items()
            }

    def tables(
        self, cells: Sequence[Cell], corrupted: Batches, clean: Batches | None
    ) -> dict[str, CorruptionTable]:
        """Judge every cell, and the clean images if there are any; return a table a model.

        Both functions give the batches of a cell, in the order of the labels; they are called only
        for cells that some model has not been judged on.
        """
        found: dict[str, list[Tensor]] = {name: [] for name in self.models}
        everything = list(cells) if clean is None else [CLEAN, *cells]
        with progress(len(everything) * len(self.labels), "corrupted images") as line:
            for cell in everything:
                batches = clean if clean is not None and cell == CLEAN else corrupted
                for name, hits in self._cell(cell, batches, line.update).items():
                    found[name].append(hits)
        return {
            name: CorruptionTable(
                tuple(cells), torch.stack(hits[-len(cells) :]), None if clean is None else hits[0]
            )
            for name, hits in found.items()
        }

    def _cell(
        self, cell: Cell, batches: Batches, advance: Callable[[int], object]
    ) -> dict[str, Bool[Tensor, " n"]]:
        count = len(self.labels)
        stored = {name: store.read(cell, count) for name, store in self.stores.items()}
        found = {name: hits for name, hits in stored.items() if hits is not None}
        waiting = {name: model for name, model in self.models.items() if name not in found}
        if not waiting:
            advance(count)
            return found
        parts: dict[str, list[Tensor]] = {name: [] for name in waiting}
        start = 0
        for batch in batches(cell):
            batch = batch.to(self.device)
            labels = self.labels[start : start + len(batch)]
            for name, model in waiting.items():
                parts[name].append(predict(model, batch, batch_size=len(batch)) == labels)
            start += len(batch)
            advance(len(batch))
        for name, hits in parts.items():
            found[name] = torch.cat(hits).cpu()
            if name in self.stores:
                self.stores[name].write(cell, found[name])
        return found


def _common_device(models: Mapping[str, nn.Module], default: torch.device) -> torch.device:
    devices = {
        parameter.device for model in models.values() for parameter in [*model.parameters()][:1]
    }
    if len(devices) > 1:
        raise InputError(
            f"the models are on several devices ({', '.join(sorted(map(str, devices)))}); move "
            "them to one."
        )
    return devices.pop() if devices else default


def _precision(device: torch.device) -> str:
    kind = device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return f"{kind} {autocast}"
