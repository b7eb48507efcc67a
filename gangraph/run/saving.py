"""What a checkpoint keeps of an engine: its tensors by name, and everything else as one state."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from gangraph.check.tied_parameters import TiedPart
from gangraph.run.engine import Engine
from gangraph.saved.state import FORMAT, Pool, State, Trained

TiedParts = Mapping[str, Iterable[TiedPart]]  # by network


def tensors_of(engine: Engine) -> dict[str, Tensor]:
    """Copies on the CPU of every tensor that training moves, by the names that they have in a checkpoint.

    These are `network/G/PATH`, `average/NAME/PATH`, `optimizer/GROUP/INDEX.KEY` with the index of a parameter in its
    group, `history/NAME/samples` and `state/NAME`. What networks share stands only under its owner's name.
    """
    tensors: dict[str, Tensor] = {}
    for kind, modules in (("network", engine.networks.stored), ("average", engine.networks.averages)):
        for name, module in modules.items():
            tensors |= {f"{kind}/{name}/{path}": tensor for path, tensor in module.state_dict().items()}
    tied = tied_names(engine.program.plan.checked.tied_parts)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(tied)}
    for name, optimizer in engine.optimizers.items():
        for index, parameter in enumerate(engine.parameters[name]):
            for key, tensor in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{index}.{key}"] = tensor
    for name, history in engine.histories.items():
        if history.samples is not None:
            tensors[f"history/{name}/samples"] = history.samples
    tensors |= {f"state/{name}": tensor for name, tensor in engine.states.tensors.items()}
    return {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}


def state_of(engine: Engine, trained: Trained) -> State:
    """Everything else: counts, positions in the data, and what gates and histories remember."""
    return State(
        format=FORMAT,
        digest=None,  # known once the tensors are written
        step=engine.step_count,
        shared=shared_names(engine.program.plan.checked.tied_parts),
        positions=dict(engine.draws.positions),
        histories={name: Pool(count=history.count, calls=history.calls) for name, history in engine.histories.items()},
        gates=[gates.state() for gates in engine.gates],
        extra=trained,
    )


def shared_names(tied_parts: TiedParts) -> dict[str, str]:
    """Beginnings of tensors' names, and the beginnings under which the same tensors are stored."""
    return {
        f"network/{name}/{tie.path}.": f"network/{tie.owner}/{tie.path}."
        for name, each in tied_parts.items()
        for tie in each
    }


def tied_names(tied_parts: TiedParts) -> tuple[str, ...]:
    """Beginnings of names under which no tensor is stored."""
    return tuple(shared_names(tied_parts))
