"""Parameter counts of the reference networks, against the published or derived ones."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.reference.networks import (
    DcganDiscriminator,
    DcganGenerator,
    GanGenerator,
    MaxoutDiscriminator,
    Mlp,
    Patchgan,
    ResnetGenerator,
    Unet,
)

COUNTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "gan G, MNIST": (GanGenerator, 2_503_984),
    "gan D, MNIST": (MaxoutDiscriminator, 1_231_441),
    "dcgan G": (DcganGenerator, 3_576_704),
    "dcgan D": (DcganDiscriminator, 2_765_568),
    "wgan-gp toy G": (lambda: Mlp([2, 512, 512, 512, 2]), 527_874),
    "wgan-gp toy D": (lambda: Mlp([2, 512, 512, 512, 1]), 527_361),
    "pix2pix G, 256 px": (lambda: Unet(3, 3), 54_413_955),
    "pix2pix G, 128 px": (lambda: Unet(3, 3, levels=7), 41_828_995),
    "pix2pix G, 5 levels of 8 filters": (lambda: Unet(3, 3, ngf=8, levels=5), 261_715),
    "pix2pix D, 70 px field": (lambda: Patchgan(6), 2_768_705),
    "pix2pix D, 70 px field, unconditional": (lambda: Patchgan(3), 2_765_633),
    "pix2pix D, 1 px field": (lambda: Patchgan(6, layers=0), 9_024),
    "pix2pix D, 16 px field": (lambda: Patchgan(6, layers=1), 139_585),
    "pix2pix D, 286 px field": (lambda: Patchgan(6, layers=5), 11_159_361),
    "cyclegan G, 9 blocks": (ResnetGenerator, 11_378_179),
    "cyclegan G, 6 blocks": (lambda: ResnetGenerator(blocks=6), 7_837_699),
    "cyclegan D": (lambda: Patchgan(3, norm="instance"), 2_764_737),
}


@pytest.mark.parametrize("name", COUNTS)
def test_network_has_the_published_number_of_parameters(name: str) -> None:
    build, count = COUNTS[name]
    with torch.device("meta"):
        network = build()
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize(("layers", "side"), [(0, 256), (1, 126), (2, 62), (3, 30), (4, 14), (5, 6)])
def test_patchgan_scores_a_256_px_image_on_the_published_map(layers: int, side: int) -> None:
    with torch.device("meta"):
        scores = Patchgan(6, layers=layers)(torch.empty(1, 6, 256, 256))
    assert scores.shape == (1, 1, side, side)
