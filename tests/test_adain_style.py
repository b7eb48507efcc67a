"""Style by statistics of features, in float64 against a loop that is written here by hand."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.language.document.library import pretrained
from gangraph.language.resolve.names_table import names_table, their_name
from gangraph.pipeline import check_spec, compile_phase
from tests.support import (
    PLANS,
    copy_parameters,
    deviation,
    load,
    normals,
    parameter_deviations,
    snapshot,
    trainer,
    worst,
)

STEPS, BATCH, SIZE, STRENGTH, SMALL = 12, 3, 16, 0.02, 1e-6
WIDTHS = (2, 3, 4, 5)  # of the four blocks of the frozen network
DEEP = (4, 4, 3, 3, 2, 2)  # of the decoder, which doubles after each of the convolutions 0, 2 and 4
RATE = "1e-2 / (1 + 0.1 * step)"


class Features(nn.Module):
    """The maps after the first convolution of each of four blocks."""

    def __init__(self) -> None:
        super().__init__()
        inside = [WIDTHS[0]] * 2 + [WIDTHS[1]] * 2 + [WIDTHS[2]] * 3 + [WIDTHS[3]]
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 3) for n, m in pairwise([3, *inside]))

    def forward(self, x: Tensor) -> list[Tensor]:
        made = []
        for number, conv in enumerate(self.convs):
            x = functional.max_pool2d(x, 2) if number in (2, 4, 7) else x
            x = conv(functional.pad(x, (1, 1, 1, 1), "reflect")).relu()
            made += [x] if number in (0, 2, 4, 7) else []
        return made


class Decoder(nn.Module):
    def __init__(self, inputs: int, *, normed: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 3) for n, m in pairwise([inputs, *DEEP, 3]))
        self.normed = normed

    def forward(self, f: Tensor) -> Tensor:
        for number, conv in enumerate(self.convs):
            f = conv(functional.pad(f, (1, 1, 1, 1), "reflect"))
            if number < len(DEEP):
                f = (functional.instance_norm(f) if self.normed else f).relu()
            if number in (0, 2, 4):
                f = f.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return f


def styled(f: Tensor, s: Tensor) -> Tensor:
    """Equation 8: each channel of f, made normal, with the deviation and the mean of that of s."""
    mean, var = f.mean((2, 3), keepdim=True), f.var((2, 3), correction=0, keepdim=True)
    spread = s.var((2, 3), correction=0, keepdim=True).sqrt()
    return spread * (f - mean) / (var + 1e-5).sqrt() + s.mean((2, 3), keepdim=True)


def apart(f: Tensor, s: Tensor, power: int) -> Tensor:
    """Euclidean distances of means and deviations, to a power, mean over the batch."""
    means = f.mean((2, 3)) - s.mean((2, 3))
    spreads = (f.var((2, 3), correction=0) + SMALL).sqrt() - s.var((2, 3), correction=0).sqrt()
    return (means.norm(dim=1) ** power + spreads.norm(dim=1) ** power).mean()


def step(
    networks: Mapping[str, nn.Module], optimizer: torch.optim.Adam, number: int, variant: str | None
) -> dict[str, float]:
    """One step of the decoder by hand."""
    v, g = networks["V"], networks["G"]
    x, style = drawn(number)
    with torch.no_grad():
        known, model = v(x)[-1], v(style)
        t = styled(known, model[-1])
    told = v(g(torch.cat([known, model[-1]], 1) if variant == "concat" else t))
    norms = variant == "norms"
    content = (told[-1] - t).flatten(1).norm(dim=1).mean() if norms else (told[-1] - t).square().mean()
    look = sum(apart(f, s, 1 if norms else 2) for f, s in zip(told, model, strict=True))
    optimizer.param_groups[0]["lr"] = 1e-2 / (1 + 0.1 * number)
    parameters = list(g.parameters())
    loss = content + (10 if norms else STRENGTH) * look
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
    return {"content": float(content.detach()), "look": float(look.detach())}  # type: ignore[union-attr]  # a tensor


def drawn(number: int) -> tuple[Tensor, Tensor]:
    x, style = (each.tanh() for each in normals(2, BATCH, 3, SIZE, SIZE, seed=number))
    return x, style


def by_hand(engine: gangraph.Trainer, variant: str | None) -> dict[str, nn.Module]:
    """The same networks, whose weights are moved apart first so that each place looks different."""
    inputs = 2 * WIDTHS[-1] if variant == "concat" else WIDTHS[-1]
    networks = {"G": Decoder(inputs, normed=variant == "instance_norm").double(), "V": Features().double()}
    with torch.no_grad():
        for name in "GV":
            for number, parameter in enumerate(engine.networks[name].parameters()):
                parameter.add_(normals(1, *parameter.shape, seed=number)[0], alpha=0.2)
        for mine, theirs in zip(networks["V"].parameters(), engine.networks["V"].parameters(), strict=False):
            mine.copy_(theirs)
    copy_parameters(engine.networks["G"], networks["G"])
    return networks


@PLANS
@pytest.mark.parametrize("variant", [None, "concat", "instance_norm", "norms"])
def test_it_agrees_with_the_loop_by_hand(share: bool, merge: bool, variant: str | None) -> None:
    engine = trainer(load("adain_style", variant=variant, params__rate=RATE), share=share, merge=merge)
    networks = by_hand(engine, variant)
    started = snapshot(networks)
    optimizer = torch.optim.Adam(networks["G"].parameters())
    for number in range(STEPS):
        x, style = drawn(number)
        found = engine.step({"x": x, "style": style})
        expected = step(networks, optimizer, number, variant)
        assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    del networks["V"]
    assert worst(error for _, error in parameter_deviations(engine, networks, started, still=1e-6)) < 1e-9


def test_the_kernel_of_adain_stands_in_its_place_and_computes_the_same() -> None:
    spec = load("adain_style", params__rate=RATE)
    segments = compile_phase(check_spec(spec)[0], kernels="auto").segments
    placed = [use.fusion for lowered in segments.values() for use in lowered.kernels]
    assert [(fusion.kernel, fusion.why_not) for fusion in placed] == [("adain_image", "")]
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    for number in range(3):
        x, style = drawn(number)
        found, expected = (engine.step({"x": x, "style": style}) for engine in (fused, plain))
        assert found == pytest.approx(expected, rel=1e-12)
    for mine, theirs in zip(fused.networks["G"].parameters(), plain.networks["G"].parameters(), strict=True):
        assert deviation(mine.detach(), theirs.detach()) < 1e-9


def test_an_image_in_its_own_style_is_decoded_as_it_is() -> None:
    """Then the content's target is what the content has, so both losses are those of a plain auto-encoder."""
    engine = trainer(load("adain_style"))
    networks = by_hand(engine, None)
    x, _ = drawn(0)
    losses = engine.step({"x": x, "style": x})
    with torch.no_grad():
        known = networks["V"](x)
        told = networks["V"](networks["G"](styled(known[-1], known[-1])))
    assert losses["look"] == pytest.approx(float(sum(apart(f, s, 2) for f, s in zip(told, known, strict=True))))
    assert losses["content"] == pytest.approx(float((told[-1] - known[-1]).square().mean()), rel=1e-2)


def test_a_region_is_normalised_by_its_own_places() -> None:
    region = trainer(load("adain_style")).networks["R"]
    f, s = normals(2, BATCH, 5, 6, 6)
    mask = torch.zeros(BATCH, 1, 6, 6, dtype=torch.float64)
    mask[..., :2] = 1
    found = region(f, s, mask) + region(f, 2 * s, 1 - mask)
    inside, outside = styled(f[..., :2], s), styled(f[..., 2:], 2 * s)
    assert deviation(found, torch.cat([inside, outside], 3)) < 1e-4
    assert not region(f, s, mask)[..., 2:].any()
    assert deviation(region(f, s, torch.ones_like(mask)), styled(f, s)) < 1e-4


def released() -> nn.Sequential:
    """The released encoder as torch's file of it has it, up to relu4_1: each layer has its place."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 256, 512]
    for number, (inputs, outputs) in enumerate(pairwise(widths), 1):
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if number in (2, 4, 8) else []
    return nn.Sequential(*layers)


def test_the_released_weights_are_found_by_the_table_of_names() -> None:
    theirs = released().double()
    mine = trainer(load("adain_style", networks__V="normalised_vgg19()")).networks["V"]
    table = names_table(pretrained()["normalised_vgg19"])
    mine.load_state_dict({name: theirs.state_dict()[their_name(name, table)] for name in mine.state_dict()})
    x, _ = drawn(0)
    found, flow, taps = mine(x), (x + 1) / 2, {3: "relu1_1", 10: "relu2_1", 17: "relu3_1", 30: "relu4_1"}
    for place, layer in enumerate(theirs):
        flow = layer(flow)
        if place in taps:
            assert deviation(found[taps[place]].detach(), flow.detach()) < 1e-12
    assert len(theirs.state_dict()) == len(mine.state_dict())
