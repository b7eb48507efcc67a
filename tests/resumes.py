"""Whether a run that is saved in the middle and resumed ends as the one that went on, to the bit."""

from collections.abc import Iterator
from pathlib import Path

import torch

from gangraph import Trainer
from gangraph.folder.checkpoint import Checkpoint, read_checkpoint
from gangraph.run.finite import NotFiniteError
from tests.plans import evaluated
from tests.random_state import Made
from tests.support import trainer

STEPS = 20


class EndedInNaNError(Exception):
    """A loss became NaN or infinite, in both runs at one step if it was saved before: it tells nothing of the end."""


def resumed_apart(made: Made, seed: int, folder: Path) -> tuple[str, ...]:
    """What differs after some steps: losses of a step, what is evaluated, or what a checkpoint holds.

    The plan, the precision and the step at which it is saved follow from the seed.

    Raises:
        SpecError: the spec has errors.
        EndedInNaNError: a loss is not finite.
    """
    share, merge, precision = seed % 2 == 0, seed // 2 % 2 == 0, ("fp32", "fp64")[seed // 4 % 2]
    run, at = trainer(made.spec, seed=seed, share=share, merge=merge, precision=precision), 1 + seed % (STEPS - 1)
    if _trained(run, at) is None:
        raise EndedInNaNError
    resumed = Trainer.resume(run.save(folder / "middle"), device="cpu")
    for _ in range(STEPS - at):
        ours, theirs = _trained(run, 1), _trained(resumed, 1)
        if ours != theirs:
            return (f"losses of step {run.step_count}, saved at step {at}: {ours} and {theirs}",)
        if ours is None:
            raise EndedInNaNError
    first, second = (read_checkpoint(each.save(folder / name)) for name, each in (("on", run), ("resumed", resumed)))
    return (*_differences(first, second), *_values_apart(run, resumed))


def _trained(run: Trainer, steps: int) -> dict[str, float] | None:
    try:
        return run.train(steps=steps)
    except NotFiniteError:
        return None


def _differences(first: Checkpoint, second: Checkpoint) -> Iterator[str]:
    """What is not the same in two checkpoints."""
    yield from sorted(first.tensors.keys() ^ second.tensors.keys())
    for name in first.tensors.keys() & second.tensors.keys():
        if not torch.equal(first.tensors[name], second.tensors[name]):
            yield name
    if first.state != second.state:
        yield "state.json"


def _values_apart(first: Trainer, second: Trainer) -> Iterator[str]:
    """What two runs evaluate otherwise."""
    ours, theirs = evaluated(first), evaluated(second)
    for name, value in ours.items():
        other = theirs[name]
        one, two = (torch.as_tensor(each, dtype=torch.float64) for each in (value, other))
        if one.shape != two.shape or not ((one == two) | (one.isnan() & two.isnan())).all():
            yield f"evaluation: {name}"
