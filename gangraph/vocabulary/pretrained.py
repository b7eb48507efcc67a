"""Pretrained networks that metrics use: which files hold their weights, where they are, and the networks.

Weights are searched in the folder $GANGRAPH_WEIGHTS, then in torch hub's folder, where torchvision and
torch-fidelity keep what they download. Nothing is downloaded unless GANGRAPH_DOWNLOAD=1.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from gangraph.errors import WeightsError

FOLDER, DOWNLOAD = "GANGRAPH_WEIGHTS", "GANGRAPH_DOWNLOAD"


def _torchvision(weights: str) -> Callable[[], str]:
    def url() -> str:
        return torchvision_url(weights)

    return url


def torchvision_url(weights: str) -> str:
    """The address from which torchvision downloads weights that it calls, say, `VGG16_Weights.IMAGENET1K_V1`."""
    from torchvision.models import get_weight

    return str(get_weight(weights).url)


def _torch_fidelity() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return str(URL_INCEPTION_V3)


def _convolutions(model: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision.models import get_model

        return nn.ModuleDict({"features": get_model(model).features})

    return make


def _inception() -> nn.Module:
    from torchvision.models.inception import Inception3

    network: nn.Module = Inception3(aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    return network


@dataclass(frozen=True, slots=True)
class Weights:
    """A pretrained network of the catalogue.

    Its file has one of several names: the first is a copy in float16, the others are what libraries download.

    `make` gives the network without its weights, with torchvision's names of parameters; `url` is where it is
    downloaded from, if that is allowed.
    """

    name: str
    what: str
    files: tuple[str, ...]
    library: str
    url: Callable[[], str]
    make: Callable[[], nn.Module]
    needed_by: str
    without: str


CATALOGUE: Mapping[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "inception",
            "Inception v3 of 2015-12-05, without classifier",
            (
                "inception_v3_fid_2015_f16.safetensors",
                "weights-inception-2015-12-05-6726825d.pth",
                "pt_inception-2015-12-05-6726825d.pth",
            ),
            "torch-fidelity",
            _torch_fidelity,
            _inception,
            'fid, kid, precision and recall with features="inception"',
            "frechet_distance, kernel_distance, precision and recall take features of any network",
        ),
        Weights(
            "vgg16",
            "VGG-16 of ImageNet, convolutions",
            ("vgg16_features_imagenet_f16.safetensors", "vgg16-397923af.pth"),
            "torchvision",
            _torchvision("VGG16_Weights.IMAGENET1K_V1"),
            _convolutions("vgg16"),
            'lpips with net="vgg", precision and recall with features="vgg16"',
            'lpips takes net="alex" or "squeeze", precision and recall take features of any network',
        ),
        Weights(
            "alexnet",
            "AlexNet of ImageNet, convolutions",
            ("alexnet_features_imagenet_f16.safetensors", "alexnet-owt-7be5be79.pth"),
            "torchvision",
            _torchvision("AlexNet_Weights.IMAGENET1K_V1"),
            _convolutions("alexnet"),
            'lpips with net="alex"',
            'lpips takes net="vgg" or "squeeze", psnr and ssim need no network',
        ),
        Weights(
            "squeezenet",
            "SqueezeNet 1.1 of ImageNet, convolutions",
            ("squeezenet1_1_imagenet_f16.safetensors", "squeezenet1_1-b8a52dc0.pth"),
            "torchvision",
            _torchvision("SqueezeNet1_1_Weights.IMAGENET1K_V1"),
            _convolutions("squeezenet1_1"),
            'lpips with net="squeeze"',
            'lpips takes net="alex" or "vgg", psnr and ssim need no network',
        ),
    )
}


def find(name: str) -> Path:
    """The file of a network of the catalogue, downloaded if it is missing and downloads are allowed.

    Raises:
        WeightsError: it is in neither folder, and a download is not allowed or fails.
    """
    found = located(name)
    if found is None and os.environ.get(DOWNLOAD) == "1":
        found = fetch(name, CATALOGUE[name].files[1], CATALOGUE[name].url())
    if found is None:
        raise WeightsError(_missing(CATALOGUE[name], os.environ.get(FOLDER)))
    return found


def located(name: str) -> Path | None:
    """The file of a network in $GANGRAPH_WEIGHTS or in torch hub's folder, or None."""
    return file_in(weight_folders(), CATALOGUE[name].files)


def weight_folders() -> list[Path]:
    """Where weights are looked for: the folder $GANGRAPH_WEIGHTS if it is set, then torch hub's."""
    return ([Path(given)] if (given := os.environ.get(FOLDER)) else []) + [_hub()]


def file_in(folders: Iterable[Path], files: Iterable[str]) -> Path | None:
    """The first of some files that exists in the first folder that has any of them; None if there is none."""
    names = tuple(files)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(name: str, file: str, url: str) -> Path:
    """Fetch a library's own file into torch hub's folder. Raises WeightsError."""
    target = _hub() / file
    target.parent.mkdir(parents=True, exist_ok=True)
    expected = target.stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(url, str(target), hash_prefix=expected, progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"the weights of {name} could not be downloaded: {error}") from None
    return target


def _missing(weights: Weights, folder: str | None) -> str:
    if not folder:
        place = f"{FOLDER} names no folder"
    elif not Path(folder).is_dir():
        place = f"{FOLDER} names '{folder}', which is not a folder"
    else:
        place = f"they are not in '{folder}', which {FOLDER} names"
    return (
        f"the weights of {weights.name} ({weights.what}) are missing: {place}, nor in torch hub's '{_hub()}'; "
        f"expected {' or '.join(weights.files)} there, or {DOWNLOAD}=1 to let {weights.library} fetch the file; "
        f"without it, {weights.without}"
    )


def digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, computed once for each state of the file."""
    return _digest(path, path.stat().st_mtime_ns)


@cache
def _digest(path: Path, _: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_facts(name: str) -> dict[str, str]:
    """Which weights a number is measured with: the file's name and the first 12 digits of its SHA-256, or "missing"."""
    path = located(name)
    return {"weights": path.name, "sha256": digest(path)[:12]} if path else {"weights": "missing"}


def network(name: str) -> nn.Module:
    """A network of the catalogue on the CPU in float32, in evaluation mode and without gradients; made once.

    `inception` maps images [N, 3, 299, 299] in [-1, 1] to features [N, 2048]; the others hold their convolutions
    under the key `features`, for images normalised by `normalised`.

    Raises:
        WeightsError: the weights are missing, or the file is not what its name says.
        KeyError: the catalogue has no network of this name.
    """
    path = find(name)
    return _network(name, path, path.stat().st_mtime_ns)


@cache
def _network(name: str, path: Path, _: int) -> nn.Module:
    with torch.device("meta"):
        network = CATALOGUE[name].make()
    network.to_empty(device="cpu")
    tensors = read_tensors(path)
    wanted = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    wrong = [key for key, value in wanted.items() if key not in tensors or tensors[key].shape != value.shape]
    if wrong:
        raise WeightsError(
            f"'{path}' does not hold {CATALOGUE[name].what}: '{wrong[0]}' is missing or of another shape"
        )
    network.load_state_dict({key: tensors[key].float() for key in wanted}, strict=False)
    if name == "inception":
        _pool_as_measured(network)
    return network.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by the names that it gives them; nothing of it is executed.

    Raises:
        WeightsError: it is not there, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a stranger's pickle makes torch raise may be anything
        reason = "it holds more than tensors" if isinstance(error, UnpicklingError) else error
        raise WeightsError(f"the weights '{path}' cannot be read: {reason}") from None
    tensors = held.items() if isinstance(held, dict) else ()
    return {name: tensor for name, tensor in tensors if isinstance(tensor, Tensor)}


class _OwnPooling(nn.Module):
    """An Inception block whose last branch gets its input from another pooling."""

    def __init__(self, block: nn.Module, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block, self.pool = block, pool

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block, with its last branch computed by the other pooling."""
        branch = self.block.get_submodule("branch_pool")(self.pool(x))
        own: Tensor = self.block(x)
        return torch.cat((own[:, : -branch.shape[1]], branch), 1)


def _pool_as_measured(network: nn.Module) -> None:
    """Pool as the network of 2015 does: averages leave padding out, and the last block takes maxima."""
    averaged = ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b")
    for name in averaged:
        setattr(network, name, _OwnPooling(network.get_submodule(name), nn.AvgPool2d(3, 1, 1, count_include_pad=False)))
    network.Mixed_7c = _OwnPooling(network.get_submodule("Mixed_7c"), nn.MaxPool2d(3, 1, 1))


def slices(x: Tensor, size: int) -> Iterator[Tensor]:
    """Samples [N, ...] in slices of at most `size`, in order."""
    return (x[start : start + size] for start in range(0, len(x), size))


def normalised(x: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] by the means and deviations of ImageNet, as torchvision's networks take them."""
    mean, std = x.new_tensor([0.485, 0.456, 0.406]), x.new_tensor([0.229, 0.224, 0.225])
    return ((x + 1) / 2 - mean[:, None, None]) / std[:, None, None]


def eight_bit(x: Tensor) -> Tensor:
    """Images in [-1, 1] as the 256 levels that a file has, as floats in [0, 255]."""
    return ((x + 1) * 127.5).round().clamp(0, 255)


@torch.no_grad()
def inception_features(x: Tensor) -> Tensor:
    """Pooled features [N, 2048] of 8-bit images [N, 3, H, W] as FID takes them: floats in [0, 255]."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resized

    return torch.cat(
        [network("inception")((resized(part, (299, 299), align_corners=False) - 128) / 128) for part in slices(x, 32)]
    )


@torch.no_grad()
def vgg16_features(x: Tensor) -> Tensor:
    """Means over space [N, 512] of the last ReLU of 8-bit images [N, 3, H, W], floats in [0, 255]."""
    features = network("vgg16").get_submodule("features")[:30]  # type: ignore[index]  # a Sequential
    return torch.cat([features(normalised(_at_224(part) / 127.5 - 1)).mean((2, 3)) for part in slices(x, 32)])


def _at_224(x: Tensor) -> Tensor:
    return functional.interpolate(x, (224, 224), mode="bilinear", antialias=True)
