"""Features of images that distances between distributions are measured in."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from gangraph.vocabulary import pretrained
from gangraph.vocabulary.metrics import checks

NETWORKS: dict[str, Callable[[Tensor], Tensor]] = {
    "inception": pretrained.inception_features,
    "vgg16": pretrained.vgg16_features,
}
_FACTS = {
    "inception": {"features": "Inception v3 (2015-12-05), 2048 pooled", "resize": "bilinear to 299 without antialias"},
    "vgg16": {"features": "VGG-16, last ReLU, mean over space, 512", "resize": "bilinear to 224 with antialias"},
}
# The features of a value that several metrics use are computed once, and dropped together with the value.
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()


def require_features(network: str | None, least: int, **given: Tensor) -> None:
    """Refuse what is not vectors [N, D], or images [N, 3, H, W] if a network is named. Raises ValueError."""
    if network is None:
        checks.same_size(**given)
    else:
        checks.one_of(NETWORKS, features=network)
        checks.dimensions("N, 3, H, W", **given)
        checks.colours(**given)
    checks.samples(least, **given)


def of(network: str | None, x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> tuple[Tensor, Tensor]:
    """Feature vectors [N, D] in float64: the values themselves, or a network's features of images in [-1, 1].

    Raises:
        ValueError: a value is NaN, or an image's outside of its range.
        WeightsError: the network's weights are missing.
    """
    given = dict(zip(names, (x, y), strict=True))
    if network is None:
        checks.finite(**given)
        return x.double(), y.double()
    for name, value in given.items():
        checks.inside(-1, 1, **{name: value})
    return _once(network, x).double(), _once(network, y).double()


def _once(network: str, x: Tensor) -> Tensor:
    version = 0 if x.is_inference() else x._version
    known: dict[tuple[str, int], Tensor] = _known[x] if x in _known else {}  # noqa: SIM401  # torch's `get` is untyped
    if (network, version) not in known:
        known[network, version] = NETWORKS[network](pretrained.eight_bit(x))
        _known[x] = known
    return known[network, version]


def feature_facts(network: str | None) -> dict[str, Any]:
    """The facts that are stored beside a number measured in these features."""
    if network is None:
        return {"features": "as given"}
    return {**_FACTS[network], "images": "rounded to 8 bits", **pretrained.weights_facts(network)}
