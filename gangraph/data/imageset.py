"""The opened form of every image source: decoded once, kept at its depth, cropped and flipped at each draw."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gangraph.data.decode import Picture
from gangraph.data.source import Meanings
from gangraph.data.transform import CHANCES, ImageOptions
from gangraph.errors import DataError

Sample = Mapping[str, Tensor]
Loaded = Mapping[str, Picture | Tensor]


class ImageSet:
    """Samples of one or more aligned images, and whatever tensors go with them.

    Args:
        names: what messages call each sample; its length is the number of samples.
        load: index -> field name -> a decoded image, or a tensor to pass on unchanged.
        options: how images are resized, cropped, flipped, scaled and kept.
        notes: what a user should know about the set.
        meanings: what whole numbers among those tensors stand for, by field.

    Attributes:
        skipped: names of the corrupt samples that were passed over so far (with `skip_corrupt`).
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[int], Loaded],
        options: ImageOptions,
        notes: Sequence[str] = (),
        meanings: Meanings | None = None,
    ) -> None:
        self.skipped: list[str] = []
        self.notes, self.meanings = notes, meanings or {}
        self._names = names
        self._load = load
        self._options = options
        self._corrupt: set[int] = set()
        self._kept: dict[int, Sample] = {}
        self._room = options.cache * 2**20

    @property
    def names(self) -> Sequence[str]:
        """What messages call each sample."""
        return self._names

    def __len__(self) -> int:
        return len(self._names)

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Sample:
        """The samples at `indices`, stacked; images of one sample share crop and flip.

        Raises:
            DataError: an image is missing or corrupt and `skip_corrupt` is false, or every image is.
        """
        chances = torch.rand(len(indices), CHANCES, generator=generator, device=generator.device).tolist()
        samples = [self._arranged(self._good(i), chance) for i, chance in zip(indices, chances, strict=True)]
        return {name: self._stacked([sample[name] for sample in samples]) for name in samples[0]}

    def verify(self) -> list[str]:
        """Decode everything; one `file: reason` for each sample that cannot be read."""
        return [problem for index in range(len(self)) if (problem := self._problem(index))]

    def _problem(self, index: int) -> str:
        try:
            self._decoded(index)
        except DataError as error:
            return str(error)
        return ""

    def _stacked(self, tensors: list[Tensor]) -> Tensor:
        if not _is_image(tensors[0]):
            return torch.stack(tensors)
        if len({tensor.dtype for tensor in tensors}) == 1:
            return self._options.scale(torch.stack(tensors))
        return torch.stack([self._options.scale(tensor) for tensor in tensors])

    def _arranged(self, sample: Sample, chances: Sequence[float]) -> Sample:
        return {n: self._options.arrange(t, chances) if _is_image(t) else t for n, t in sample.items()}

    def _good(self, index: int) -> Sample:
        """The sample at `index`, or the next one that can be read."""
        for candidate in (*range(index, len(self)), *range(index)):
            if candidate in self._corrupt:
                continue
            try:
                return self._remembered(candidate)
            except DataError:
                if not self._options.skip_corrupt:
                    raise
                self._corrupt.add(candidate)
                self.skipped.append(self._names[candidate])
        raise DataError(f"none of the {len(self)} samples can be read; the first is {self._names[0]}")

    def _remembered(self, index: int) -> Sample:
        if index in self._kept:
            return self._kept[index]
        sample = self._decoded(index)
        # Nothing is ever evicted: an epoch visits every sample once, so newest and oldest are worth the same.
        size = sum(tensor.nbytes for tensor in sample.values())
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample

    def _decoded(self, index: int) -> Sample:
        try:
            sample = {name: self._prepared(value) for name, value in self._load(index).items()}
            _require_one_size(sample)
        except DataError:
            raise
        # Corrupt input makes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error ...
        except Exception as error:
            raise corrupt(self._names[index], error) from error
        return sample

    def _prepared(self, value: Picture | Tensor) -> Tensor:
        return value if isinstance(value, Tensor) else self._options.prepare(value)


def corrupt(name: str, error: Exception) -> DataError:
    """The error for a file that cannot be read: its name and the reason."""
    said = error.strerror if isinstance(error, OSError) else None
    return DataError(f"{name}: {said or str(error) or type(error).__name__}")


def _require_one_size(sample: Sample) -> None:
    sizes = {name: f"{t.shape[-1]}x{t.shape[-2]}" for name, t in sample.items() if _is_image(t)}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} is {size}" for name, size in sizes.items())
        raise ValueError(f"aligned images differ in size ({found}); give resize=")


def _is_image(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.uint8, torch.float32)  # labels are int64
