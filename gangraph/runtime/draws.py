"""Everything random in a run: batches of data, random sources, and the noise of random layers.

Each draw is a pure function of (seed, name, step, how often it was drawn in this step), so a resumed run
continues exactly, and a value that is computed twice under the same draws comes out the same.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from gangraph.data.random import RandomSource
from gangraph.data.source import Dataset, Source
from gangraph.data.stream import Stream, derive_seed
from gangraph.errors import UsageError
from gangraph.vocabulary.layers import RandomLayer

Batch = Tensor | Mapping[str, Tensor]
# Batches for sources that are not to be drawn; a list of them for a source that a step draws several times.
Given = Mapping[str, Batch | Sequence[Batch]]


class Draws:
    """Draws sources by name. Data streams are opened when first needed."""

    def __init__(
        self,
        sources: Mapping[str, Source | RandomSource],
        *,
        batch: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        prefetch: bool = False,
    ) -> None:
        self.sources, self.batch, self.seed = sources, batch, seed
        self.device, self.dtype, self.prefetch = device, dtype, prefetch
        self.datasets: dict[str, Dataset] = {}
        self.streams: dict[str, Stream] = {}
        self.positions: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.given: Given = {}

    def begin(self, given: Given) -> None:
        """Begin a step in which the sources in `given` are not drawn but taken from there.

        Raises:
            UsageError: a name in `given` is no source.
        """
        unknown = [name for name in given if name not in self.sources]
        if unknown:
            raise UsageError(f"there is no source '{unknown[0]}' to give; the sources are {', '.join(self.sources)}")
        self.counts.clear()
        self.given = given

    def draw(self, name: str, step: int) -> dict[str, Tensor]:
        """One batch of a source: field name to tensor."""
        count = self.counts[name] = self.counts.get(name, -1) + 1
        source = self.sources[name]
        if name in self.given:
            return self._given(name, self.given[name], count)
        if isinstance(source, RandomSource):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, name, step, count))
            return {"value": source.draw(self.batch_now, generator, self.device, self.dtype)}
        return self._next(name)

    @property
    def batch_now(self) -> int:
        """The batch size of this step: that of the tensors that were given, if any."""
        for value in self.given.values():
            tensors = value.values() if isinstance(value, Mapping) else [value]
            for tensor in tensors:
                return len(tensor[0] if isinstance(tensor, list | tuple) else tensor)
        return self.batch

    def _given(self, name: str, value: Batch | Sequence[Batch], count: int) -> dict[str, Tensor]:
        chosen: Batch = value if isinstance(value, Tensor | Mapping) else value[min(count, len(value) - 1)]
        fields = list(self.sources[name].fields)
        tensors = dict(chosen) if isinstance(chosen, Mapping) else {fields[0]: chosen}
        if set(tensors) != set(fields):
            raise UsageError(f"source '{name}' has the fields {', '.join(fields)}, but {', '.join(tensors)} were given")
        if not isinstance(self.sources[name], RandomSource):
            self.positions[name] = self.positions.get(name, 0) + self.batch_now
        return {field: self._cast(tensor) for field, tensor in tensors.items()}

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def open(self, name: str) -> Dataset:
        """The data set behind a stream. Raises DataError if its files are missing."""
        if name not in self.datasets:
            source = self.sources[name]
            assert not isinstance(source, RandomSource)
            self.datasets[name] = source.open()
        return self.datasets[name]

    def _next(self, name: str) -> dict[str, Tensor]:
        if name not in self.streams:
            self.streams[name] = Stream(self.open(name), name, self.seed, self.batch, prefetch=self.prefetch)
        position = self.positions.get(name, 0)
        drawn = self.streams[name].batch(position, self.batch_now)
        self.positions[name] = position + self.batch_now
        return {field: self._cast(tensor) for field, tensor in drawn.items()}

    def noise(
        self, call: str, layer: RandomLayer, draw: str, shape: tuple[int, ...], step: int, like: Tensor
    ) -> Tensor:
        """The random numbers that a layer takes in one call of its network."""
        name = f"{call}.{draw}"
        count = self.counts[name] = self.counts.get(name, -1) + 1
        generator = torch.Generator().manual_seed(derive_seed(self.seed, name, step, count))
        return layer.draw(shape, generator, like)

    def epoch_length(self, names: Iterable[str]) -> int:
        """Samples in an epoch: the size of the largest stream; 0 where nothing is a data stream."""
        streams = [name for name in names if not isinstance(self.sources[name], RandomSource)]
        return max((len(self.open(name)) for name in streams), default=0)

    def seen(self) -> int:
        """Samples drawn so far from the stream that was drawn most."""
        return max(self.positions.values(), default=0)

    def close(self) -> None:
        """Stop reading ahead."""
        for stream in self.streams.values():
            stream.close()
