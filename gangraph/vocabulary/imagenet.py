"""Ops of networks that were trained on ImageNet, and the files that hold their weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from gangraph.errors import Problem, Span, WeightsError
from gangraph.registry import op
from gangraph.vocabulary.intervals import Interval
from gangraph.vocabulary.pretrained import DOWNLOAD, FOLDER, fetch, file_in, normalised, torchvision_url, weight_folders

_NORMALISED = (-2.12, 2.65)  # which a pixel in [-1, 1] becomes


def _as_normalised(x: Interval) -> Interval:
    return _NORMALISED if x[0] >= -1 and x[1] <= 1 else (float("-inf"), float("inf"))


@op(range=_as_normalised, ranges={"x": (-1.0, 1.0)})
def imagenet(x: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] as ((x + 1) / 2 - mean) / deviation of ImageNet, which its networks take.

    Raises:
        ValueError: `x` is not [B, 3, H, W].
    """
    if x.dim() != 4 or x.shape[1] != 3:
        grey = x.dim() == 4 and x.shape[1] == 1
        how = "; cat(x, x, x) makes a grey image one of 3 channels" if grey else ""
        raise ValueError(f"networks of ImageNet take images of 3 channels{how}")
    return normalised(x)


@op(range=lambda x, *_: x)
def adaptive_avg_pool2d(x: Tensor, size: int) -> Tensor:
    """Means over windows that divide each image into size x size."""
    return functional.adaptive_avg_pool2d(x, size)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network: the files that may hold its weights, torchvision's own first, and what torchvision calls that.

    Where torchvision has no such weights, `home` says instead who gives the file away.
    """

    files: tuple[str, ...]
    weights: str = ""
    home: str = ""


BACKBONES: Mapping[str, Backbone] = {
    "vgg16": Backbone(("vgg16-397923af.pth", "vgg16_features_imagenet_f16.safetensors"), "VGG16_Weights.IMAGENET1K_V1"),
    "vgg19": Backbone(("vgg19-dcbb9e9d.pth",), "VGG19_Weights.IMAGENET1K_V1"),
    "normalised_vgg19": Backbone(("vgg_normalised.pth",), home="github.com/naoto0804/pytorch-AdaIN"),
    "alexnet": Backbone(
        ("alexnet-owt-7be5be79.pth", "alexnet_features_imagenet_f16.safetensors"), "AlexNet_Weights.IMAGENET1K_V1"
    ),
    "resnet50": Backbone(("resnet50-0676ba61.pth",), "ResNet50_Weights.IMAGENET1K_V1"),
    "inception_v3": Backbone(("inception_v3_google-0cc3c7bd.pth",), "Inception_V3_Weights.IMAGENET1K_V1"),
}


def backbone_file(name: str) -> Path | None:
    """The file with the weights of a network, in $GANGRAPH_WEIGHTS or in torch hub's folder; None if it is missing."""
    return file_in(weight_folders(), BACKBONES[name].files)


def fetched_backbone(name: str, span: Span) -> Path:
    """The file with the weights of a network, downloaded if it is missing and GANGRAPH_DOWNLOAD=1 allows it.

    `span` is the call that names the network, at which an error is shown.

    Raises:
        WeightsError: it is missing, and a download is not allowed or fails.
    """
    found = backbone_file(name)
    if found is None and os.environ.get(DOWNLOAD) == "1" and BACKBONES[name].weights:
        found = fetch(name, BACKBONES[name].files[0], torchvision_url(BACKBONES[name].weights))
    if found is None:
        raise WeightsError(str(missing_backbone(name, span)))
    return found


def missing_backbone(name: str, span: Span) -> Problem:
    """GG235: the weights of a network are missing. It names the files, where they were looked for, and who has them.

    That is a command where torchvision has them, and else the place that has.
    """
    given, hub = os.environ.get(FOLDER), weight_folders()[-1]
    first = f"'{given}', which {FOLDER} names" if given else f"{FOLDER}, which names no folder"
    fetching = f"python -c \"import torchvision; torchvision.models.{name}(weights='IMAGENET1K_V1')\" fetches the file"
    home = BACKBONES[name].home
    return Problem(
        code="GG235",
        message=f"the weights of {name} are missing",
        span=span,
        found=f"nothing in {first}, and nothing in '{hub}'",
        expected=f"{' or '.join(BACKBONES[name].files)} in one of them; --weights DIR names another folder",
        fix=f"{home} has the file" if home else f"{fetching}, and so does a run with {DOWNLOAD}=1",
    )
