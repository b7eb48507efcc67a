"""Layers with several inputs: modulated convolutions, attention, conditional batch norm, and those of plug-ins."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.views.drawing.network import network_picture
from gangraph.views.explain import explain_text
from gangraph.views.text import shapes_text
from gangraph.vocabulary.geometry import fir
from gangraph.vocabulary.layers import spectral_norm
from gangraph.vocabulary.several import Attention, ModulatedConv2d, attention, conditional_batch_norm, modulated_conv2d
from gangraph.vocabulary.styles import equalized
from tests.plans import PLANS, compare
from tests.plugin import registered
from tests.support import deviation, normals, read, same, snapshot, trainer

STYLED = """
gangraph: 1
name: styled
data: {x: "normal(2, 4, 4)", z: normal(3), y: categorical(5)}
networks:
  G:
    inputs: [z, y]
    parts:
      map: linear(2), tanh
      style[k in 1..2]: equalized(linear(4 if k == 2 else 2), rate=0.5)
      first: linear(32), reshape(2, 4, 4)
      mix[1]: equalized(modulated_conv2d(4, 3)), noise, bias, leaky_relu(0.2)
      mix[2]: spectral_norm(modulated_conv2d(2, 1, demodulate=false))
      by_class: conditional_batch_norm(classes=5), tanh
      look: attention(heads=2)
    values:
      w: map(z)
      h: mix[1](first(z), style[1](w))
      seen: by_class(h, y)
      rows: rearrange(seen, "c h w -> (h w) c")
    output: mix[2](seen + reshape(look(rows, rows, rows), 4, 4, 4), style[2](w))
  D: {inputs: x, layers: "flatten, linear(4), tanh, linear(1)"}
values: {fake: "G(z, y)"}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake)) + 0.1 * mean(G(z, y) ** 2)
train:
  batch: 4
  length: 100 steps
  optimizers: {g: "adam(G, lr=1e-2)", d: "adam(D, lr=1e-2)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool, draw: z}]
"""


def styled() -> Spec:
    return read(STYLED)


def modulated(x: Tensor, style: Tensor, weight: Tensor, *, demodulate: bool = True) -> Tensor:
    """The convolution sample by sample, with weights of its own for each."""
    made = []
    for image, scales in zip(x, style, strict=True):
        own = weight * scales[None, :, None, None]
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        made.append(functional.conv2d(image[None], own, padding=weight.shape[2] // 2))
    return torch.cat(made)


def grouped(x: Tensor, style: Tensor, weight: Tensor) -> Tensor:
    """All samples in one convolution with groups."""
    batch, out, size = len(x), len(weight), weight.shape[2]
    own = weight[None] * style[:, None, :, None, None]
    own = own * torch.rsqrt(own.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    made = functional.conv2d(
        x.reshape(1, -1, *x.shape[2:]), own.reshape(batch * out, -1, size, size), padding=size // 2, groups=batch
    )
    return made.reshape(batch, out, *x.shape[2:])


@pytest.mark.parametrize("size", [1, 3])
def test_a_modulated_convolution_is_one_with_weights_for_each_sample_in_three_forms(size: int) -> None:
    x, style = normals(1, 3, 4, 6, 5)[0], normals(1, 3, 4, seed=1)[0]
    layer = modulated_conv2d(x, style, 7, size).double()
    weight = layer.get_parameter("weight").detach()
    found = layer(x, style).detach()
    assert deviation(found, modulated(x, style, weight)) < 1e-9
    assert deviation(found, grouped(x, style, weight)) < 1e-9
    plain = modulated_conv2d(x, style, 7, size, demodulate=False).double()
    plain.load_state_dict(layer.state_dict())
    assert deviation(plain(x, style).detach(), modulated(x, style, weight, demodulate=False)) < 1e-9
    assert torch.autograd.gradcheck(layer, (x[:1, :, :3, :3].requires_grad_(), style[:1].requires_grad_()))


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0)])
def test_resampling_is_a_filter_before_the_convolution_with_no_border_of_its_own(
    size: int, taps: tuple[float, ...]
) -> None:
    x, style, far = normals(1, 2, 3, 6, 6)[0], torch.ones(2, 3, dtype=torch.float64), 8
    wide = functional.pad(x, (far,) * 4)
    for up, down in ((2, 1), (1, 2)):
        layer = modulated_conv2d(x, style, 4, size, demodulate=False, up=up, down=down, taps=taps).double()
        weight = layer.get_parameter("weight").detach()
        if up == 2:
            whole = functional.conv2d(fir(wide, taps, up=2), weight, padding=size // 2)
            expected = whole[:, :, 2 * far : 2 * far + 12, 2 * far : 2 * far + 12]
        else:
            count = len(taps)
            line = torch.tensor(taps, dtype=torch.float64) / sum(taps)
            kernel = torch.outer(line, line).expand(3, 1, count, count)
            around = ((count - 1) // 2, (count - 2) // 2) * 2
            smooth = functional.conv2d(functional.pad(wide, around), kernel, groups=3)
            whole = functional.conv2d(smooth, weight, padding=size // 2)
            expected = whole[:, :, far : far + 6 : 2, far : far + 6 : 2]
        found = layer(x, style).detach()
        assert found.shape == expected.shape and deviation(found, expected) < 1e-9


def test_an_equalized_modulated_convolution_stores_normal_weights_and_scales_them() -> None:
    x, style = normals(1, 2, 8, 4, 4)[0], normals(1, 2, 8, seed=1)[0]
    layer = equalized(modulated_conv2d(x, style, 6, 3, demodulate=False), gain=2.0).double()
    stored = layer.get_parameter("parametrizations.weight.original").detach()
    scaled = stored * 2 / math.sqrt(8 * 9)
    assert deviation(layer(x, style).detach(), modulated(x, style, scaled, demodulate=False)) < 1e-9


def test_attention_is_torchs() -> None:
    q, k, v = (normals(1, 2, count, size, seed=count)[0] for count, size in ((5, 8), (3, 6), (4, 4)))
    v = v[:, :3]
    layer = attention(q, k, v, heads=4).double()
    assert isinstance(layer, Attention)
    torchs = nn.MultiheadAttention(8, 4, batch_first=True, kdim=6, vdim=4).double()
    with torch.no_grad():
        for name, part in (("q", layer.query), ("k", layer.key), ("v", layer.value)):
            getattr(torchs, f"{name}_proj_weight").copy_(part.weight)
        torchs.in_proj_bias.copy_(torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]))
        torchs.out_proj.load_state_dict(layer.out.state_dict())
    assert deviation(layer(q, k, v).detach(), torchs(q, k, v)[0].detach()) < 1e-9
    assert torch.autograd.gradgradcheck(layer, tuple(each[:1, :2].requires_grad_() for each in (q, k, v)))


def test_a_wrapper_of_a_layer_with_several_weights_wraps_each() -> None:
    q = normals(1, 2, 5, 8)[0]
    layer = spectral_norm(attention(q, q, q, heads=2)).double()
    names = {name for name, _ in layer.named_parameters() if name.endswith("original")}
    assert names == {f"{part}.parametrizations.weight.original" for part in ("query", "key", "value", "out")}
    scaled = equalized(attention(q, q, q, heads=2), rate=0.1)
    assert sum(name.endswith("bias.original") for name, _ in scaled.named_parameters()) == 4


@pytest.mark.parametrize("vectors", [False, True])
def test_conditional_batch_norm_gives_each_sample_the_gain_and_shift_of_its_condition(vectors: bool) -> None:
    x = normals(1, 6, 3, 4, 4)[0]
    y = normals(1, 6, 5, seed=2)[0] if vectors else torch.tensor([0, 1, 2, 1, 0, 2])
    layer = conditional_batch_norm(x, y, None if vectors else 3).double()
    gain, shift = (layer.get_parameter(f"{name}.weight").detach() for name in ("gain", "shift"))
    mine = copy.deepcopy(layer.get_submodule("norm"))
    for _ in range(2):
        found, normed = layer(x, y).detach(), mine(x)
        gains, shifts = (y @ gain.t(), y @ shift.t()) if vectors else (gain[y], shift[y])
        assert deviation(found, normed * (1 + gains[..., None, None]) + shifts[..., None, None]) < 1e-9
    assert torch.equal(layer.get_buffer("norm.running_mean"), mine.get_buffer("running_mean"))


@pytest.mark.parametrize("wrong", [
    lambda x, y: conditional_batch_norm(x, y), lambda x, y: conditional_batch_norm(x, x[:, :, 0, 0], 3),
    lambda x, y: conditional_batch_norm(x[0, 0, 0], y, 3), lambda x, y: modulated_conv2d(x, x[:, :, 0, 0], 4, 2),
    lambda x, y: modulated_conv2d(x, x[:, :, 0, 0], 4, 3, up=2, down=2), lambda x, y: modulated_conv2d(x[0], x, 4, 3),
    lambda x, y: modulated_conv2d(x, x[:, :1, 0, 0], 4, 3)(x, x[:, :1, 0, 0]), lambda x, y: attention(x, x, x),
    lambda x, y: attention(x[0], x[0], x[0], heads=3),
])  # fmt: skip
def test_what_does_not_fit_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        wrong(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))  # type: ignore[operator]


def test_the_four_plans_agree_with_layers_of_several_inputs_and_their_state() -> None:
    found = compare(styled(), 20)
    assert not found.difference and found.largest < 1e-9 and len(found.trainers) > 1


@pytest.mark.parametrize("plan", PLANS)
def test_a_loop_by_hand_agrees(plan: str) -> None:
    share, merge = PLANS[plan]
    engine = trainer(styled(), share=share, merge=merge)
    G, D = (copy.deepcopy(engine.networks[name]) for name in "GD")  # noqa: N806  # as in the spec
    mine = _Styled(G)
    optimizers = torch.optim.Adam(G.parameters(), lr=1e-2), torch.optim.Adam(D.parameters(), lr=1e-2)
    engine_noise = engine.engine.draws
    largest = 0.0
    for step in range(20):
        drawn: dict[str, Tensor] = {}
        original = engine_noise.noise

        def keep(call: str, *rest: object, _drawn: dict[str, Tensor] = drawn, _make: object = original) -> Tensor:
            made: Tensor = _make(call, *rest)  # type: ignore[operator]
            _drawn[f"{call}:{len([each for each in _drawn if each.startswith(call)])}"] = made
            return made

        engine_noise.noise = keep  # type: ignore[method-assign]
        x, z, z_2 = normals(1, 4, 2, 4, 4, seed=step)[0], *normals(2, 4, 3, seed=50 + step)
        y = torch.randint(5, (4,), generator=torch.Generator().manual_seed(step))
        losses = engine.step({"x": x, "z": [z, z_2], "y": y})
        engine_noise.noise = original  # type: ignore[method-assign]
        noises = list(drawn.values())
        judge = functional.softplus(-D(x)).mean() + functional.softplus(D(mine(z, y, noises[0]).detach())).mean()
        optimizers[1].zero_grad()
        judge.backward()
        optimizers[1].step()
        fake = mine(z_2, y, noises[1])
        fool = functional.softplus(-D(fake)).mean() + 0.1 * fake.square().mean()
        optimizers[0].zero_grad()
        fool.backward()
        optimizers[0].step()
        largest = max(largest, deviation(losses["judge"], judge.detach()), deviation(losses["fool"], fool.detach()))
    assert largest < 1e-9


class _Styled(nn.Module):
    """The generator of the spec, layer by layer over the layers of an engine's copy, its sums written out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.part = dict(network.named_children())

    def forward(self, z: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        at = self.part
        w = torch.tanh(at["map"].linear(z))
        mixed = at["mix_1"].equalized
        h = modulated(at["first"].linear(z).reshape(4, 2, 4, 4), at["style_1"].equalized(w), mixed.weight)
        h = h + at["mix_1"].noise.weight.reshape(-1, 1, 1) * noise
        h = functional.leaky_relu(h + at["mix_1"].bias.bias.reshape(-1, 1, 1), 0.2)
        norm = at["by_class"].conditional_batch_norm
        gain, shift = (part(y)[:, :, None, None] for part in (norm.gain, norm.shift))
        seen = torch.tanh(norm.norm(h) * (1 + gain) + shift)
        rows = seen.flatten(2).transpose(1, 2)
        looked = at["look"].attention(rows, rows, rows).reshape(4, 4, 4, 4)
        return modulated(seen + looked, at["style_2"].equalized(w), at["mix_2"].spectral_norm.weight, demodulate=False)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, half = trainer(styled(), seed=5), trainer(styled(), seed=5)
    whole.train(steps=6)
    half.train(steps=3)
    half.save(tmp_path / "half")
    resumed = Trainer.resume(tmp_path / "half", device="cpu")
    resumed.train(steps=3)
    assert same(snapshot(whole.networks), snapshot(resumed.networks))


def test_views_show_every_input() -> None:
    (checked,) = check_spec(styled())
    graph = checked.networks["G"].graph
    picture = network_picture(graph, {})
    (box,) = (name for name, figure in picture.figures.items() if figure.head == "mix[1]")
    assert picture.figures[box].kind == "part" and len(picture.figures[box].lines) == 4
    assert len([source for source, target in picture.edges if target == box]) == 2
    text = shapes_text(checked)
    assert "equalized(modulated_conv2d(4, 3))" in text and "conditional_batch_norm(classes=5)" in text
    assert "G has" in explain_text(styled(), [trainer(styled()).engine.program.plan])


class Bilinear(nn.Module):
    """A plug-in's layer of two inputs, which its `forward` tells."""

    def __init__(self, in_features: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return functional.linear(x * other, self.weight)


def test_a_layer_of_a_plug_in_takes_what_its_forward_does(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "pairwise", Bilinear, init="linear")
    text = STYLED.replace("map: linear(2), tanh", "map: spectral_norm(pairwise(2)), tanh").replace(
        "map(z)", "map(z, z * z)"
    )
    assert math.isfinite(trainer(read(text)).step()["fool"])


def test_modulation_shows_its_sizes() -> None:
    made = ModulatedConv2d(3, 4, 1, demodulate=True, up=2, down=1, taps=(1.0, 1.0))
    assert str(made) == "ModulatedConv2d(3, 4, 1, demodulate=True, up=2, down=1)"
