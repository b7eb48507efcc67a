"""Images that are not square, through sources, network files, specs and messages."""

import math

import pytest
import torch

from gangraph.errors import SpecError
from gangraph.pipeline import check_spec
from gangraph.pipeline import load as load_shipped
from tests.support import load, read, trainer

SPEC = """gangraph: 1
name: sizes
params: {{size: [16, 24]}}
data: {{x: 'world(size=size, channels=3)', z: normal(6)}}
networks:
  G: {network}
  D:
    inputs: x
    layers: [flatten, linear(1)]
values: {{fake: "{fake}"}}
losses: {{judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}}
train:
  batch: 2
  length: 2 steps
  optimizers: {{critic: "adam(D, lr=1e-3)", generator: "adam(G, lr=1e-3)"}}
  step: [{{update: critic, minimize: judge}}, {{update: generator, minimize: fool}}]
"""


@pytest.mark.parametrize(
    ("network", "fake"),
    [
        ("dcgan_generator(filters=2, size=size)", "G(z)"),
        ("code_decoder(widths=[4, 4, 4, 4], size=size)", "G(z)"),
        ("code_generator(width=4, size=size, channels=3)", "G(z)"),
        ("coarsest_generator(size=size, widths=[4])", "G(z, x, z)"),
        ("residual_generator(size=size, filters=4)", "G(x, x, z)"),
        ("resnet_generator(filters=2, blocks=1)", "G(x)"),
        ("unet(filters=2, levels=3)", "G(x)"),
        ("encoder_decoder(filters=2, levels=3)", "G(x)"),
        ("pixel_map(size=size, colours=3)", "G(x)"),
    ],
)
def test_a_network_file_that_has_or_needs_no_size_takes_images_that_are_not_square(network: str, fake: str) -> None:
    run = trainer(read(SPEC.format(network=network, fake=fake)))
    assert run.checked[0].types.nodes[run.checked[0].graph.values["fake"]].shape == (2, 3, 16, 24)
    run.step()


@pytest.mark.parametrize(
    "discriminator", ["dcgan_discriminator(filters=2, size=size)", "patchgan(filters=2, field=16)"]
)
def test_a_critic_takes_images_that_are_not_square(discriminator: str) -> None:
    text = SPEC.format(network="dcgan_generator(filters=2, size=size)", fake="G(z)")
    old = "\n    inputs: x\n    layers: [flatten, linear(1)]"
    assert old in text
    run = trainer(read(text.replace(old, f" {discriminator}")))
    (parameters,) = (each.parameters for name, each in run.checked[0].networks.items() if name == "D")
    assert parameters != 3 * 16 * 24 + 1  # which the linear critic of SPEC has
    losses = run.step()
    assert losses.keys() == {"judge", "fool"} and all(map(math.isfinite, losses.values()))


@pytest.mark.parametrize(
    ("spec", "more"), [("cyclegan", {}), ("pix2pix", {"params.levels": 3}), ("dcgan", {}), ("wgan", {})]
)
def test_shipped_specs_take_a_step_at_another_aspect(spec: str, more: dict[str, object]) -> None:
    run = trainer(load(spec, **{"params.size": "[16, 32]", **more}))
    losses = run.step()
    assert all(torch.isfinite(torch.as_tensor(loss)) for loss in losses.values())


def test_photographs_of_another_aspect_need_one_size_and_one_load() -> None:
    sizes = {"params.size": "[120, 160]", "params.load": "[136, 180]"}
    assert len(check_spec(load_shipped("cyclegan", profile="folders", set=sizes))) == 1


def test_the_nearest_sizes_that_work_are_told_for_both_sides() -> None:
    text = SPEC.format(network="unet(filters=2, levels=5)", fake="G(x)").replace("[16, 24]", "[120, 160]")
    with pytest.raises(SpecError, match="the nearest sizes that work: 96 x 160 px and 128 x 160 px"):
        check_spec(read(text))


def test_height_and_width_of_a_size_are_static() -> None:
    text = SPEC.format(network="pixel_map(size=size, colours=3)", fake="G(x)")
    for size, shape in (("20", (20, 20)), ('"[height([9, 5]) + 11, width(7) + 20]"', (20, 27))):
        checked = check_spec(read(text.replace("[16, 24]", size)))
        assert checked[0].types.nodes[checked[0].graph.values["fake"]].shape[2:] == shape
    with pytest.raises(SpecError, match="a size is one number for both sides, or"):
        check_spec(read(text.replace("[16, 24]", '"height([1, 2, 3])"')))
