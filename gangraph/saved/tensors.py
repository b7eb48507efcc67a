"""Names and shapes of tensors in safetensors files, from their headers alone, and which of them are a network's."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gangraph.saved.files import opened

LARGEST_HEADER = 16 * 2**20  # bytes, for some hundred thousand tensors

Shape = tuple[int, ...]


def shapes_in(path: Path) -> dict[str, Shape]:
    """The shape of every tensor in a safetensors file, by name.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no safetensors file.
    """
    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError(f"its header claims {length} bytes, more than {LARGEST_HEADER}")
        try:
            header = json.loads(file.read(length).decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            raise ValueError("it has no header of a safetensors file") from None
    if not isinstance(header, dict):
        raise ValueError("it has no header of a safetensors file")
    return {name: _shape(each) for name, each in header.items() if name != "__metadata__"}


def _shape(entry: Any) -> Shape:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("its header gives a tensor no shape")
    return tuple(shape)


def names_of_network(names: Iterable[str], network: str, shared: Mapping[str, str]) -> dict[str, str]:
    """The names under which a checkpoint has the tensors of a network, or average, by the paths in that network.

    Args:
        names: of all tensors of the checkpoint.
        shared: prefixes of names, each with the prefix that stands in its place, of a part under its owner.
    """
    known = list(names)
    kind = "average" if any(name.startswith(f"average/{network}/") for name in known) else "network"
    prefix = f"{kind}/{network}/"
    found = {name.removeprefix(prefix): name for name in known if name.startswith(prefix)}
    for mine, theirs in shared.items():
        if mine.startswith(prefix):
            inner = mine.removeprefix(prefix)
            found |= {inner + name.removeprefix(theirs): name for name in known if name.startswith(theirs)}
    return found
