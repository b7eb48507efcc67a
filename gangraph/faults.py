"""Errors of the system and of devices that are no fault of a spec: files that cannot be read, and memory."""

import errno
import sys
from typing import Any

from gangraph.errors import WIDEST

_CUDA_NO_MEMORY = 2  # cudaErrorMemoryAllocation
_OF_ALLOCATORS = ("DefaultCPUAllocator", "Cannot allocate memory", "bad_alloc")


def fault_of(error: BaseException) -> str | None:
    """What the system refused, in a line: a file, or memory; None for any other error."""
    text = " ".join(str(error).split())
    if _no_memory(error):
        return f"memory ran out ({text[:WIDEST] or 'no more could be had'}); a smaller train.batch needs less"
    if isinstance(error, OSError) and error.errno is not None:
        what = f"'{error.filename}'" if error.filename else "a file"
        return f"{what} cannot be read or written: {error.strerror or text}"
    if isinstance(error, UnicodeEncodeError):
        return f"'{ascii(error.object)[1:-1]}' cannot be named in this locale; set PYTHONUTF8=1"
    return None


def _no_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the system or of a device."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch: Any = sys.modules.get("torch")  # which is not imported for this: then the error is none of its own
    if torch is None or isinstance(error, MemoryError):
        return isinstance(error, MemoryError)
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) == _CUDA_NO_MEMORY
    # On the CPU torch has no type for it, only a RuntimeError with one of these in its text.
    return isinstance(error, torch.OutOfMemoryError) or (
        type(error) is RuntimeError and any(sign in str(error) for sign in _OF_ALLOCATORS)
    )
