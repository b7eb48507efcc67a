"""An engine takes over: the state of a checkpoint, or of the phase before."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gangraph.check.tied_parameters import TiedPart
from gangraph.folder.checkpoint import Checkpoint, part, read_checkpoint
from gangraph.run.engine import PRECISIONS, Engine
from gangraph.run.verify import MORE_STATE, verify, verify_module


def restore(engine: Engine, checkpoint: Checkpoint) -> None:
    """Give an engine the state that a checkpoint holds. All of it is verified before any of it is used.

    Raises:
        CheckpointError: it belongs to other networks or optimizers, or holds what no run could have saved.
    """
    verify(engine, checkpoint)
    for kind, each in (("network", engine.networks.live), ("average", engine.networks.averages)):
        for name, module in each.items():
            _load_module(module, checkpoint.part(f"{kind}/{name}/"))
    for name, optimizer in engine.optimizers.items():
        _load_optimizer(optimizer, engine.parameters[name], checkpoint.part(f"optimizer/{name}/"))
    state, settings = checkpoint.state, engine.settings
    converts = PRECISIONS[state.extra.precision] != settings.dtype
    for name, history in engine.histories.items():
        samples = checkpoint.tensors.get(f"history/{name}/samples")
        pool = state.histories[name]
        dtype = settings.dtype if converts and samples is not None and samples.is_floating_point() else None
        history.restore(samples, pool.count, pool.calls, settings.device, dtype)
    for gates, memory in zip(engine.gates, state.gates, strict=bool(state.gates)):
        gates.restore(memory)
    engine.draws.positions, engine.draws.sizes = dict(state.positions), dict(state.extra.sizes)
    for name in state.positions.keys() - state.extra.sizes.keys():  # which older checkpoints did not keep
        engine.draws.open(name)
    engine.step_count = state.step


def read_network(folder: Path, name: str, module: nn.Module) -> None:
    """Give a module the tensors of one network, or average, of a checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged, or the network in it is another.
    """
    checkpoint = read_checkpoint(folder)
    kind = "average" if any(key.startswith(f"average/{name}/") for key in checkpoint.tensors) else "network"
    _load_module(module, verify_module(checkpoint, f"{kind}/{name}/", module))


def carry_over(
    networks: Mapping[str, nn.Module],
    tensors: Mapping[str, Tensor],
    prefix: str,
    tied_parts: Mapping[str, tuple[TiedPart, ...]],
) -> list[str]:
    """Load every tensor whose name and shape fit, as a phase takes over from the one before; returns what was new.

    The parts that networks share with an owner (`tied_parts`) are taken over by their owners.
    """
    fresh = []
    for name, module in networks.items():
        known = part(tensors, f"{prefix}/{name}/")
        with torch.no_grad():
            for path, tensor in module.state_dict(keep_vars=True).items():
                if any(path.startswith(f"{tie.path}.") for tie in tied_parts.get(name, ())):
                    continue  # which its owner takes over
                if path in known and known[path].shape == tensor.shape:
                    tensor.copy_(known[path])
                else:
                    fresh.append(f"{name}.{path}")
    return fresh


def carry_optimizers(before: Engine, after: Engine) -> None:
    """Let optimizers go on with the state that those of the same group and kind had in the phase before.

    Parameters are matched by name and shape, and those that are new begin without state. So does an optimizer that
    keeps more than the one before did.
    """
    known, named = _parameters_by_name(before), _parameters_by_name(after)
    names: dict[int, list[str]] = {}
    for name, parameter in named.items():
        names.setdefault(id(parameter), []).append(name)
    for group, optimizer in after.optimizers.items():
        former = before.optimizers.get(group)
        if former is None or type(former) is not type(optimizer) or _keeps_more(optimizer, former):
            continue
        for parameter in after.parameters[group]:
            old = next((known[name] for name in names[id(parameter)] if name in known), None)
            if old is not None and old.shape == parameter.shape and old in former.state:
                optimizer.state[parameter] = former.state[old]


def _keeps_more(optimizer: torch.optim.Optimizer, former: torch.optim.Optimizer) -> bool:
    """Whether an option asks for state that the other does not have."""
    return any(optimizer.defaults.get(option) and not former.defaults.get(option) for option in MORE_STATE)


def _parameters_by_name(engine: Engine) -> dict[str, nn.Parameter]:
    """Every parameter; one that networks share has several names."""
    return {
        f"{name}.{path}": parameter
        for name, module in engine.networks.live.items()
        for path, parameter in module.named_parameters()
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Replace the whole state. Scalars such as Adam's step stay where the optimizer makes them."""
    optimizer.state.clear()
    for full, value in tensors.items():
        index, _, key = full.partition(".")
        parameter = parameters[int(index)]
        if value.dim() or (value.shape == parameter.shape and key not in ("step", "mu_product")):
            own = torch.empty_like(parameter).copy_(value)
        else:
            own = value.clone().to(parameter.device if optimizer.defaults.get("fused") else "cpu")
        optimizer.state[parameter][key] = own


def _load_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in module.state_dict(keep_vars=True).items():
            tensor.copy_(tensors[name])
