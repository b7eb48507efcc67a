"""Checkpoints: tensors as safetensors, everything else as JSON; nothing is ever unpickled.

A checkpoint is a folder that appears whole or not at all: it is written beside its place and renamed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gangraph.compiler.sharing import Loan
from gangraph.errors import RunError
from gangraph.runtime.engine import Engine

_TENSORS, _NUMBERS = "tensors.safetensors", "state.json"
_MORE_STATE = ("amsgrad", "centered", "momentum")  # options under which an optimizer keeps more of each parameter


def save_checkpoint(folder: Path, engine: Engine, extra: Mapping[str, Any]) -> Path:
    """Write the whole state of an engine to `folder`, and return it. What stood there goes only when that is done."""
    tensors, numbers = _state(engine)
    unfinished, former = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "former"))
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(tensors, unfinished / _TENSORS)
    (unfinished / _NUMBERS).write_text(json.dumps({**numbers, "extra": dict(extra)}, indent=1))
    for name in (_TENSORS, _NUMBERS):
        with (unfinished / name).open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(former, ignore_errors=True)
        folder.rename(former)
    unfinished.rename(folder)
    shutil.rmtree(former, ignore_errors=True)
    return folder


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and numbers of a checkpoint; what networks share is stored once, and stands under each name here.

    Raises:
        RunError: a file is missing or damaged.
    """
    former = folder.with_name(f".{folder.name}.former")
    if former.is_dir() and not folder.exists():  # a kill between the two renames of `save_checkpoint`
        folder = former
    try:
        numbers: dict[str, Any] = json.loads((folder / _NUMBERS).read_text())
        tensors = load_file(folder / _TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"checkpoint '{folder}' cannot be read: {error}") from None
    for mine, theirs in numbers.get("shared", {}).items():
        tensors |= {f"{mine}{name}": tensor for name, tensor in _part(tensors, theirs).items()}
    return tensors, numbers


def restore(engine: Engine, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Give an engine the state that a checkpoint holds.

    Raises:
        RunError: the checkpoint belongs to other networks or optimizers.
    """
    for kind, modules in (("network", engine.networks.live), ("average", engine.networks.averages)):
        for name, module in modules.items():
            _load_module(module, _part(tensors, f"{kind}/{name}/"), f"{kind} '{name}'")
    for name, optimizer in engine.optimizers.items():
        _load_optimizer(
            optimizer, engine.parameters[name], _part(tensors, f"optimizer/{name}/"), numbers["optimizers"][name]
        )
    for name, history in engine.histories.items():
        counts = numbers["histories"][name]
        like = torch.empty(0, device=engine.settings.device, dtype=engine.settings.dtype)
        history.restore(_part(tensors, f"history/{name}/"), counts["count"], counts["calls"], like)
    for gates, state in zip(engine.gates, numbers.get("gates", ()), strict=False):
        gates.restore(state)
    engine.draws.positions = dict(numbers["positions"])
    engine.step_count = numbers["step"]


def read_network(folder: Path, name: str, module: torch.nn.Module) -> None:
    """Give a module the tensors of one network, or average, of a checkpoint.

    Raises:
        RunError: the checkpoint is damaged, or the network in it is another.
    """
    tensors, _ = read_checkpoint(folder)
    kind = "average" if any(key.startswith(f"average/{name}/") for key in tensors) else "network"
    _load_module(module, _part(tensors, f"{kind}/{name}/"), f"{kind} '{name}'")


def carry_over(
    networks: Mapping[str, torch.nn.Module],
    tensors: Mapping[str, Tensor],
    prefix: str,
    loans: Mapping[str, tuple[Loan, ...]],
) -> list[str]:
    """Load every tensor whose name and shape fit, as a phase takes over from the one before; returns what was new.

    The parts that networks borrow (`loans`) are taken over by their owners.
    """
    fresh = []
    for name, module in networks.items():
        known = _part(tensors, f"{prefix}/{name}/")
        with torch.no_grad():
            for path, tensor in module.state_dict(keep_vars=True).items():
                if any(path.startswith(f"{loan.path}.") for loan in loans.get(name, ())):
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
    return any(optimizer.defaults.get(option) and not former.defaults.get(option) for option in _MORE_STATE)


def _parameters_by_name(engine: Engine) -> dict[str, torch.nn.Parameter]:
    """Every parameter; one that networks share has several names."""
    return {
        f"{name}.{path}": parameter
        for name, module in engine.networks.live.items()
        for path, parameter in module.named_parameters()
    }


def _state(engine: Engine) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    for kind, modules in (("network", engine.networks.live), ("average", engine.networks.averages)):
        for name, module in modules.items():
            tensors |= {f"{kind}/{name}/{path}": tensor for path, tensor in module.state_dict().items()}
    shared = {
        f"network/{name}/{loan.path}.": f"network/{loan.owner}/{loan.path}."
        for name, each in engine.program.plan.checked.loans.items()
        for loan in each
    }
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(shared))}
    optimizers: dict[str, Any] = {}
    for name, optimizer in engine.optimizers.items():
        found, optimizers[name] = _optimizer_state(optimizer, engine.parameters[name])
        tensors |= {f"optimizer/{name}/{key}": tensor for key, tensor in found.items()}
    for name, history in engine.histories.items():
        tensors |= {f"history/{name}/{key}": tensor for key, tensor in history.state().items()}
    numbers = {
        "step": engine.step_count,
        "shared": shared,
        "positions": dict(engine.draws.positions),
        "optimizers": optimizers,
        "histories": {
            name: {"count": history.count, "calls": history.calls} for name, history in engine.histories.items()
        },
        "gates": [gates.state() for gates in engine.gates],
    }
    return {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}, numbers


def _optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Per-parameter state: tensors by `index.key`, numbers likewise."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, parameter in enumerate(parameters):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    return tensors, numbers


def _load_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: list[torch.nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
) -> None:
    optimizer.state.clear()
    for full, value in (*tensors.items(), *numbers.items()):
        index, _, key = full.partition(".")
        parameter = parameters[int(index)]
        if isinstance(value, Tensor):
            # Scalars such as Adam's step stay where the optimizer made them; moments follow their parameter.
            value = value.to(parameter.device) if value.dim() or optimizer.defaults.get("fused") else value
        optimizer.state[parameter][key] = value


def _load_module(module: torch.nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    own = module.state_dict(keep_vars=True)
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        odd = next(iter(own.keys() ^ tensors.keys()), None) or next(n for n in own if own[n].shape != tensors[n].shape)
        raise RunError(f"the checkpoint does not fit {what}: '{odd}' differs. Was the spec changed since?")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
