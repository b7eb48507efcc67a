"""Files that are there whole or not at all."""

from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Write a text beside its place and put it there by renaming. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)
