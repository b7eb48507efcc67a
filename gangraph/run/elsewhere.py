"""Weights from elsewhere: read, verified, and given to the networks that take them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gangraph.check.weights import may_lack
from gangraph.errors import CheckpointError, RunError
from gangraph.folder.cache import newest_checkpoint
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.resolve.names_table import their_name
from gangraph.language.spec import EvaluatorSpec, FileWeights, NetworkSpec, PretrainedWeights, RunWeights, Spec, Weights
from gangraph.saved.files import known_digest
from gangraph.saved.state import TENSORS, Found
from gangraph.saved.tensors import names_of_network
from gangraph.views.spec import weights_text
from gangraph.vocabulary.imagenet import fetched_backbone
from gangraph.vocabulary.pretrained import read_tensors


def load_weights(weights: Weights, module: nn.Module) -> None:
    """Give a network the weights that it takes from elsewhere.

    Raises:
        RunError: they are not there, damaged, or of another network.
    """
    ours = module.state_dict(keep_vars=True)
    tensors = weight_tensors(weights, ours)
    with torch.no_grad():
        for path, tensor in ours.items():
            if may_lack(path, tensors):
                continue
            if path not in tensors or tensors[path].shape != tensor.shape:
                found = list(tensors[path].shape) if path in tensors else "nothing"
                raise RunError(f"{weights_text(weights)}: '{path}': found {found}, expected {list(tensor.shape)}")
            tensor.copy_(tensors[path])


def weight_tensors(weights: Weights, paths: Iterable[str]) -> Mapping[str, Tensor]:
    """The tensors that weights hold for a network with these paths; those that are missing are left out.

    Raises:
        RunError: they are not there, or damaged.
    """
    match weights:
        case EvaluatorSpec():
            return _in_checkpoint(newest_checkpoint(weights), weights.network)
        case RunWeights():
            return _in_checkpoint(Path(weights.checkpoint), weights.network)
        case FileWeights() | PretrainedWeights():
            held = read_tensors(_file(weights))
            return {path: held[own] for path in paths if (own := their_name(path, weights.names)) in held}


def _file(weights: FileWeights | PretrainedWeights) -> Path:
    return Path(weights.path) if isinstance(weights, FileWeights) else fetched_backbone(weights.name, weights.span)


def _in_checkpoint(folder: Path, network: str) -> Mapping[str, Tensor]:
    checkpoint = read_checkpoint(folder)
    checkpoint.verify_digest()
    names = names_of_network(checkpoint.tensors, network, checkpoint.state.shared)
    for name in names.values():
        tensor = checkpoint.tensors[name]
        if tensor.is_floating_point() and tensor.isnan().any():
            raise checkpoint.misfit(f"'{name}': found NaN, expected numbers")
    return {path: checkpoint.tensors[name] for path, name in names.items()}


# Where they were found, so that a run that goes on takes the same


def found_weights(spec: Spec) -> dict[str, Found]:
    """Where the weights of networks from elsewhere are, with their digests, by the calls that name them.

    Raises:
        RunError: some are not there.
    """
    taken = {weights_text(weights): weights for weights in _taken(spec)}
    return {text: _found(weights) for text, weights in taken.items()}


def _taken(spec: Spec) -> Iterator[Weights]:
    for phase in spec.phases:
        for made in phase.networks.values():
            if isinstance(made, NetworkSpec) and made.weights is not None:
                yield made.weights


def begun_with(spec: Spec) -> dict[str, Found]:
    """The same for the weights under `start:`, which only the beginning of a run needs."""
    texts = {weights_text(weights): weights for weights in spec.start.values()}
    return {
        text: Found(path=str(_begun_at(weights).resolve()), digest=weights.digest)
        for text, weights in texts.items()
        if weights.digest or isinstance(weights, RunWeights)
    }


def _begun_at(weights: RunWeights | FileWeights) -> Path:
    return Path(weights.path if isinstance(weights, FileWeights) else weights.checkpoint)


def _found(weights: Weights) -> Found:
    if isinstance(weights, FileWeights | PretrainedWeights):
        path = file = _file(weights)
    else:
        path = newest_checkpoint(weights) if isinstance(weights, EvaluatorSpec) else Path(weights.checkpoint)
        file = path / TENSORS
    try:
        return Found(path=str(path.resolve()), digest=known_digest(file))
    except OSError as error:
        raise RunError(f"{weights_text(weights)}: '{file}' cannot be read: {error.strerror}") from None


def require_same(before: Mapping[str, Found], now: Mapping[str, Found], checkpoint: Path) -> None:
    """Refuse to go on with other weights from elsewhere than a run began with. Raises CheckpointError."""
    for text, found in now.items():
        if text in before and before[text].digest != found.digest:
            raise CheckpointError(
                f"checkpoint '{checkpoint}' was trained with other weights of {text}: '{found.path}' has changed, "
                f"found digest {found.digest[:12]}, expected {before[text].digest[:12]}"
            )
