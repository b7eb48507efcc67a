"""One process at a time in a folder."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gangraph.errors import RunError

FILE = ".lock"


@contextmanager
def locked(folder: Path, what: str = "run") -> Iterator[None]:
    """Hold a folder's lock, which the system releases however the process ends.

    Raises:
        RunError: another process holds it, or the file system has no locks.
    """
    with open(os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(200).strip() or "another process"
            message = f"{what} '{folder}' is in use by {holder}: wait for it to end, or take another folder"
            raise RunError(message) from None
        except OSError as error:
            raise RunError(f"{what} '{folder}' cannot be locked against other processes: {error.strerror}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
