"""What code calls networks, their forms, and values."""

import builtins
import re
from enum import Enum
from keyword import iskeyword

from torch import fx, nn

FROZEN = "_frozen"  # what the names of forms end in whose parameters carry no gradient
FUSED = "fused"  # the label of a network's layers with kernels in them
EVALUATED = "evaluated"  # the label of a network's layers with the outputs that the evaluation reads

_MODULE = nn.Module()
_RESERVED = frozenset(("self", "torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree", *dir(builtins)))
_GRAPH_MODULE = fx.GraphModule(_MODULE, fx.Graph())  # what networks and segments are once they are code


class Mode(Enum):
    """What code asks of a network. The value is what the names of such forms end in."""

    OUTPUT = ""  # what it gives for its inputs
    PARAMETERS = "_parameters"  # its parameters, or some of them, as a vector
    MATRIX = "_matrix"  # the weight of one of its layers, as a matrix
    GRADIENT = "_gradient"  # the gradient of a value with respect to these, as a vector
    STATE = "_state"  # a copy of its buffers
    AGAIN = "_again"  # what it gives with such a copy in the place of its buffers, which it leaves alone
    AHEAD = "_ahead"  # what it gives at the parameters and buffers that it is called with; it has none itself
    AUTOREGRESSIVE = "_autoregressive"  # an image, drawn pixel by pixel by a call for each


_OF_PLACES = rf"({Mode.PARAMETERS.value}|{Mode.MATRIX.value}|{Mode.GRADIENT.value})_\w+"  # which are followed by a part
_ENDINGS = (FROZEN, *(mode.value for mode in Mode if mode.value), rf"_{FUSED}(_\d+)?", f"_{EVALUATED}", _OF_PLACES)
_FORM = re.compile(f"({'|'.join(_ENDINGS)})*")


def module_name(name: str) -> str:
    """A network or part as an attribute of code: `down[3]` is `down_3`, and `graph`, which code has, `graph_`."""
    plain = _plain(name)
    taken = iskeyword(plain) or plain in ("self", "torch") or hasattr(_GRAPH_MODULE, plain)
    return f"{plain}_" if taken else plain


def value_name(name: str) -> str:
    """A value as a variable of code, as `module_name`; `graph` may be one."""
    plain = _plain(name)
    return f"{plain}_" if iskeyword(plain) or plain in _RESERVED or hasattr(_MODULE, plain) else plain


def is_form_of(name: str, network: str) -> bool:
    """Whether code could call a form of a network by this name; both are names of modules."""
    return name.startswith(network) and _FORM.fullmatch(name, len(network)) is not None


def _plain(name: str) -> str:
    """A family member as a Python name."""
    return name.replace("[", "_").replace("]", "").replace("-", "m").replace(".", "_")
