"""An endless, shuffled sequence of batches that is a pure function of position, so a resumed run is exact."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from hashlib import blake2b
from typing import Self

import torch
from torch import Tensor

from gangraph.data.source import Dataset
from gangraph.errors import DataError

Batch = Mapping[str, Tensor]
Request = tuple[int, int]


def derive_seed(*parts: object) -> int:
    """63 bits that depend on every part and on nothing else: not on the process, machine or version."""
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Stream:
    """Batches of a data set, shuffled anew in every epoch.

    Positions count samples drawn so far. The order of an epoch depends on (seed, name, epoch), and the
    augmentation of a batch on (seed, name, position); nothing depends on what was drawn before.

    Args:
        dataset: the opened source.
        name: the source's name in the spec, so that streams of one run differ.
        seed: the run's seed.
        batch: samples in a batch where a call does not say.
        prefetch: make the batch that follows in a background thread.

    Raises:
        DataError: the data set is empty.
    """

    def __init__(self, dataset: Dataset, name: str, seed: int, batch: int, *, prefetch: bool = False) -> None:
        if not len(dataset):
            raise DataError(f"source '{name}' has no samples")
        self._dataset = dataset
        self._name = name
        self._seed = seed
        self._size = batch
        self._orders: dict[int, list[int]] = {}
        self._ahead: tuple[Request, Future[Batch]] | None = None
        self._thread = ThreadPoolExecutor(1, f"gangraph-{name}") if prefetch else None

    def indices(self, position: int, batch: int | None = None) -> list[int]:
        """The samples at `position` and after it; each epoch holds every index once."""
        first = range(position, position + (batch or self._size))
        places = (divmod(place, len(self._dataset)) for place in first)
        return [self._order(epoch)[offset] for epoch, offset in places]

    def batch(self, position: int, batch: int | None = None) -> Batch:
        """The batch at `position`: field name -> [batch, *field.shape].

        Raises:
            DataError: a file is missing or corrupt, whichever thread read it.
        """
        request = (position, batch or self._size)
        made = self._take(request) if self._thread else None
        result = self._make(request) if made is None else made.result()
        if self._thread:
            following = (position + request[1], request[1])
            self._ahead = following, self._thread.submit(self._make, following)
        return result

    def close(self) -> None:
        """Stop the background thread; the stream stays usable without it."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._ahead = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, request: Request) -> Future[Batch] | None:
        """The batch that is being read, if it is this one; else wait for it, since a data set serves one thread."""
        ahead, self._ahead = self._ahead, None
        if ahead and ahead[0] != request:
            ahead[1].cancel()
            wait([ahead[1]])
        return ahead[1] if ahead and ahead[0] == request else None

    def _make(self, request: Request) -> Batch:
        position, size = request
        seed = derive_seed(self._seed, self._name, "augment", position)
        return self._dataset.batch(self.indices(position, size), torch.Generator().manual_seed(seed))

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, self._name, epoch))
            order = torch.randperm(len(self._dataset), generator=generator).tolist()
            # A batch may straddle epochs, so the one before is kept; older ones can be made again.
            self._orders = {e: kept for e, kept in self._orders.items() if e == epoch - 1} | {epoch: order}
        return self._orders[epoch]
