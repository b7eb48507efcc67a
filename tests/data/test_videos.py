"""Clips of consecutive frames: from arrays, folders of frames, and files of several frames."""

import os
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gangraph.data.videos import Videos
from gangraph.errors import DataError

LONG, SHORT = 9, 6


def video(count: int, seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Two videos in one .npz file; the second is too short for clips of seven frames."""
    path = tmp_path / "videos.npz"
    np.savez(path, first=video(LONG), second=video(SHORT, 1))
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The same videos as folders of frames."""
    for name, frames in (("first", video(LONG)), ("second", video(SHORT, 1))):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / "all" / name / f"{number}.png")
    return tmp_path / "all"


def taken(source: Videos, *indices: int, seed: int = 0) -> Tensor:
    return source.open().batch(indices, torch.Generator().manual_seed(seed))["value"]


def scaled(frames: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def test_every_run_of_frames_is_a_sample_and_none_has_frames_of_two_videos(arrays: Path) -> None:
    source = Videos(str(arrays), frames=4, crop=(12, 16))
    assert source.fields["value"].shape == (4, 3, 12, 16)
    assert len(source.open()) == (LONG - 3) + (SHORT - 3)
    clips = taken(source, *range(9))
    expected = [scaled(video(LONG))[n : n + 4] for n in range(6)] + [
        scaled(video(SHORT, 1))[n : n + 4] for n in range(3)
    ]
    assert torch.equal(clips, torch.stack(expected))


def test_folders_of_frames_in_the_order_of_their_numbers_give_the_same(arrays: Path, folders: Path) -> None:
    for name in ("10", "11"):  # after 9, not after 1
        Image.fromarray(video(1, 7)[0]).save(folders / "second" / f"{name}.png")
    one, other = (Videos(str(place), frames=4, crop=(12, 16)) for place in (arrays, folders))
    assert torch.equal(taken(one, *range(9)), taken(other, *range(9)))
    assert len(Videos(str(folders / "first"), frames=4, size=8).open()) == LONG - 3


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), 40 * n, np.uint8)) for n in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    clips = taken(Videos(str(tmp_path / "a.gif"), frames=2, size=8, range="unit", channels=1), 0, 3)
    assert torch.allclose(clips.mean((2, 3, 4)) * 255, torch.tensor([[0.0, 40], [120, 160]]), atol=1)
    assert torch.equal(clips, taken(Videos(str(tmp_path), frames=2, size=8, range="unit", channels=1), 0, 3))


def test_a_stride_skips_frames_and_a_part_keeps_others_apart(arrays: Path) -> None:
    frames = scaled(video(LONG))
    skipped = Videos(str(arrays), frames=3, stride=2, crop=(12, 16))
    assert len(skipped.open()) == (LONG - 4) + (SHORT - 4)
    assert torch.equal(taken(skipped, 1)[0], frames[1:6:2])
    start, end = (Videos(str(arrays), frames=3, crop=(12, 16), part=part) for part in ((0, 0.5), (0.5, 1)))
    assert (len(start.open()), len(end.open())) == (2 + 1, 3 + 1)
    assert torch.equal(taken(end, 0)[0], frames[4:7])


def test_all_frames_of_a_clip_have_one_crop_and_flip(arrays: Path) -> None:
    source = Videos(str(arrays), frames=4, crop=6, flip=True)
    clip, whole = taken(source, 2)[0], scaled(video(LONG))[2:6]
    places = [
        each
        for image in (whole, whole.flip(-1))
        for each in image.unfold(2, 6, 1).unfold(3, 6, 1).permute(2, 3, 0, 1, 4, 5).flatten(0, 1)
    ]
    assert any(torch.equal(clip, place) for place in places)
    assert torch.equal(clip, taken(source, 2)[0]) and not torch.equal(clip, taken(source, 2, seed=1)[0])


def test_batches_may_differ_in_their_number_of_frames(arrays: Path) -> None:
    field = Videos(str(arrays), frames=(2, 5), crop=6).fields["value"]
    assert field.varies is not None
    assert (field.shape[0], field.varies.axis, field.varies.least) == (5, 0, 2)


def test_what_does_not_fit_in_memory_is_decoded_again(folders: Path) -> None:
    kept, again = (Videos(str(folders), frames=4, crop=(12, 16), cache=cache) for cache in (64, 0))
    assert torch.equal(taken(kept, 0, 7, 1), taken(again, 0, 7, 1))


def test_videos_that_are_too_short_are_told(arrays: Path) -> None:
    opened = Videos(str(arrays), frames=7, size=8).open()
    assert len(opened) == LONG - 6
    assert opened.notes == (f"not read, since they are shorter than the 7 frames that a clip spans: {arrays}/second",)
    with pytest.raises(DataError, match=r"each of the 2 videos in .* is shorter than the 10 frames"):
        Videos(str(arrays), frames=10, size=8).open()


def test_what_is_no_video_is_named(tmp_path: Path, folders: Path) -> None:
    np.savez(tmp_path / "numbers.npz", a=np.zeros((4, 8, 8, 3), np.float32))
    with pytest.raises(DataError, match=r"array 'a' of .* holds float32 .*expected a video: uint8"):
        Videos(str(tmp_path / "numbers.npz"), frames=2, size=8).open()
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(DataError, match=r"notes.txt' is no video; expected a folder, .npz, .gif"):
        Videos(str(tmp_path / "notes.txt"), frames=2, size=8).open()
    with pytest.raises(DataError, match="not found"):
        Videos(str(tmp_path / "nowhere"), frames=2, size=8).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no video in"):
        Videos(str(tmp_path / "empty"), frames=2, size=8).open()
    (folders / "first" / "3.png").write_bytes(b"cut off")
    broken = Videos(str(folders), frames=2, size=8).open()
    assert len(broken.verify()) == 1 and "first" in broken.verify()[0]
    with pytest.raises(DataError, match="first"):
        broken.batch([0], torch.Generator())


def test_a_pipe_in_the_place_of_a_frame_or_a_film_is_told_and_never_waited_for(tmp_path: Path, folders: Path) -> None:
    (folders / "first" / "3.png").unlink()
    os.mkfifo(folders / "first" / "3.png")
    (problem,) = Videos(str(folders), frames=2, size=8).open().verify()
    assert "3.png is a pipe; expected a file" in problem
    for name in ("film.mp4", "film.gif"):
        (tmp_path / name[-3:]).mkdir()
        os.mkfifo(tmp_path / name[-3:] / name)
        with pytest.raises(DataError, match=rf"{name} is a pipe; expected a file"):
            Videos(str(tmp_path / name[-3:]), frames=2, size=8).open()


def test_an_animation_that_says_it_is_huge_is_refused_before_a_frame_is_decoded(tmp_path: Path) -> None:
    shown = [Image.fromarray(np.full((16, 16), 40 * n, np.uint8)) for n in range(5)]
    shown[0].save(tmp_path / "a.gif", save_all=True, append_images=shown[1:])
    written = (tmp_path / "a.gif").read_bytes()
    for side, said in ((9_000, r"9000 x 9000 pixels, which take .* more than largest=200"), (60_000, "pixels")):
        (tmp_path / "a.gif").write_bytes(written[:6] + struct.pack("<HH", side, side) + written[10:])
        tracemalloc.start()
        with pytest.raises(DataError, match=said):
            Videos(str(tmp_path / "a.gif"), frames=2, size=8, largest=200).open().batch([0], torch.Generator())
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()


def test_arrays_that_would_run_code_or_claim_too_much_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="object"):
        Videos(str(tmp_path / "objects.npz"), frames=2, size=8).open()
    np.savez_compressed(tmp_path / "dense.npz", a=np.zeros((400, 512, 512), np.uint8))
    with pytest.raises(DataError, match=r"larg|unpack"):
        Videos(str(tmp_path / "dense.npz"), frames=2, size=8, largest=50).open()


def test_a_film_needs_a_package_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"needs the package av: pip install 'gangraph\[video\]'"):
        Videos(str(tmp_path), frames=2, size=8).open()


def test_a_film_is_a_video(tmp_path: Path) -> None:
    from gangraph.evaluate.film import save_film

    shown = [Image.fromarray(np.full((16, 16, 3), 40 * n, np.uint8)) for n in range(5)]
    save_film(shown, tmp_path / "a.mp4", rate=5)
    clips = taken(Videos(str(tmp_path), frames=2, size=16, range="unit"), 0, 3)
    assert torch.allclose(clips.mean((2, 3, 4)) * 255, torch.tensor([[0.0, 40], [120, 160]]), atol=6)


def test_a_film_with_more_frames_than_fit_is_refused_before_they_are_decoded(tmp_path: Path) -> None:
    from gangraph.evaluate.film import save_film

    save_film([Image.new("RGB", (800, 800))] * 5, tmp_path / "a.mp4", rate=5)
    with pytest.raises(DataError, match=r"a.mp4: has more than 2 frames of 800 x 800 pixels; give largest="):
        Videos(str(tmp_path), frames=2, size=16, largest=4).open()
    assert len(Videos(str(tmp_path), frames=2, size=16, largest=12).open()) == 4
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.mp4"):
        Videos(str(tmp_path), frames=2, size=16).open()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": 0}, "a whole number of at least 1"),
        ({"part": (0.5, 0.5)}, "two shares from 0 to 1"),
        ({"part": 0.5}, "two shares from 0 to 1"),
        ({"skip_corrupt": True}, "would jump"),
        ({"folder": ""}, "a path"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Videos(**{"folder": "videos", "frames": 4, "size": 8, **wrong})
