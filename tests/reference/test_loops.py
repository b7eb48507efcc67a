"""The reference loops run, learn and leave nothing behind; the equality tests rest on them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from tests.reference.loops import (
    CycleganLoop,
    DcganLoop,
    GanLoop,
    ImagePool,
    Losses,
    Pix2pixLoop,
    WganGpLoop,
    WganLoop,
)
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

Step = Callable[[], Losses]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def keep(p: float, *shape: int) -> Tensor:
    """A scaled keep-mask for dropout p."""
    return (torch.rand(*shape, dtype=torch.float64) >= p) / (1 - p)


def never(_stream: str, n_images: int) -> tuple[list[bool], list[int]]:
    return [False] * n_images, [0] * n_images


def gan(*, saturating: bool = False) -> Step:
    loop = GanLoop(GanGenerator(3, 8, 6).double(), MaxoutDiscriminator(6, (4, 4)).double(), saturating=saturating)
    masks = [[keep(0.2, 5, 6), keep(0.5, 5, 4), keep(0.5, 5, 4)] for _ in range(2)]
    x, z = torch.rand(5, 6, dtype=torch.float64), normal(5, 3)
    return lambda: loop.step(x, z, *masks)


def dcgan() -> Step:
    loop = DcganLoop(DcganGenerator(3, 2, 1, 16).double(), DcganDiscriminator(2, 1, 16).double())
    x, z = normal(4, 1, 16, 16), normal(4, 3)
    return lambda: loop.step(x, z)


def wgan() -> Step:
    loop = WganLoop(Mlp([2, 8, 2]).double(), Mlp([2, 8, 1]).double())
    xs, zs, z = normal(3, 5, 2), normal(3, 5, 2), normal(5, 2)
    return lambda: loop.step(list(xs), list(zs), z)


def wgan_gp() -> Step:
    loop = WganGpLoop(Mlp([2, 8, 2]).double(), Mlp([2, 8, 1], torch.tanh).double())
    xs, zs, us, z = normal(3, 5, 2), normal(3, 5, 2), torch.rand(3, 5, dtype=torch.float64), normal(5, 2)
    return lambda: loop.step(list(xs), list(zs), list(us), z)


def pix2pix() -> Step:
    loop = Pix2pixLoop(Unet(1, 2, 2, 3, drop_levels=[3, 2]).double(), Patchgan(3, 2, layers=1).double())
    masks = [keep(0.5, 2, 4, 4, 4), keep(0.5, 2, 2, 8, 8)]
    x, y = normal(2, 1, 16, 16), normal(2, 2, 16, 16)
    return lambda: loop.step(x, y, masks)


def cyclegan() -> Step:
    to_y, to_x = (ResnetGenerator(1, 2, 1).double() for _ in range(2))
    judge_y, judge_x = (Patchgan(1, 2, layers=1, norm="instance").double() for _ in range(2))
    loop = CycleganLoop(to_y, to_x, judge_y, judge_x, never, pool_size=1)
    x, y = normal(2, 1, 16, 16), normal(2, 1, 16, 16)
    return lambda: loop.step(x, y)


NAMES: dict[Callable[[], Step], set[str]] = {
    gan: {"judge", "fool"},
    dcgan: {"judge", "fool"},
    wgan: {"critic", "generator"},
    wgan_gp: {"critic", "generator"},
    pix2pix: {"judge", "fool", "l1"},
    cyclegan: {"fool", "cycle", "identity", "judge_x", "judge_y"},
}


@pytest.mark.parametrize("build", NAMES)
def test_two_steps_give_finite_losses_that_change(build: Callable[[], Step]) -> None:
    torch.manual_seed(0)
    step = build()
    before, after = step(), step()
    assert before.keys() == after.keys() == NAMES[build]
    assert all(math.isfinite(loss) for loss in [*before.values(), *after.values()])
    assert all(before[name] != after[name] for name in before)


def test_saturating_generator_minimises_minus_the_softplus_of_the_logit() -> None:
    torch.manual_seed(0)
    assert gan(saturating=True)()["fool"] < 0


def test_gan_step_takes_both_gradients_at_the_same_parameters() -> None:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    g, d = generator.weight.item(), discriminator.weight.item()
    one = torch.ones(1, 1, dtype=torch.float64)
    GanLoop(generator, discriminator, lr=1.0, momentum=0.0).step(one, one)

    def sigmoid(a: float) -> float:
        return 1 / (1 + math.exp(-a))

    assert generator.weight.item() == pytest.approx(g + sigmoid(-d * g) * d, abs=1e-14)
    assert discriminator.weight.item() == pytest.approx(d - 0.5 * (g * sigmoid(d * g) - sigmoid(-d)), abs=1e-14)


def test_wgan_clips_every_critic_parameter() -> None:
    torch.manual_seed(0)
    loop = WganLoop(Mlp([2, 8, 2]).double(), Mlp([2, 8, 1]).double(), clip=0.01)
    loop.step([normal(5, 2)], [normal(5, 2)], normal(5, 2))
    assert max(parameter.abs().max().item() for parameter in loop.critic.parameters()) == 0.01


def test_gradient_penalty_of_a_linear_critic_is_its_weight_norm_off_one() -> None:
    critic = nn.Linear(2, 1).double()
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[3.0, 4.0]]))
    loop = WganGpLoop(Mlp([2, 2]).double(), critic)
    x, u = normal(5, 2), torch.rand(5, dtype=torch.float64)
    assert loop._gradient_penalty(x, -x, u).item() == pytest.approx(16)


def test_discriminator_is_trainable_again_after_a_step() -> None:
    torch.manual_seed(0)
    loop = DcganLoop(DcganGenerator(3, 2, 1, 16).double(), DcganDiscriminator(2, 1, 16).double())
    loop.step(normal(4, 1, 16, 16), normal(4, 3))
    assert all(parameter.requires_grad for parameter in loop.discriminator.parameters())


def test_full_pool_hands_out_an_old_image_and_keeps_the_new_one() -> None:
    pool = ImagePool(2)
    first = pool.exchange(torch.tensor([1.0, 2.0, 3.0]), [True, True, True], [0, 0, 1])
    assert first.tolist() == [1, 2, 2]
    second = pool.exchange(torch.tensor([4.0, 5.0]), [False, True], [0, 1])
    assert second.tolist() == [4, 3]
    assert [image.item() for image in pool.images] == [1, 5]


def test_maxout_pieces_of_a_unit_are_neighbours() -> None:
    network = MaxoutDiscriminator(1, (2,), pieces=2, drops=(0.0, 0.0))
    with torch.no_grad():
        vector_to_parameters(torch.tensor([1.0, 2, 3, 4, 0, 0, 0, 0, 10, 1, 0]), network.parameters())
    assert network(torch.ones(1, 1)).item() == 24
