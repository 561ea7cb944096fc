"""Pieces of a long chapter: work on images in blocks, kept as they finish, split into shards.

A block is a fixed stretch of positions and is computed as one batch wherever it is computed, so
that its numbers are the same bit for bit in a run of its own, in one that goes on after an
interruption, and in any shard on a machine of the same kind.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from jaxtyping import Int, Shaped
from torch import Tensor

import robustkit
from robustkit import inputs, piece_files, piece_folders
from robustkit.arguments import check_count
from robustkit.errors import DataError, InputError, RunError
from robustkit.joining import join, put_together, take_apart
from robustkit.piece_files import Piece


class Pieces:
    """The share of a run in the work on images: all of it, or that of one shard.

    - `shard`, `shards`: which part of the images, from 0; the chapter's parameters of these names.
    - `block`: images that are computed as one batch. Shard k has the blocks k, k + shards, ...

    In a run that `robustkit run` started, what is finished is kept, and the same command goes on
    from there after an interruption; elsewhere nothing is kept. Raises `InputError` outside these
    ranges.
    """

    def __init__(self, shard: int = 0, shards: int = 1, *, block: int = 512) -> None:
        check_count("shards", shards, 1)
        check_count("block", block, 1)
        if not 0 <= shard < shards:
            raise InputError(f"shard must lie in [0, {shards}), got {shard}.")
        self.shard, self.shards, self.block = shard, shards, block
        self._folder = piece_folders.folder()
        self._collected = piece_folders.collected()
        self._read = inputs.FirstRead()
        self._seconds: dict[str, float] = {}

    def rows(self, count: int) -> Int[Tensor, " n"]:
        """Return which of `count` images are this run's: their positions, int64, ascending.

        Raises `InputError` where there are fewer blocks than shards, so that a shard has nothing.
        """
        check_count("count", count, 1)
        blocks = -(-count // self.block)
        if blocks < self.shards:
            raise InputError(
                f"{count} images, in blocks of {self.block}, are too few for {self.shards} shards; "
                f"take shards={blocks}, or more images."
            )
        positions = torch.arange(count)
        return positions[positions // self.block % self.shards == self.shard]

    def by_image(
        self,
        name: str,
        function: Callable[..., Any],
        *tensors: Shaped[Tensor, "..."],
        rows: Shaped[Tensor, "..."],
        of: object = None,
    ) -> Any:
        """Return what `function` makes of images, each of which has a result of its own.

        - `function`: from some rows of the `tensors` to a tensor or a mapping of tensors with one
          row an image, or to a result of robustkit. What it makes of a row depends on no other.
        - `tensors`: `(n, ...)` each, what the function is given; if it draws random numbers keyed
          per image, the `rows` are among them.
        - `rows`: `(n,)`, positions from `rows()`, all or some of them, ascending.
        - `of`: all else that the result depends on and that the parameters of the chapter do not
          decide, such as networks that were trained and numbers that were measured before: a
          model, tensor, number or text, or a mapping of names to these.

        Raises `InputError` for a name in use, other rows and other results, and `RunError` when
        pieces of shards are collected and one is absent or of something else.
        """
        positions = rows.cpu()
        self._check(name, positions, tensors)
        blocks, counts = (positions // self.block).unique_consecutive(return_counts=True)
        lengths: list[int] = counts.tolist()
        device = tensors[0].device
        made_of = {"name": name, "block": str(self.block), "model": piece_files.describe(of)}
        if not (self._collected and device.type == "cpu"):
            # A processor collects what a GPU has made; else one record is of one kind of machine.
            made_of["kind of device"] = device.type
        found = []
        for block, here, *batch in zip(
            blocks.tolist(),
            positions.split(lengths),
            *(tensor.split(lengths) for tensor in tensors),
            strict=True,
        ):
            # In memory of its own: where a batch begins decides how some libraries sum.
            own = tuple(part.clone() for part in batch)
            found.append(self._of_block(name, block, here, own, made_of, function))
        self._seconds[name] = sum(piece.seconds for piece in found)
        return put_together(join([piece_files.on_device(p, device) for p in found], lengths))

    def once(self, name: str, function: Callable[[Path | None], Any], *, of: object = None) -> Any:
        """Return what `function` makes, made by one shard for all of them: a training, say.

        - `function`: from a path to a tensor, a mapping of tensors or a result of robustkit. The
          path is for a checkpoint of its own, which is removed at the end; None where nothing is
          kept.
        - `of`: as in `by_image`.

        The tensors come on the processor. While one shard is at it, the others wait. Raises
        `InputError` for a name in use and other results, and `RunError` when pieces of shards are
        collected and this one is absent or of something else.
        """
        self._check_name(name)
        made_of = {"name": name, "model": piece_files.describe(of)}
        if self._folder is None:
            piece = _timed(lambda: function(None))
        else:
            folder = self._folder / piece_folders.ONCE
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / piece_folders.file_name(name)
            # A checkpoint does not know by which code it was made.
            source = inputs.digest(sorted(Path(robustkit.__file__).parent.rglob("*.py")))
            begun = place.with_suffix(f".{source[:12]}.unfinished")
            with FileLock(place.with_suffix(".lock")):
                piece = self._kept(place, made_of, lambda: function(begun), "the shards")
                begun.unlink(missing_ok=True)
        self._seconds[name] = piece.seconds
        host = {key: tensor.cpu() for key, tensor in piece.parts.tensors.items()}
        return put_together(replace(piece.parts, tensors=host))

    def seconds(self, name: str) -> float:
        """Return how long the work under a name took, by whichever shard it was done.

        Raises `InputError` for a name that has not been used yet.
        """
        if name not in self._seconds:
            raise InputError(f"nothing was made under the name {name!r} yet.")
        return self._seconds[name]

    def _of_block(
        self,
        name: str,
        block: int,
        rows: Tensor,
        batch: tuple[Tensor, ...],
        made_of: dict[str, str],
        function: Callable[..., Any],
    ) -> Piece:
        if self._folder is None:
            return _timed(lambda: function(*batch))
        shards = self._collected or self.shards
        owner = piece_folders.of_shard(block % shards, shards)
        place = self._folder / owner / piece_folders.file_name(name, block)
        described = made_of | {"images": piece_files.describe_rows(rows, batch)}
        whose = f"shard {block % shards} of {shards}"
        return self._kept(place, described, lambda: function(*batch), whose)

    def _kept(
        self, place: Path, made_of: dict[str, str], make: Callable[[], Any], whose: str
    ) -> Piece:
        assert self._folder is not None
        made_of = {"run": self._folder.parent.name, **made_of}
        # Read before the work, which is by the code of now.
        self._read.entries()
        try:
            found, reason = piece_files.read(place, made_of, self._read), "it is not there"
        except DataError as error:
            found, reason = None, str(error)
        if found is None and self._collected:
            raise RunError(
                f"the piece {made_of['name']!r} of {whose} cannot be collected: {reason}. Run "
                f"{whose} again with --force."
            )
        if found is None:
            found = _timed(make)
            piece_files.write(place, found, made_of, self._read)
        return found

    def _check(self, name: str, rows: Tensor, tensors: tuple[Tensor, ...]) -> None:
        self._check_name(name)
        if rows.ndim != 1 or rows.dtype != torch.int64 or len(rows) == 0:
            raise InputError(
                f"rows must be int64 positions of at least one image, got {rows.dtype} of shape "
                f"{tuple(rows.shape)}."
            )
        own = bool((rows // self.block % self.shards == self.shard).all())
        if not own or int(rows[0]) < 0 or not bool((rows.diff() > 0).all()):
            raise InputError("rows must be ascending positions of this shard; take them of rows().")
        if not tensors or any(len(tensor) != len(rows) for tensor in tensors):
            raise InputError(
                f"{len(rows)} rows need tensors of as many images, got "
                f"{[tuple(tensor.shape) for tensor in tensors]}."
            )

    def _check_name(self, name: str) -> None:
        if name in self._seconds:
            raise InputError(f"there is a piece {name!r} already; give each its own name.")


def _timed(make: Callable[[], Any]) -> Piece:
    start = time.perf_counter()
    parts = take_apart(make())
    if not all(tensor.is_cpu for tensor in parts.tensors.values()):
        torch.cuda.synchronize()
    on_host = frozenset(name for name, tensor in parts.tensors.items() if tensor.is_cpu)
    return Piece(parts, time.perf_counter() - start, on_host)
