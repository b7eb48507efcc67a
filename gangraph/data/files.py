"""Single files that a source reads: that they are named, there, and agree in how many samples they hold."""

from collections.abc import Mapping, Sized
from pathlib import Path

from gangraph.data.archive import missing
from gangraph.data.arguments import require
from gangraph.data.reading import require_regular
from gangraph.errors import DataError


def existing_file(file: str) -> Path:
    """The path of a regular file that is there. Raises DataError, which lists what is there instead."""
    try:
        path = Path(file).expanduser()
        if not path.exists():
            raise missing("file", path)
        require_regular(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home of the user in ~user
        raise DataError(f"'{file}' cannot be read: {error}") from error
    return path


def require_file(name: str, path: object) -> None:
    """Raise ArgumentError unless an argument can be the path of a file."""
    require(isinstance(path, str) and bool(path) and "\0" not in path, name, path, "a path to a file")


def require_equal_lengths(file: str, arrays: Mapping[str, Sized]) -> None:
    """Raise DataError unless all arrays of a file hold as many samples."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
        raise DataError(f"numbers of samples of '{file}' differ: {found}; expected as many of each")
