"""Checkpoints: tensors as safetensors, everything else as JSON; nothing is ever unpickled.

A checkpoint is a folder that appears whole or not at all: it is written beside its place and renamed. Nothing that is
read here is trusted: `run/verify.py` compares names, shapes, types and ranges with those of a program before the first
tensor is loaded.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gangraph.errors import CheckpointError, RunError
from gangraph.saved.files import abandoned, digest_of, opened, unfinished_name
from gangraph.saved.places import FORMER, former, placed, recover, set_aside
from gangraph.saved.state import FILE, TENSORS, State, damaged, read_state
from gangraph.saved.tensors import LARGEST_HEADER


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds. Tensors are still on disk until they are used; nothing of them has been verified."""

    folder: Path
    state: State
    tensors: Mapping[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, without that; what networks share stands under each of its names."""
        found = part(self.tensors, prefix)
        for mine, theirs in self.state.shared.items():
            if mine.startswith(prefix):
                inner = mine.removeprefix(prefix)
                found |= {f"{inner}{name}": tensor for name, tensor in part(self.tensors, theirs).items()}
        return found

    def misfit(self, why: str) -> CheckpointError:
        """The error about a tensor; `why` begins with its name."""
        return damaged(self.folder, TENSORS, why)

    def verify_digest(self) -> None:
        """Make sure that the tensors are those of the state, bit by bit. Raises CheckpointError."""
        if self.state.digest is None:  # of a version that wrote none
            return
        if digest_of(self.folder / TENSORS) != self.state.digest:
            raise self.misfit(f"found other bits than those that {FILE} was written with (key 'digest')")


def write_checkpoint(
    folder: Path, state: State, tensors: Mapping[str, Tensor], more: Mapping[str, str] | None = None
) -> Path:
    """Write a checkpoint to `folder`, and return it. A former one there is removed only after that.

    Args:
        state: everything but the tensors; the digest of these is filled in.
        tensors: contiguous, on the CPU, by name.
        more: other files that belong to it: texts by name.

    Raises:
        RunError: it cannot be written; what stood there is still there.
    """
    unfinished, before = unfinished_name(folder), former(folder)
    try:
        recover(folder)
        _write(unfinished, state, tensors, more or {})
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)
            folder.rename(before)
        unfinished.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(OSError):
            recover(folder)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(f"checkpoint '{folder}' cannot be written: {why}") from None
    shutil.rmtree(before, ignore_errors=True)
    return folder


def _write(folder: Path, state: State, tensors: Mapping[str, Tensor], more: Mapping[str, str]) -> None:
    """Write a checkpoint's files, and wait until they are on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(dict(tensors), folder / TENSORS)
    digested = state.model_copy(update={"digest": digest_of(folder / TENSORS)})
    for name, text in {FILE: digested.text(), **more}.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tidy(parent: Path) -> None:
    """Remove files that killed processes left unfinished, and put back checkpoints that they left aside.

    Needs the lock.
    """
    for name in set_aside(parent):
        recover(parent / name)
    for path in (*abandoned(parent), *parent.glob(f".*{FORMER}")):
        shutil.rmtree(path, ignore_errors=True)


def read_checkpoint(folder: Path) -> Checkpoint:
    """What a checkpoint's folder holds. Of the tensors, names, shapes and types were read.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    folder = placed(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint '{folder}'")
    state = read_state(folder)
    try:
        with opened(folder / TENSORS) as file:
            header = int.from_bytes(file.read(8), "little")
        if header > LARGEST_HEADER:
            raise ValueError(f"its header claims {header} bytes, more than {LARGEST_HEADER}")
        return Checkpoint(folder, state, load_file(folder / TENSORS))
    except OSError as error:
        raise damaged(folder, TENSORS, error.strerror or str(error)) from None
    except (
        ValueError,
        KeyError,
        SafetensorError,
        RuntimeError,
        MemoryError,
    ) as error:  # of its header, and of types that torch lacks
        raise damaged(folder, TENSORS, str(error)) from None


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
