"""Files that are there whole or not at all, and JSON that every reader of JSON can read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> Path:
    """Write a text beside its place and put it there by renaming. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)


def json_text(data: object, *, indent: int | None = None) -> str:
    """Plain data as JSON. A number that is NaN or infinite has no form in JSON, and becomes `null`."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: object) -> Any:
    match data:
        case float():
            return data if math.isfinite(data) else None
        case Mapping():
            return {key: _finite(value) for key, value in data.items()}
        case list() | tuple():
            return [_finite(item) for item in data]
    return data
