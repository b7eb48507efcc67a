"""Networks that grow by phases: published counts, and what is carried over a step of growth."""

from functools import cache

import pytest
import torch
from torch.nn import functional

from gangraph.pipeline import check_phase
from gangraph.run.hand_over import carry_tensors
from tests.support import normals, read, small, trainer

GROWING = """
gangraph: 1
name: growing
params: {{size: {size}, fade: {fade}}}
data: {{x: "normal(3, size, size)", z: normal(512)}}
networks:
  G: growing_generator(size=size, fade=fade)
  D: growing_discriminator(size=size, fade=fade)
  M: mapping
  S: style_synthesis(size=size, fade=fade)
values:
  alpha: linear(0 if fade else 1, 1)
  w: M(z)
  styles: crossover(w, w, 1, 2 * log2(size) - 2)
losses:
  loss: mean(D(G(z, alpha), alpha)) + mean(D(x, alpha)) + mean(S(styles, alpha))
train:
  batch: 4
  optimizers: {{all: "sgd([G, D, M, S], lr=0.1)"}}
  step: [{{update: all, minimize: loss}}]
"""


@cache
def parameters(size: int, fade: bool) -> dict[str, dict[str, int]]:
    """The number of numbers in each parameter of each network at a size, by its path."""
    spec = read(GROWING.format(size=size, fade=str(fade).lower()))
    networks = check_phase(spec, spec.phases[0]).networks
    return {name: {path: p.numel() for path, p in m.module.named_parameters()} for name, m in networks.items()}


PUBLISHED = {
    8: {"G": 11_277_318, "D": 11_283_457, "S": 11_295_750 - 2_101_248},
    16: {"S": 17_068_553 - 2_101_248},
    32: {"G": 20_719_628, "D": 20_726_785, "S": 22_841_356 - 2_101_248},
    1024: {"G": 23_079_115, "D": 23_087_249, "M": 2_101_248, "S": 24_118_379},
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_networks_of_all_sizes_have_the_published_parameters_together(size: int) -> None:
    union: dict[str, dict[str, int]] = {}
    for each in (2**k for k in range(2, size.bit_length())):
        for fade in (False, True) if each > 4 else (False,):
            for name, found in parameters(each, fade).items():
                known = union.setdefault(name, {})
                assert {path for path in known.keys() & found.keys() if known[path] != found[path]} == set()
                known |= found
    assert {name: sum(union[name].values()) for name in PUBLISHED[size]} == PUBLISHED[size]


GROWN = """
gangraph: 1
name: grown
params: {{size: {size}, fade: {fade}}}
data: {{x: "normal(3, size, size)", z: normal(6)}}
networks:
  G: growing_generator(size=size, fade=fade, base=64, widest=8)
  D: growing_discriminator(size=size, fade=fade, base=64, widest=8, smooth=blur)
  S: style_synthesis(size=size, fade=fade, base=64, widest=8, added=none)
values:
  alpha: linear(0 if fade else 1, 1)
  styles: crossover(z, z, 1, 2 * log2(size) - 2)
losses:
  loss: mean(D(G(z, alpha), alpha)) + mean(D(x, alpha)) + mean(S(styles, alpha))
train:
  batch: 4
  optimizers: {{all: "sgd([G, D, S], lr=0.1)"}}
  step: [{{update: all, minimize: loss}}]
"""


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_network_that_has_just_grown_is_the_smaller_one(size: int) -> None:
    grown = trainer(read(GROWN.format(size=size, fade="false"))).networks
    large = trainer(read(GROWN.format(size=2 * size, fade="true")), seed=1).networks
    known = {f"network/{n}/{path}": t for n, module in grown.items() for path, t in module.state_dict().items()}
    fresh = carry_tensors(large, known, "network", {})
    assert all(f"_{2 * size}." in path or path.startswith(("S.style", "S.end")) for path in fresh)
    zero, one = (torch.tensor(number, dtype=torch.float64) for number in (0.0, 1.0))
    (z,), (image,) = normals(1, 4, 6), normals(1, 4, 3, 2 * size, 2 * size)
    layers = 2 * size.bit_length() - 4
    styles = z[:, None].expand(-1, layers + 2, -1)
    twice = functional.interpolate
    torch.testing.assert_close(large["G"](z, zero), twice(grown["G"](z, one), scale_factor=2.0))
    torch.testing.assert_close(large["S"](styles, zero), twice(grown["S"](styles[:, :layers], one), scale_factor=2.0))
    torch.testing.assert_close(large["D"](image, zero), grown["D"](functional.avg_pool2d(image, 2), one))
    assert not torch.allclose(large["G"](z, one), large["G"](z, zero))


PHASES = """
gangraph: 1
name: phases
params: {size: 4, fade: false}
data: {x: "normal(3, size, size)", z: normal(6)}
networks:
  G: growing_generator(size=size, fade=fade, base=64, widest=8)
  D: growing_discriminator(size=size, fade=fade, base=64, widest=8)
  E: average(G, decay=0.5)
values: {alpha: "linear(0 if fade else 1, 1)", fake: "G(z, alpha)"}
losses:
  judge: wasserstein.critic(real=D(x, alpha), fake=D(fake, alpha))
  fool: wasserstein.generator(D(fake, alpha))
train:
  batch: 4
  optimizers: {g: "adam(G, lr=1e-2)", d: "adam(D, lr=1e-2)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
  phases:
    - {length: 2 steps}
    - {set: {size: 8, fade: true}, length: 4 steps}
    - {set: {size: 8}, length: 2 steps}
"""


def test_phases_carry_weights_over_and_fade_in_what_is_new() -> None:
    run = trainer(read(PHASES))
    run.train(2)
    before = {path: t.clone() for path, t in run.networks["E"].state_dict().items()}
    fresh = run.next_phase()
    assert fresh
    assert all(path.partition(".")[2].startswith(("block_8.", "rgb_8.")) for path in fresh)
    after = run.networks["E"].state_dict()
    assert all(torch.equal(after[path], tensor) for path, tensor in before.items())
    alphas = []
    for _ in range(4):
        alphas.append(run.clock.progress)
        run.advance()
    assert alphas == [0, 0.25, 0.5, 0.75]
    assert run.phase_done
    run.next_phase()
    assert "rgb_4.equalized.parametrizations.weight.original" not in run.networks["G"].state_dict()
    run.train(2)
    assert run.done


def test_calls_that_take_one_number_for_all_samples_run_apart() -> None:
    spec = small(
        networks_g="{inputs: [z, a], parts: {body: linear(2)}, output: body(z) * a}",
        more_values="  a: progress\n  more: G(z * 2, a)",
        judge="mean(D(x)) - mean(D(fake))",
        fool="mean(D(fake)) + mean(more)",
    ).text.replace("G(z)", "G(z, a)")
    first, second = (trainer(read(spec), merge=merge) for merge in (True, False))
    for _ in range(3):
        assert first.step() == pytest.approx(second.step(), rel=1e-12)


def test_a_comprehension_leaves_out_what_a_test_excludes() -> None:
    spec = small(networks_g="mlp(widths=[k if k > 2 for k in 1..4], outputs=2)")
    layers = trainer(spec).networks["G"]
    assert [tuple(p.shape) for p in layers.parameters() if p.dim() == 2] == [(3, 2), (4, 3), (2, 4)]
