"""An engine takes over the state of a checkpoint, and a module that of one network in it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gangraph.folder.checkpoint import Checkpoint, read_checkpoint
from gangraph.run.engine import Engine
from gangraph.run.optimizer_state import keepings
from gangraph.run.settings import PRECISIONS
from gangraph.run.verify import verify_checkpoint, verify_module


def restore(engine: Engine, checkpoint: Checkpoint) -> None:
    """Give an engine the state that a checkpoint holds. All of it is verified before any of it is used.

    Raises:
        CheckpointError: it belongs to other networks or optimizers, or holds what no run could have saved.
    """
    verify_checkpoint(engine, checkpoint)
    for kind, each in (("network", engine.networks.stored), ("average", engine.networks.averages)):
        for name, module in each.items():
            _load_module(module, checkpoint.part(f"{kind}/{name}/"))
    for name, optimizer in engine.optimizers.items():
        _load_optimizer(engine, name, optimizer, checkpoint.part(f"optimizer/{name}/"))
    state, settings = checkpoint.state, engine.settings
    converts = PRECISIONS[state.trained.precision] != settings.dtype
    for name, history in engine.histories.items():
        samples = checkpoint.tensors.get(f"history/{name}/samples")
        pool = state.histories[name]
        dtype = settings.dtype if converts and samples is not None and samples.is_floating_point() else None
        history.restore(samples, pool.count, pool.calls, settings.device, dtype)
    engine.states.move(checkpoint.part("state/"))
    for gates, memory in zip(engine.gates, state.gates, strict=bool(state.gates)):
        gates.restore(memory)
    engine.draws.positions, engine.draws.sizes = dict(state.positions), dict(state.trained.sizes)
    engine.draws.meanings = {
        name: {field: tuple(words) for field, words in told.items()} for name, told in state.trained.meanings.items()
    }
    for name in state.positions.keys() - state.trained.sizes.keys():  # which older checkpoints did not keep
        engine.draws.open(name)
    engine.step_count = state.step
    if state.step:
        engine.starts.waiting.clear()


def restore_network(folder: Path, name: str, module: nn.Module) -> None:
    """Give a module the tensors of one network, or average, of a checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged, or the network in it is another.
    """
    checkpoint = read_checkpoint(folder)
    kind = "average" if any(key.startswith(f"average/{name}/") for key in checkpoint.tensors) else "network"
    _load_module(module, verify_module(checkpoint, f"{kind}/{name}/", module))


def _load_optimizer(
    engine: Engine, group: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Replace the whole state by tensors of the type, and on the device, that the optimizer itself gives them."""
    parameters = engine.parameters[group]
    optimizer.state.clear()
    for full, value in tensors.items():
        index, _, key = full.partition(".")
        optimizer.state[parameters[int(index)]][key] = value
    keeping = keepings(engine.graph.spec.optimizers[group], engine.entries[group], len(parameters))
    of = {id(parameter): kept for parameter, kept in zip(parameters, keeping, strict=True)}
    for parameter, state in optimizer.state.items():
        made = of[id(parameter)].possible(parameter)
        state.update({key: torch.empty_like(made[key]).copy_(value) for key, value in state.items()})


def _load_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in module.state_dict(keep_vars=True).items():
            tensor.copy_(tensors[name])
