"""Everything random in a run: batches of data, random sources, and the noise of random layers.

Each draw is a pure function of (seed, name, step, how often it was drawn in this step), so a resumed run
continues exactly, and a value that is computed twice with the same draws is the same.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gangraph.data.lengths import shortened
from gangraph.data.random import RandomSource
from gangraph.data.source import Dataset, Meanings, Source, meanings, open_source, reading, require_meanings
from gangraph.data.stream import Stream, derive_seed
from gangraph.run.given import Given, batches_of
from gangraph.vocabulary.layers import RandomLayer


class Draws:
    """Draws sources by name. Data streams are opened when first needed.

    A source of batches of different lengths has one that is drawn for each batch, or its greatest if they are `whole`.
    """

    def __init__(
        self,
        sources: Mapping[str, Source | RandomSource],
        *,
        batch: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        prefetch: bool = False,
        sections: Mapping[str, str] | None = None,
        whole: bool = False,
    ) -> None:
        self.sections = sections or {}  # of the spec by source, where it is another one than `data`
        self.sources, self.batch, self.seed, self.whole = sources, batch, seed, whole
        self.device, self.dtype, self.prefetch = device, dtype, prefetch
        self.datasets: dict[str, Dataset] = {}
        self.sizes: dict[str, int] = {}  # samples of each stream that was opened here, or before a run was resumed
        self.meanings: dict[str, Meanings] = {}  # likewise, of those streams whose whole numbers stand for something
        self.streams: dict[str, Stream] = {}
        self.positions: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.given: dict[str, list[dict[str, Tensor]]] = {}
        self.batch_now = batch

    def begin(self, given: Given, times: Mapping[str, int] | None = None, others: Iterable[str] = ()) -> None:
        """Begin a step in which the sources in `given` are not drawn but taken from there.

        Args:
            given: batches by source.
            times: how often the step draws each source.
            others: what else can be given, for a message.

        Raises:
            UsageError: what is given is no batch for each of these draws; nothing was drawn yet.
        """
        self.given = batches_of(given, self.sources, times or {}, others)
        self.counts.clear()
        first = next((batches[0] for batches in self.given.values()), None)
        # The batch size of this step: that of the tensors that were given, if any.
        self.batch_now = len(next(iter(first.values()))) if first else self.batch

    def ahead(self) -> "Draws":
        """A copy that draws what these would draw next, and leaves these as they are."""
        made = Draws(
            self.sources,
            batch=self.batch,
            seed=self.seed,
            device=self.device,
            dtype=self.dtype,
            sections=self.sections,
            whole=self.whole,
        )
        made.datasets, made.sizes, made.positions = dict(self.datasets), dict(self.sizes), dict(self.positions)
        made.given, made.batch_now = self.given, self.batch_now
        return made

    def draw(self, name: str, step: int) -> dict[str, Tensor]:
        """One batch of a source: field name to tensor."""
        count = self.counts[name] = self.counts.get(name, -1) + 1
        source = self.sources[name]
        if name in self.given:
            return self._given(name, self.given[name][count])
        if isinstance(source, RandomSource):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, name, step, count))
            return {"value": source.draw(self.batch_now, generator, self.device, self.dtype)}
        return self._next(name)

    def _given(self, name: str, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not isinstance(self.sources[name], RandomSource):
            self.positions[name] = self.positions.get(name, 0) + self.batch_now
        return {field: self._cast(tensor) for field, tensor in batch.items()}

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def open(self, name: str) -> Dataset:
        """The data set behind a stream. Raises DataError if its files are missing, and says how to name others."""
        if name not in self.datasets:
            source = self.sources[name]
            assert not isinstance(source, RandomSource)
            with reading(name, source):
                opened = open_source(f"{self.sections.get(name, 'data')}.{name}", source)
                require_meanings(name, self.meanings.get(name, {}), meanings(opened))
                self.datasets[name], self.sizes[name] = opened, len(opened)
                if meanings(opened):
                    self.meanings[name] = meanings(opened)
        return self.datasets[name]

    def _next(self, name: str) -> dict[str, Tensor]:
        if name not in self.streams:
            self.streams[name] = Stream(self.open(name), name, self.seed, self.batch, prefetch=self.prefetch)
        position = self.positions.get(name, 0)
        source = self.sources[name]
        assert not isinstance(source, RandomSource)
        with reading(name, source):
            drawn = self.streams[name].batch(position, self.batch_now)
        if not self.whole:
            drawn = shortened(drawn, source.fields, derive_seed(self.seed, name, "length", position))
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
        """Stop the threads that read ahead."""
        for stream in self.streams.values():
            stream.close()
