"""Networks with storage, and the forms of each that share it: live, whose parameters carry gradients; frozen; fused."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from gangraph.build.network import module_name
from gangraph.check.initialize import initialize
from gangraph.check.phase import Checked
from gangraph.data.stream import derive_seed
from gangraph.lower.writer import AGAIN, AHEAD, PARAMETERS, STATE, Form
from gangraph.run.lookahead import LookedAhead


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a run by the spec's names, and by the names that generated code calls them."""

    live: Mapping[str, nn.Module]
    averages: Mapping[str, nn.Module]
    callable: Mapping[str, nn.Module]


def make_networks(
    checked: Checked, fused: Mapping[str, Form], *, device: torch.device, dtype: torch.dtype, seed: int
) -> Networks:
    """Give every network storage and its initial parameters, a function of the seed and the network's name alone."""
    live: dict[str, nn.Module] = {}
    for name, model in checked.networks.items():
        module: nn.Module = copy.deepcopy(model.module).to_empty(device="cpu")
        initialize(module, model.graph, torch.Generator().manual_seed(derive_seed(seed, "initialize", name)))
        live[name] = module.to(device=device, dtype=dtype).train()
    for name, tie in ((name, tie) for name, each in checked.tied_parts.items() for tie in each):
        live[name].add_module(tie.path, live[tie.owner].get_submodule(tie.path))
    averages = {name: _average(live[spec.of]) for name, spec in checked.graph.averages.items() if spec.of in live}
    forms = {module_name(name): module for name, module in (*live.items(), *averages.items())}
    forms |= {f"{module_name(name)}_frozen": frozen(module) for name, module in live.items()}
    vectors = {f"{name}{PARAMETERS}": ParameterVector(module) for name, module in forms.items()}
    ahead = {f"{module_name(name)}{AHEAD}": LookedAhead(module) for name, module in (*live.items(), *averages.items())}
    forms |= {name: fx.GraphModule(forms[form.of], form.graph) for name, form in fused.items()}
    again = {f"{name}{AGAIN}": FromState(module) for name, module in forms.items()}
    states = {f"{name}{STATE}": StateOf(module) for name, module in forms.items()}
    return Networks(live, averages, forms | vectors | ahead | again | states)


class ParameterVector(nn.Module):
    """A network that gives all its parameters as one vector [P], in their order, with their gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> Tensor:
        """The vector."""
        return torch.cat([parameter.reshape(-1) for parameter in self.network.parameters()])


class StateOf(nn.Module):
    """The form `D_state` of `D`: what its buffers are, copied."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.of = (network,)  # in a tuple, so that its buffers are not this module's

    def forward(self) -> dict[str, Tensor]:
        """The buffers by path."""
        return {path: buffer.clone() for path, buffer in self.of[0].named_buffers()}


class FromState(nn.Module):
    """The form `D_again` of `D`: a call that begins from an earlier state, and leaves the buffers alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.of = (network,)

    def forward(self, state: Mapping[str, Tensor], *inputs: Tensor) -> Any:
        """What the network gives."""
        return functional_call(self.of[0], {path: buffer.clone() for path, buffer in state.items()}, inputs)


def frozen(module: nn.Module) -> nn.Module:
    """The same network over the same storage, with parameters that carry no gradient."""
    shared: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    shared |= {id(b): b for b in module.buffers()}
    return copy.deepcopy(module, shared)


def _average(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float, *, buffers: str) -> None:
    """average = decay * average + (1 - decay) * module, for parameters and, as asked, buffers."""
    torch._foreach_lerp_([*average.parameters()], [*module.parameters()], 1 - decay)
    for mine, theirs in zip(average.buffers(), module.buffers(), strict=True):
        if buffers == "average" and mine.is_floating_point():
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)
