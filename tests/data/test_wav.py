"""Sounds: every width against scipy's reader, stretches, and files that are refused by their names."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from gangraph.data.stream import Stream
from gangraph.data.wav import Wav
from gangraph.errors import ArgumentError, DataError
from tests.support import read, trainer


def written(path: Path, values: np.ndarray, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, values)
    return path


def raw(
    numbers: bytes, *, kind: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, width: int = 0,
    before: bytes = b"", more: bytes = b"",
) -> bytes:  # fmt: skip
    width = width or channels * bits // 8
    told = struct.pack("<HHIIHH", kind, channels, rate, rate * width, width, bits) + more
    inside = b"WAVE" + before + b"fmt " + struct.pack("<I", len(told)) + told
    inside += b"data" + struct.pack("<I", len(numbers)) + numbers
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def first(path: Path, **options: object) -> torch.Tensor:
    source = Wav(str(path), **{"length": 4, "rate": 8000, **options})  # type: ignore[arg-type]
    return source.open().batch([0], torch.Generator().manual_seed(0))["value"][0]


def test_whole_numbers_are_divided_by_the_largest(tmp_path: Path) -> None:
    bytes_ = written(tmp_path / "a.wav", np.array([0, 64, 128, 255], np.uint8))
    assert first(bytes_).tolist() == [[-1, -0.5, 0, 127 / 128]]
    short = written(tmp_path / "b.wav", np.array([-32768, -1, 0, 32767], np.int16))
    assert first(short).tolist() == [[-1, -1 / 32768, 0, 32767 / 32768]]
    wide = written(tmp_path / "c.wav", np.array([-(2**31), 2**30, 0, -(2**29)], np.int32))
    assert first(wide).tolist() == [[-1, 0.5, 0, -0.25]]
    (tmp_path / "d.wav").write_bytes(raw(b"\x00\x00\x80\xff\xff\x7f\x01\x00\x00\xff\xff\xff", bits=24))
    assert first(tmp_path / "d.wav").tolist() == [[-1, (2**23 - 1) / 2**23, 2**-23, -(2**-23)]]


def test_floats_are_as_they_are(tmp_path: Path) -> None:
    for kind in (np.float32, np.float64):
        found = first(written(tmp_path / f"{kind.__name__}.wav", np.array([-1, 0.25, 1, 0.1], kind)))
        assert found.dtype == torch.float32 and found.tolist() == [[-1, 0.25, 1, float(np.float32(0.1))]]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_every_number_is_that_of_scipy(kind: type, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, (50, 2)).astype(kind) if kind is np.float32 else (
        random.integers(np.iinfo(kind).min, np.iinfo(kind).max, (50, 2), dtype=kind)
    )  # fmt: skip
    path = written(tmp_path / "a.wav", values)
    _, theirs = wavfile.read(path)
    scale, middle = {np.uint8: (128, 128), np.int16: (2**15, 0), np.int32: (2**31, 0), np.float32: (1, 0)}[kind]
    expected = torch.from_numpy(((theirs.astype(np.float64) - middle) / scale).astype(np.float32)).T
    assert torch.equal(first(path, length=50, channels=2), expected)


def test_parts_that_are_not_known_are_passed_over_and_an_extensible_format_is_read(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.wav", struct.pack("<4h", 1, 2, 3, 4)
    extensible = struct.pack("<HHI", 22, 16, 0) + struct.pack("<H", 1) + b"\0" * 14
    for more in ({"before": b"LIST\x03\0\0\0abc\0"}, {"kind": 0xFFFE, "more": extensible}):
        path.write_bytes(raw(numbers, **more))  # type: ignore[arg-type]
        assert (first(path) * 32768).tolist() == [[1, 2, 3, 4]]


def test_stretches_of_longer_files_are_drawn_and_shorter_ones_are_padded(tmp_path: Path) -> None:
    written(tmp_path / "a/1.wav", np.arange(10, dtype=np.int16))
    written(tmp_path / "a/below/2.WAV", np.array([7, 8], np.int16))
    written(tmp_path / "a/.hidden/3.wav", np.array([7, 8], np.int16))
    source = Wav(str(tmp_path / "a"), length=4, rate=8000, longer="random", shorter="pad")
    opened = source.open()
    assert len(opened) == 2 and source.fields["value"].padded and source.fields["value"].shape == (1, 4)
    drawn = opened.batch([0] * 200 + [1], torch.Generator().manual_seed(0))["value"] * 32768
    assert drawn[-1].tolist() == [[7, 8, 0, 0]]
    assert {tuple(row) for row in drawn[:-1, 0].tolist()} == {(i, i + 1, i + 2, i + 3) for i in range(7)}
    cut = Wav(str(tmp_path / "a"), length=4, rate=8000, longer="cut", first=0, count=1).open()
    assert (cut.batch([0], torch.Generator())["value"] * 32768).tolist() == [[[0, 1, 2, 3]]]
    stream = Stream(opened, "x", 0, 3)
    assert torch.equal(stream.batch(6)["value"], Stream(opened, "x", 0, 3).batch(6)["value"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (raw(b"\0" * 8, rate=44100), r"has 44,100 numbers a second; expected 8,000, as rate= declares; nothing"),
        (raw(b"\0" * 16, channels=2), r"has 2 channels; expected 1, as channels= declares; channels are not mixed"),
        (raw(b"\0" * 10), r'has 5 numbers in each channel; expected 4, .*longer="cut" takes the beginning'),
        (raw(b"\0" * 6), r'has 3 numbers in each channel; expected 4, as length= declares; shorter="pad" adds zeros'),
        (raw(b"\0" * 8, kind=7, bits=8), r"has mu-law; expected whole numbers of 8, 16, 24 or 32 bits, or floats"),
        (raw(b"\0" * 8, kind=99), r"has the coding 99; expected"),
        (raw(b"\0" * 8, bits=12, width=2), r"has whole numbers of 12 bits; expected"),
        (raw(b"\0" * 32, bits=64), r"has whole numbers of 64 bits; expected"),
        (raw(b"\0" * 8, kind=0xFFFE, more=struct.pack("<HHIH", 22, 12, 0, 1) + b"\0" * 14), r"whole numbers of 12"),
        (raw(b"\0" * 8, width=3), r"contradicts itself: 1 channels of 16 bits, 3 bytes each"),
        (raw(b"\0" * 7), r"contradicts itself"),
        (raw(b""), r"has no numbers in it"),
        (raw(b"\0" * 8)[:-3], r"is cut off: 3 of 8 bytes of its numbers are missing"),
        (raw(b"\0" * 8)[:22], r"is cut off"),
        (raw(b"\0" * 8)[:36], r"has no numbers in it"),
        (raw(b"\0" * 8).replace(b"fmt ", b"fxt "), r"has numbers before it says what they are"),
        (b"RIFF\x04\0\0\0WAVE", r"does not say what its numbers are"),
        (b"RIFX" + raw(b"\0" * 8)[4:], r"is in the form RIFX; expected RIFF"),
        (b"ID3 an mp3", r"is no \.wav file"),
        (b"", r"is no \.wav file"),
        (raw(struct.pack("<4f", 0, 1.5, 0, 0), kind=3, bits=32), r"number 1 of '.*a.wav' is 1.5; expected floats in"),
        (raw(struct.pack("<4f", 0, 0, float("nan"), 0), kind=3, bits=32), r"number 2 of '.*a.wav' is nan"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_declared_is_refused_by_its_name(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        first(tmp_path)
    assert "a.wav" in str(caught.value)


def test_folders_are_walked_as_those_of_images_are(tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    for number, name in enumerate(("sounds/a.wav", "elsewhere/b.wav", "elsewhere/deep/c.WAV", "sounds/.hidden/d.wav")):
        written(tmp_path / name, np.full(4, number * 2**12, np.int16))
    written(sounds / "__MACOSX" / "e.wav", np.zeros(4, np.int16))
    (sounds / "readme.txt").write_text("")
    (sounds / "linked").symlink_to(tmp_path / "elsewhere")
    (sounds / "loop").symlink_to(sounds)
    opened = Wav(str(sounds), length=4, rate=8000).open()
    found = opened.batch(range(len(opened)), torch.Generator())["value"]
    assert found[:, 0, 0].tolist() == [0, 0.125, 0.25]
    passed_over = f"1 file is not read in '{sounds}', without the suffix .wav: readme.txt"
    assert opened.notes == (passed_over, f"'{sounds}/loop' is a link to a folder above it, and is not followed")
    (sounds / "again").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="are one folder, by a link; its files would count twice"):
        Wav(str(sounds), length=4, rate=8000).open()


def test_a_folder_without_sounds_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \.wav files in it or below"):
        first(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        first(tmp_path / "nowhere")
    path = written(tmp_path / "a.wav", np.zeros(4, np.int16))
    opened = Wav(str(path), length=4, rate=8000).open()
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="is shorter than when it was opened"):
        opened.batch([0], torch.Generator())


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"length": 0}, "length"), ({"rate": 0.5}, "rate"), ({"channels": 0}, "channels"),
        ({"longer": "pad"}, "longer"), ({"shorter": "cut"}, "shorter"), ({"count": 0}, "count"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(options: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Wav("sounds", **{"length": 4, "rate": 8000, **options})  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_a_critic_of_sounds_trains_on_them(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / f"{number}.wav", np.sin(np.arange(100) / (number + 2)).astype(np.float32))
    spec = read(f"""
gangraph: 1
name: sounds
data: {{x: 'wav("{tmp_path}", length=64, rate=8000, longer="random")', z: normal(4)}}
networks:
  G: {{inputs: z, layers: "linear(64), tanh, rearrange('t -> 1 t')"}}
  D: {{inputs: x, layers: "conv1d(4, 5, stride=2), leaky_relu, flatten, linear(1)"}}
losses: {{judge: "logistic.critic(real=D(x), fake=D(G(z)))"}}
train:
  batch: 2
  length: 10 steps
  optimizers: {{d: "adam(D, lr=1e-2)", g: "adam(G, lr=1e-2)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: "mean((stft(G(z), 16, 4) - stft(x, 16, 4)) ** 2)"}}]
""")
    runs = [trainer(spec) for _ in range(2)]
    losses = [run.train(20)["judge"] for run in runs]
    assert losses[0] == losses[1] < 1.3  # 2 log 2 is 1.386
