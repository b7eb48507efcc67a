"""Whether the weights of a network from elsewhere fit it, from names and shapes alone."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch

from gangraph.check.instantiate import NetworkModel
from gangraph.errors import CheckpointError, Problem
from gangraph.language.resolve.names_table import their_name
from gangraph.language.spec import (
    AverageSpec,
    EvaluatorSpec,
    FileWeights,
    NetworkSpec,
    PhaseSpec,
    PretrainedWeights,
    RunWeights,
    Weights,
)
from gangraph.saved.state import TENSORS, read_state
from gangraph.saved.tensors import Shape, names_of_network, shapes_in
from gangraph.vocabulary.imagenet import backbone_file

_TABLE = 'a table of names, file("...", names="names.yaml"), each line of it `our name: its name`'
_MOST = 3  # tensors that a message lists

Shapes = Mapping[str, Shape]


class UnreadableWeightsError(Exception):
    """Weights cannot be read; the message says why."""


def misfitting_weights(
    spec: PhaseSpec, models: Mapping[str, NetworkModel], trained: Mapping[str, NetworkModel]
) -> Iterator[Problem]:
    """A problem for each network from elsewhere whose weights do not fit its layers.

    Args:
        models: the networks as this spec calls them.
        trained: those of them that other specs train, as these make them.
    """
    for name, model in models.items():
        made = spec.networks.get(name)
        if isinstance(made, NetworkSpec) and made.weights is not None:
            yield from _misfitting(name, made.weights, model, trained.get(name))


def misfitting_start(
    start: Mapping[str, RunWeights | FileWeights],
    models: Mapping[str, NetworkModel],
    averages: Mapping[str, AverageSpec],
) -> Iterator[Problem]:
    """A problem for each network under `start:` that nothing calls, or whose weights do not fit it.

    Weights whose file or folder is gone are passed over: a run that goes on took them over when it began.
    """
    for name, weights in start.items():
        model = models.get(averages[name].of if name in averages else name)
        there = Path(weights.path if isinstance(weights, FileWeights) else weights.checkpoint).exists()
        if model is not None and there:
            yield from _misfitting(name, weights, model)
        elif model is None and name:
            yield without_layers(name, weights)


def without_layers(name: str, weights: Weights) -> Problem:
    """What is wrong with weights for a network that nothing calls."""
    return Problem(
        code="GG236",
        message=f"'{name}' has nothing that could begin with these weights",
        span=weights.span,
        found=f"no call of {name}",
        expected=f"a value with {name}(...), since layers are made for what they are called on",
    )


def _misfitting(
    name: str, weights: Weights, model: NetworkModel, trained: NetworkModel | None = None
) -> Iterator[Problem]:
    if isinstance(weights, EvaluatorSpec) and trained is None:
        return  # what is wrong with its spec is reported
    if isinstance(weights, PretrainedWeights) and backbone_file(weights.name) is None:
        return  # which stops no view, and a run before it begins
    ours = shapes_in_module(model)
    try:
        problem = misfit(name, weights, ours, shapes_of(weights, ours, trained))
    except UnreadableWeightsError as error:
        message = f"the weights of '{name}' cannot be read"
        problem = Problem(code="GG235", message=message, span=weights.span, reason=str(error))
    if problem is not None:
        yield problem


def shapes_in_module(model: NetworkModel) -> Shapes:
    """The shape of every parameter and buffer of a network, by path."""
    return {path: tuple(tensor.shape) for path, tensor in model.module.state_dict().items()}


def shapes_of(weights: Weights, paths: Iterable[str], trained: NetworkModel | None = None) -> Shapes:
    """The shapes of the tensors that weights hold, by the paths in the network that takes them.

    Raises:
        UnreadableWeightsError: they cannot be read.
    """
    match weights:
        case EvaluatorSpec():
            return shapes_in_module(trained) if trained is not None else {}
        case RunWeights():
            return _of_run(weights)
        case FileWeights():
            return _in_file(Path(weights.path), weights.names, paths)
        case PretrainedWeights():
            file = backbone_file(weights.name)
            return _in_file(file, weights.names, paths) if file is not None else {}


def _in_file(file: Path, names: Iterable[tuple[str, str]], paths: Iterable[str]) -> Shapes:
    table, known = tuple(names), shapes_in_file(file)
    return {path: known[own] for path in paths if (own := their_name(path, table)) in known}


def _of_run(weights: RunWeights) -> Shapes:
    folder = Path(weights.checkpoint)
    try:
        known, shared = shapes_in(folder / TENSORS), read_state(folder).shared
    except CheckpointError as error:
        raise UnreadableWeightsError(str(error)) from None
    except (OSError, ValueError) as error:
        raise UnreadableWeightsError(f"checkpoint '{folder}' cannot be used: {TENSORS}: {_said(error)}") from None
    return {path: known[name] for path, name in names_of_network(known, weights.network, shared).items()}


def shapes_in_file(path: Path) -> Shapes:
    """The shapes of the tensors in a file of weights. Raises UnreadableWeightsError."""
    try:
        if path.suffix == ".safetensors":
            return shapes_in(path)
        held = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # what a stranger's pickle makes torch raise may be anything
        reason = "it holds more than tensors" if isinstance(error, UnpicklingError) else _said(error)
        raise UnreadableWeightsError(f"'{path}' cannot be used: {reason}") from None
    tensors = held.items() if isinstance(held, dict) else ()
    return {name: tuple(tensor.shape) for name, tensor in tensors if isinstance(tensor, torch.Tensor)}


def misfit(name: str, weights: Weights, ours: Shapes, theirs: Shapes) -> Problem | None:
    """The problem of weights that do not fit a network, with the first tensors that are missing or differ in shape."""
    apart = [path for path, shape in ours.items() if theirs.get(path) != shape and not may_lack(path, theirs)]
    if not apart:
        return None
    listed = apart[:_MOST]
    found = ", ".join(f"{path} {list(theirs[path]) if path in theirs else 'missing'}" for path in listed)
    expected = ", ".join(f"{path} {list(ours[path])}" for path in listed)
    more = f" and {len(apart) - _MOST} more" if len(apart) > _MOST else ""
    return Problem(
        code="GG237",
        message=f"the weights do not fit '{name}'",
        span=weights.span,
        found=found + more,
        expected=expected,
        fix=_fix(apart[0], ours, theirs) or (_TABLE if isinstance(weights, FileWeights) and not theirs else ""),
    )


def may_lack(path: str, theirs: Collection[str]) -> bool:
    """Whether a tensor may be missing in weights: batch norm's count of batches, which few files hold."""
    return path.endswith(".num_batches_tracked") and path not in theirs


def _fix(path: str, ours: Shapes, theirs: Shapes) -> str:
    """The fix where the first layer gets another number of channels than it was trained with; else empty."""
    here, there = ours[path], theirs.get(path, ())
    if len(here) == len(there) >= 2 and here[0] == there[0] and here[2:] == there[2:]:
        grey = "; cat(x, x, x) makes a grey image one of 3 channels" if (here[1], there[1]) == (1, 3) else ""
        return f"give it an input of {there[1]} channels or features, as it was trained with{grey}"
    return ""


def _said(error: Exception) -> str:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
    return said if isinstance(error, OSError | ValueError | RuntimeError) and said else "it is damaged"
