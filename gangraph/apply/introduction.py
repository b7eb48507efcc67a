"""What a person is told before images go through a network."""

from collections.abc import Iterator

from gangraph.apply.applied import Applied
from gangraph.apply.sizes import Follows, Size


def preparation_text(found: Applied, follows: Follows | None, asked: Size | None) -> Iterator[str]:
    """How images are prepared for a network, and what becomes of their sizes."""
    like = f"as {found.like} is: " if found.like else ""
    colours, (low, high) = "grey" if found.options.channels == 1 else "colour", found.given
    yield f"{found.name} is given images {like}{colours} in [{low:g}, {high:g}]"
    yield _about_sizes(found, follows, asked)


def _about_sizes(found: Applied, follows: Follows | None, asked: Size | None) -> str:
    options = found.options
    how = f"fit={options.fit}, interpolation={options.interpolation}"
    if follows is None:
        whole = options.resize or options.size
        resized = f"images are resized to {whole} ({how})" if whole else "images keep their scale"
        cropped = f", and the centre {options.crop} is cut out" if options.crop else ""
        return f"it takes {size_text(found.size)} pixels alone: {resized}{cropped}"
    if asked is not None:
        return f"images are resized to {size_text(asked)} ({how})"
    several = max(follows.multiple) > 1
    filled = f", filled up to multiples of {size_text(follows.multiple)} and cut back" if several else ""
    factors = dict.fromkeys(str(factor) for factor in follows.factor)
    factor = "" if list(factors) == ["1"] else f", times {' and '.join(factors)}"
    return f"images keep their size{factor}{filled}"


def size_text(size: Size) -> str:
    """A size as people write it, width first."""
    return f"{size[1]}x{size[0]}"
