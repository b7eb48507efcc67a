"""Warm starts: a run begins with weights that another run, or another program, trained."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from gangraph.check.weights import misfit, without_layers
from gangraph.errors import SpecError, UsageError, listed
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.spec import VARIABLE, FileWeights, RunWeights, Weights
from gangraph.run.elsewhere import weight_tensors
from gangraph.run.engine import Engine
from gangraph.run.hand_over import carry_tensors
from gangraph.saved.tensors import names_of_network
from gangraph.views.spec import weights_text


def begin_with(engine: Engine, start: Mapping[str, RunWeights | FileWeights]) -> Iterator[str]:
    """Give the networks of a run the weights under `start:`; yields a line on what each took over and what is new.

    An average begins at its network, unless it is given weights itself. A variable that is given a value keeps it: what
    its spec says that it begins with is not computed.

    Raises:
        SpecError: the weights of a network that is named do not fit it, or nothing calls it.
        UsageError: nothing fits that was to be taken over by name.
        RunError: weights are not there, or damaged.
    """
    live, averages = engine.networks.stored, engine.networks.averages
    for name, weights in start.items():
        if name:
            yield _one(engine, name, weights)
        else:
            assert isinstance(weights, RunWeights)  # a file has no networks
            yield from _all(engine, weights)
    for name, average in engine.graph.averages.items():
        if not start.keys() & {name, ""} and average.of in live:
            averages[name].load_state_dict(live[average.of].state_dict())


def _one(engine: Engine, name: str, weights: Weights) -> str:
    module = {**engine.networks.stored, **engine.networks.averages}.get(name)
    if module is None:
        raise SpecError([without_layers(name, weights)])
    ours = {path: tuple(tensor.shape) for path, tensor in module.state_dict().items()}
    tensors = weight_tensors(weights, ours)
    if problem := misfit(name, weights, ours, {path: tuple(tensor.shape) for path, tensor in tensors.items()}):
        raise SpecError([problem])
    carry_tensors({name: module}, _named({name: tensors}), "network", {})
    engine.starts.waiting.discard(name)
    return _taken_over(name, weights, len(ours), ())


def _all(engine: Engine, weights: RunWeights) -> Iterator[str]:
    """Take over every network and average by name, as far as shapes fit."""
    checkpoint = read_checkpoint(Path(weights.checkpoint))
    checkpoint.verify_digest()
    modules = {**engine.networks.stored, **engine.networks.averages}
    names = {name: names_of_network(checkpoint.tensors, name, checkpoint.state.shared) for name in modules}
    known = {name: {path: checkpoint.tensors[full] for path, full in each.items()} for name, each in names.items()}
    for name, average in engine.graph.averages.items():
        known[name] = known[name] or known.get(average.of, {})
    fresh = carry_tensors(modules, _named(known), "network", {})
    if len(fresh) == sum(len(module.state_dict()) for module in modules.values()):
        there = dict.fromkeys(name.split("/")[1] for name in checkpoint.tensors if name.count("/") > 1)
        raise UsageError(
            f"nothing of {weights_text(weights)} fits: it has {listed(there) or 'no networks'}, "
            f"and this spec {listed(modules)}"
        )
    engine.starts.waiting &= {name for name in modules if f"{name}.{VARIABLE}" in fresh}
    yield from (_told(name, module, fresh, weights) for name, module in modules.items())


def _told(name: str, module: nn.Module, fresh: Iterable[str], weights: RunWeights) -> str:
    new = [path.removeprefix(f"{name}.") for path in fresh if path.startswith(f"{name}.")]
    return _taken_over(name, weights, len(module.state_dict()), new)


def _taken_over(name: str, weights: Weights, every: int, new: Sequence[str]) -> str:
    """A line on a network with `every` tensors: how many of them were taken over, and which are `new`."""
    if len(new) == every:
        return f"{name} begins anew"
    parts = dict.fromkeys(".".join(path.split(".")[:2]) for path in new)
    count = f"{every - len(new)} of {every} tensors; new: {', '.join(parts)}" if parts else f"all {every} tensors"
    return f"{name} begins with {weights_text(weights)}: {count}"


def _named(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"network/{name}/{path}": tensor for name, each in tensors.items() for path, tensor in each.items()}
