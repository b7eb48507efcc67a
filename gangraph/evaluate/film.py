"""Films: frames as a GIF, as an APNG, or as an MP4 by the package PyAV."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from gangraph.errors import UsageError
from gangraph.evaluate.pictures import save_image
from gangraph.saved.files import whole

FILMS = (".gif", ".apng", ".mp4")
_SHARP = {"crf": "12", "preset": "slow"}  # of H.264: near what the eye tells apart; 0 is without loss
_WHITE = (255, 255, 255)


def save_film(shown: Sequence[Image.Image], target: Path, *, rate: int) -> None:
    """Write frames of one size at `rate` a second, in the form that the suffix names.

    A GIF has 256 colours and waits for hundredths of a second; an APNG has all colours, and both repeat. An MP4 is
    H.264 with less resolution in colour than in brightness, and even sides: a white line is added to odd ones.

    Raises:
        UsageError: an MP4 needs a package that is not installed.
        OSError: it cannot be written.
    """
    if target.suffix.lower() == ".mp4":
        _save_mp4(shown, target, rate)
    else:
        save_image(shown[0], target, save_all=True, append_images=shown[1:], duration=round(1000 / rate), loop=0)


def require_writer(target: Path) -> None:
    """Refuse a film that nothing here can write. Raises UsageError, which says what to install."""
    if target.suffix.lower() == ".mp4":
        _av(target)


def _av(target: Path) -> Any:
    try:
        return import_module("av")
    except ImportError as error:
        other = f"; '{target.stem}.gif' and '{target.stem}.apng' need nothing"
        raise UsageError(f"'{target}' needs the package av: pip install 'gangraph[video]'{other}") from error


def _save_mp4(shown: Sequence[Image.Image], target: Path, rate: int) -> None:
    av = _av(target)
    width, height = (side + side % 2 for side in shown[0].size)
    with whole(target) as unfinished, av.open(str(unfinished), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=rate, options=_SHARP)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for each in shown:
            even = Image.new("RGB", (width, height), _WHITE)
            even.paste(each)
            film.mux(stream.encode(av.VideoFrame.from_image(even)))
        film.mux(stream.encode())
