"""The training loop: step after step, and from phase to phase."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from gangraph.run.training import Training


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    """The next phase has begun; `fresh` names the parameters that start anew, as `network.path`."""

    fresh: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step was taken; `losses` are its losses by name, still on the device."""

    losses: dict[str, Tensor]


def train(training: Training, stop: Callable[[], bool]) -> Iterator[PhaseBegan | Stepped]:
    """Train until `stop`, which is called before every step, returns true. Every event is yielded at once.

    Between two yields a step, or a change of phase, is under way; at a yield everything can be evaluated and saved.

    Raises:
        NotFiniteError: a loss is NaN or infinite.
        UsageError: a phase that is not the last states no length.
    """
    while not stop():
        if not training.in_last_phase and training.phase_done:
            yield PhaseBegan(tuple(training.next_phase()))
        yield Stepped(training.advance())
