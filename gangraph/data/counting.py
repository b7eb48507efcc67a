"""How many samples a source has, if that is known on this machine."""

from dataclasses import replace

from gangraph.data.source import Source, innermost, missing_places, open_source
from gangraph.data.torchvision_sets import Torchvision
from gangraph.errors import DataError


def samples_here(called: str, source: Source) -> int | str:
    """The number of samples of a source, or why it is not known. Files are listed and not decoded; none is fetched.

    `called` is the source's path in the spec, such as `data.x`.
    """
    gone = [place for _, place in missing_places(source)]
    if gone:
        return f"there is no '{gone[0]}'"
    read = innermost(source)  # which has as many
    try:
        return len(open_source(called, replace(read, download=False) if isinstance(read, Torchvision) else read))
    except DataError as error:
        return str(error).removeprefix(f"{called}: ")
