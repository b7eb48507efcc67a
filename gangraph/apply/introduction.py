"""What `apply` says before it sends images through a network."""

from collections.abc import Iterator

from gangraph.apply.applied import Applied
from gangraph.apply.sizes import Scaling, Size


def preparation_text(found: Applied, scaling: Scaling | None, asked: Size | None) -> Iterator[str]:
    """Sentences on how images are prepared for a network, and on the sizes of the results.

    `asked` is the height and width that the user wants them resized to, if any.
    """
    like = f"as {found.like} is: " if found.like else ""
    colours, (low, high) = "grey" if found.options.channels == 1 else "colour", found.given
    yield f"{found.name} is given images {like}{colours} in [{low:g}, {high:g}]"
    yield _about_sizes(found, scaling, asked)


def _about_sizes(found: Applied, scaling: Scaling | None, asked: Size | None) -> str:
    options = found.options
    how = f"fit={options.fit}, interpolation={options.interpolation}"
    if scaling is None:
        whole = options.resize or options.size
        resized = f"images are resized to {whole} ({how})" if whole else "images keep their scale"
        cropped = f", and the centre {options.crop} is cut out" if options.crop else ""
        return f"it takes {size_text(found.size)} pixels alone: {resized}{cropped}"
    if asked is not None:
        return f"images are resized to {size_text(asked)} ({how})"
    several = max(scaling.multiple) > 1
    filled = f", filled up to multiples of {size_text(scaling.multiple)} and cut back" if several else ""
    factors = dict.fromkeys(str(factor) for factor in scaling.factor)
    factor = "" if list(factors) == ["1"] else f", times {' and '.join(factors)}"
    return f"images keep their size{factor}{filled}"


def size_text(size: Size) -> str:
    """`640x480`: a size (height, width) as people write it, width first."""
    return f"{size[1]}x{size[0]}"
