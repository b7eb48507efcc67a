"""Networks with storage, and the modules that code calls: each is made from a form, and shares the storage."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from gangraph.check.initialize import initialize
from gangraph.check.phase import Checked
from gangraph.data.stream import derive_seed
from gangraph.graph.code_names import Mode
from gangraph.lower.forms import Chosen, NetworkForm
from gangraph.run.elsewhere import load_weights
from gangraph.run.lookahead import LookedAhead
from gangraph.run.pixels import PixelByPixel


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a run by their names in the spec, and the modules that code calls by the names in code.

    `frozen` are the `live` networks over the same storage, with parameters that carry no gradient. Those in `fixed` are
    from elsewhere and frozen for good: they stay in evaluation mode, and no checkpoint holds them.
    """

    live: Mapping[str, nn.Module]
    averages: Mapping[str, nn.Module]
    frozen: Mapping[str, nn.Module]
    callable: Mapping[str, nn.Module]
    fixed: frozenset[str] = frozenset()

    @property
    def stored(self) -> dict[str, nn.Module]:
        """The live networks that training may move, which a checkpoint holds."""
        return {name: module for name, module in self.live.items() if name not in self.fixed}

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Every network that can be in training mode; setting the mode of these sets it for every form.

        Networks that are frozen for the whole run are left out: their mode and buffers never change.
        """
        frozen = (module for name, module in self.frozen.items() if name not in self.fixed)
        return (*self.stored.values(), *self.averages.values(), *frozen)

    def plain(self, form: NetworkForm) -> nn.Module:
        """The network whose parameters a form has."""
        if form.frozen:
            return self.frozen[form.network]
        return self.averages[form.network] if form.network in self.averages else self.live[form.network]

    def made(self, forms: Mapping[str, NetworkForm]) -> dict[str, nn.Module]:
        """A module for each form, by the same names."""
        return {name: self._module(form) for name, form in forms.items()}

    def _module(self, form: NetworkForm) -> nn.Module:
        network = self.plain(form)
        if form.body is not None:
            network = fx.GraphModule(network, form.body.graph)
        if form.chosen is not None:
            return _OF_CHOSEN[form.mode](network, form.chosen)
        return _OF_MODE[form.mode](network)


def make_networks(
    checked: Checked, forms: Mapping[str, NetworkForm], *, device: torch.device, dtype: torch.dtype, seed: int
) -> Networks:
    """Give every network storage and its initial parameters, a function of the seed and the network's name alone.

    One from elsewhere gets the weights that it has there. What code can call are the networks and averages, and the
    `forms` of them.
    """
    live: dict[str, nn.Module] = {}
    for name, model in checked.networks.items():
        module: nn.Module = copy.deepcopy(model.module).to_empty(device="cpu")
        initialize(module, model.graph, torch.Generator().manual_seed(derive_seed(seed, "initialize", name)))
        if (weights := model.graph.spec.weights) is not None:
            load_weights(weights, module)
        live[name] = module.to(device=device, dtype=dtype).train(not model.graph.spec.frozen)
    for name, tie in ((name, tie) for name, each in checked.tied_parts.items() for tie in each):
        live[name].add_module(tie.path, live[tie.owner].get_submodule(tie.path))
    averages = {name: _average(live[spec.of]) for name, spec in checked.graph.averages.items() if spec.of in live}
    fixed = frozenset(name for name, model in checked.networks.items() if model.graph.spec.frozen)
    networks = Networks(live, averages, {name: frozen(module) for name, module in live.items()}, {}, fixed)
    plain = {name: NetworkForm(network=name) for name in (*live, *averages)}
    named = {form.name: form for form in plain.values()}
    return replace(networks, callable=networks.made({**named, **forms}))


class ParameterVector(nn.Module):
    """A module that returns some parameters of a network as one vector [P], through which gradients flow."""

    def __init__(self, network: nn.Module, chosen: Chosen) -> None:
        super().__init__()
        self.network, self.names = network, chosen.names

    def forward(self) -> Tensor:
        """The vector."""
        return torch.cat([self.network.get_parameter(name).reshape(-1) for name in self.names])


class WeightMatrix(nn.Module):
    """A module that returns the weight of a layer as a matrix [outputs, the rest], through which gradients flow."""

    def __init__(self, network: nn.Module, chosen: Chosen) -> None:
        super().__init__()
        self.network, (self.name,), self.transposed = network, chosen.names, chosen.transposed

    def forward(self) -> Tensor:
        """The matrix."""
        weight = self.network.get_parameter(self.name)
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)


class ParameterGradient(nn.Module):
    """A module that returns the gradient of a value with respect to some parameters, as one vector [P] in order.

    It is 0 for those that the value does not depend on.
    """

    def __init__(self, network: nn.Module, chosen: Chosen) -> None:
        super().__init__()
        self.network, self.names = network, chosen.names

    def forward(self, value: Tensor, *, create_graph: bool, retain_graph: bool | None = None) -> Tensor:
        """The gradient of the value's sum, itself differentiable if asked."""
        gradients = torch.autograd.grad(
            value.sum(),
            [self.network.get_parameter(name) for name in self.names],
            create_graph=create_graph,
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([gradient.reshape(-1) for gradient in gradients])


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


_OF_MODE: Mapping[Mode, Callable[[nn.Module], nn.Module]] = {
    Mode.OUTPUT: lambda network: network,
    Mode.STATE: StateOf,
    Mode.AGAIN: FromState,
    Mode.AHEAD: LookedAhead,
    Mode.AUTOREGRESSIVE: PixelByPixel,
}

_OF_CHOSEN: Mapping[Mode, Callable[[nn.Module, Chosen], nn.Module]] = {
    Mode.PARAMETERS: ParameterVector,
    Mode.MATRIX: WeightMatrix,
    Mode.GRADIENT: ParameterGradient,
}


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
