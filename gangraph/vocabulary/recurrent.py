"""Recurrent layers over steps [B, T, ...]: LSTM, GRU and convolutional LSTM.

Their steps are written out in products of matrices, so that they can be differentiated any number of times on every
device, as gradient penalties need; parameters have torch's names, shapes and starts.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph.registry import layer

State = tuple[Tensor, ...]


class _Recurrent(nn.Module, ABC):
    """Layers of cells over [B, T, C], each in one direction or in both; `gates` is how many a cell has."""

    gates: int
    states: int

    def __init__(self, input_size: int, features: int, layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        if features < 1 or layers < 1:
            raise ValueError(f"features and layers are at least 1, but got {features} and {layers}")
        self.features, self.layers, self.bidirectional = features, layers, bidirectional
        for number in range(layers):
            inputs = input_size if number == 0 else features * (1 + bidirectional)
            for end in self._ends(number):
                shapes = {"weight_ih": (inputs,), "weight_hh": (features,), "bias_ih": (), "bias_hh": ()}
                for name, shape in shapes.items():
                    self.register_parameter(name + end, nn.Parameter(torch.empty(self.gates * features, *shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(features), as torch's recurrent layers start."""
        bound = 1 / math.sqrt(self.features)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] to [B, T, features], or [B, T, 2 features]: the states of the last layer at every step."""
        for number in range(self.layers):
            made = [self._scanned(x, end) for end in self._ends(number)]
            x = torch.cat(made, 2)
        return x

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{self.features}, layers={self.layers}, bidirectional={self.bidirectional}"

    @abstractmethod
    def step(self, given: Tensor, seen: Tensor, state: State) -> State:
        """The next state, whose first part is shown.

        Args:
            given: the gates' part of the input [B, gates * features], with its bias.
            seen: the gates' part of the state that is shown, likewise.
            state: `states` tensors [B, features].
        """

    def _ends(self, number: int) -> list[str]:
        """What the names of one layer's parameters end in, by direction."""
        return [f"_l{number}", *([f"_l{number}_reverse"] if self.bidirectional else [])]

    def _scanned(self, x: Tensor, end: str) -> Tensor:
        weight, bias = getattr(self, f"weight_hh{end}"), getattr(self, f"bias_hh{end}")
        given = functional.linear(x, getattr(self, f"weight_ih{end}"), getattr(self, f"bias_ih{end}")).unbind(1)
        backward = end.endswith("reverse")
        state: State = (x.new_zeros(len(x), self.features),) * self.states
        shown = []
        for one in reversed(given) if backward else given:
            state = self.step(one, functional.linear(state[0], weight, bias), state)
            shown.append(state[0])
        return torch.stack(shown[::-1] if backward else shown, 1)


class Lstm(_Recurrent):
    """Long short-term memory over [B, T, C]: torch's nn.LSTM from a state of zeros (Hochreiter and Schmidhuber 1997).

    i, f, g, o are gates of the input and the last output h: c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o)
    tanh(c). Each step's h of the last layer is given, [B, T, features]; `bidirectional` appends that of the steps read
    backwards, [B, T, 2 features].
    """

    gates, states = 4, 2

    def step(self, given: Tensor, seen: Tensor, state: State) -> State:
        """The next h and c."""
        return lstm_step(given + seen, state[1], 1)


class Gru(_Recurrent):
    """Gated recurrent units over [B, T, C]: torch's nn.GRU from a state of zeros (Cho et al. 2014).

    h = z h + (1 - z) tanh(a + r b), where z and r are sigmoids of the input and h, a is linear in the input and b in h.
    [B, T, features]; `bidirectional` appends that of the steps read backwards, [B, T, 2 features].
    """

    gates, states = 3, 1

    def step(self, given: Tensor, seen: Tensor, state: State) -> State:
        """The next h."""
        (r, z, a), (of_r, of_z, b) = given.chunk(3, 1), seen.chunk(3, 1)
        z = torch.sigmoid(z + of_z)
        fresh = torch.tanh(a + torch.sigmoid(r + of_r) * b)
        return (fresh + z * (state[0] - fresh),)


class ConvLstm(nn.Module):
    """An LSTM whose products are convolutions, over clips [B, T, C, H, W] (Shi et al. 2015, without peepholes).

    The gates of a step are convolutions of its frame and of the last output, both of size `kernel` with zeros around.
    """

    def __init__(self, in_channels: int, features: int, kernel: int) -> None:
        super().__init__()
        if features < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"features is at least 1 and kernel odd, but got {features} and {kernel}")
        self.features = features
        self.from_input = nn.Conv2d(in_channels, 4 * features, kernel, padding=kernel // 2)
        self.from_state = nn.Conv2d(features, 4 * features, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C, H, W] to [B, T, features, H, W]."""
        given = self.from_input(x.flatten(0, 1)).unflatten(0, x.shape[:2]).unbind(1)
        hidden = cell = x.new_zeros(len(x), self.features, *x.shape[3:])
        shown = []
        for one in given:
            hidden, cell = lstm_step(one + self.from_state(hidden), cell, 1)
            shown.append(hidden)
        return torch.stack(shown, 1)


def lstm_step(gates: Tensor, cell: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The next output and cell from the gates i, f, g and o, which stand one after the other along `dim`."""
    i, f, g, o = gates.chunk(4, dim)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


@layer()
def lstm(x: Tensor, features: int, layers: int = 1, bidirectional: bool = False) -> nn.Module:
    """Long short-term memory, torch's nn.LSTM: [B, T, C] to [B, T, features], twice as many if bidirectional.

    Hochreiter and Schmidhuber (1997); every call begins from a state of zeros.
    """
    return Lstm(_steps(x, 3), features, layers, bidirectional)


@layer()
def gru(x: Tensor, features: int, layers: int = 1, bidirectional: bool = False) -> nn.Module:
    """Gated recurrent units, torch's nn.GRU: [B, T, C] to [B, T, features], twice as many if bidirectional.

    Cho et al. (2014); every call begins from a state of zeros.
    """
    return Gru(_steps(x, 3), features, layers, bidirectional)


@layer()
def conv_lstm(x: Tensor, features: int, kernel: int = 3) -> nn.Module:
    """An LSTM of convolutions over clips: [B, T, C, H, W] to [B, T, features, H, W] (Shi et al. 2015, no peepholes)."""
    return ConvLstm(_steps(x, 5), features, kernel)


def _steps(x: Tensor, dimensions: int) -> int:
    """The channels of a step. Raises ValueError for what has no steps."""
    if x.dim() != dimensions or not x.is_floating_point():
        expected = "steps [B, T, C]" if dimensions == 3 else "clips [B, T, C, H, W]"
        tokens = "; an embedding makes vectors of whole numbers" if not x.is_floating_point() else ""
        raise ValueError(f"expected {expected}, but got {list(x.shape)}{tokens}")
    return x.shape[2]
