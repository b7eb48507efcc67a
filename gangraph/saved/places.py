"""Where checkpoints are: in their places, or where a process that was killed between two renames left them."""

from collections.abc import Iterator
from pathlib import Path

FORMER = ".former"


def former(folder: Path) -> Path:
    """Where a checkpoint stands between the two renames that put another in its place."""
    return folder.with_name(f".{folder.name}{FORMER}")


def placed(folder: Path) -> Path:
    """Where a checkpoint is: in its place, or where a kill between two renames left it."""
    return former(folder) if former(folder).is_dir() and not folder.exists() else folder


def recover(folder: Path) -> None:
    """Put a checkpoint back that a kill between two renames left aside. Raises OSError."""
    if (former := placed(folder)) != folder:
        former.rename(folder)


def set_aside(parent: Path) -> Iterator[str]:
    """The names of checkpoints that a kill left aside; they are read as if they were in their places."""
    for path in parent.glob(f".*{FORMER}"):
        yield path.name.removeprefix(".").removesuffix(FORMER)
