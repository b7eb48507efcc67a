"""What a phase takes over from the one before: weights, and on request the state of optimizers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gangraph.check.tied_parameters import TiedPart
from gangraph.folder.checkpoint import part
from gangraph.language.spec import VARIABLE
from gangraph.run.engine import Engine
from gangraph.run.optimizer_state import state_after_a_step


def hand_over(before: Engine, after: Engine, *, optimizers: bool) -> list[str]:
    """Carry what the phase before has trained over to the next; returns the parameters and states that begin anew.

    Weights are carried over by name where their shapes fit, those of averages and variables too. An average that is new
    begins at its network, a variable that is new waits for its start, and states are carried over as weights are. With
    `optimizers` these go on with their state.
    """
    tensors = {
        f"{kind}/{name}/{path}": tensor
        for kind, modules in (("network", before.networks.live), ("average", before.networks.averages))
        for name, module in modules.items()
        for path, tensor in module.state_dict().items()
    }
    after.step_count = before.step_count
    live, averages = after.networks.live, after.networks.averages
    fresh = carry_tensors(after.networks.stored, tensors, "network", after.program.plan.checked.tied_parts)
    for name, average in after.graph.averages.items():
        averages[name].load_state_dict(live[average.of].state_dict())
    carry_tensors(averages, tensors, "average", {})
    fresh += [f"state {name}" for name in after.states.take_over(before.states.tensors)]
    after.starts.waiting &= {name for name in live if f"{name}.{VARIABLE}" in fresh}
    if optimizers:
        _carry_optimizers(before, after)
    return fresh


def carry_tensors(
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


def _carry_optimizers(before: Engine, after: Engine) -> None:
    """Carry over the state of optimizers, from groups of the same name and kind.

    Parameters are matched by name and shape, and those that are new begin without state. So do those of which the
    optimizer keeps more than the one before did.
    """
    known, named = _parameters_by_name(before), _parameters_by_name(after)
    names: dict[int, list[str]] = {}
    for name, parameter in named.items():
        names.setdefault(id(parameter), []).append(name)
    for group, optimizer in after.optimizers.items():
        former = before.optimizers.get(group)
        if former is None or type(former) is not type(optimizer):
            continue
        for index, parameter in enumerate(after.parameters[group]):
            old = next((known[name] for name in names[id(parameter)] if name in known), None)
            if old is not None and old.shape == parameter.shape and old in former.state:
                needed = state_after_a_step(after.spec_of(group, index), parameter).keys()
                if needed <= former.state[old].keys():
                    optimizer.state[parameter] = former.state[old]


def _parameters_by_name(engine: Engine) -> dict[str, nn.Parameter]:
    """Every parameter; one that networks share has several names."""
    return {
        f"{name}.{path}": parameter
        for name, module in engine.networks.live.items()
        for path, parameter in module.named_parameters()
    }
