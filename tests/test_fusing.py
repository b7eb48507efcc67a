"""Kernels in specs: which chains they take, which they leave and why, and that nothing else changes."""

from typing import Any

import pytest
import torch
from torch import fx

from gangraph import Trainer
from gangraph.errors import UsageError
from gangraph.kernels import OrderError
from gangraph.language.spec import Spec
from gangraph.lower import writer as lower
from gangraph.lower.model import KernelUse
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run import settings
from gangraph.views.plan import plan_text
from tests.support import DEVICE, deviation, parameter_deviations, read, snapshot, worst
from tests.support import trainer as on_the_cpu

SPEC = """
gangraph: 1
name: fused
data:
  x: uniform(3, 6, 6)
  z: normal(4)
networks:
  G:
    inputs: z
    layers: linear(48), reshape(3, 4, 4)
  D:
{critic}
values:
  fake: upsample(G(z), 2)
  mix: lerp(x, crop(fake, 6, 6), uniform(1))
losses:
{losses}
train:
  batch: 3
  length: 10 steps
  optimizers: {{g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.1)"}}
  step:
    - {{update: d, minimize: {objective}}}
    - {{update: g, minimize: fool}}
"""

EXACT = 1e-11  # in float64: the kernels sum in another order
STILL = 1e-9  # a bias before instance norm has the gradient 0 and moves by rounding, on which no two orders agree

# The critic of a WGAN-GP with instance norm; a critic with AdaIN, whose style is the mean of the image, under R1.
NORMED = """
    inputs: x
    layers:
      - conv2d(4, 3), instance_norm(affine=true), leaky_relu(0.2)
      - conv2d(4, 3), instance_norm, leaky_relu(0.2)
      - flatten, linear(1)
"""
STYLED = """
    inputs: x
    parts:
      conv: conv2d(4, 3, padding=1)
      scale: linear(4)
      bias: linear(4)
      last: leaky_relu(0.2), flatten, linear(1)
    values: {s: mean_pool(x)}
    output: last(adain(conv(x), scale(s), bias(s)))
"""
PENALTY = """
  judge: wasserstein.critic(real=D(x), fake=D(crop(fake, 6, 6)))
  penalty: 10 * mean((norm(grad(D(mix), mix)) - 1) ** 2)
  fool: wasserstein.generator(D(crop(fake, 6, 6)))
"""
R1 = """
  judge: logistic.critic(real=D(x), fake=D(crop(fake, 6, 6)))
  penalty: 5 * mean(norm(grad(D(x), x)) ** 2)
  fool: logistic.generator(D(crop(fake, 6, 6)))
"""
SYSTEMS = {
    "WGAN-GP with instance norm": (NORMED, PENALTY, "instance_norm_leaky_relu", "grad(D(mix), mix)"),
    "R1 with AdaIN": (STYLED, R1, "adain", "grad(D(x), x)"),
}
each_system = pytest.mark.parametrize("system", SYSTEMS)


def trainer(spec: Spec, **options: Any) -> Trainer:
    return on_the_cpu(spec, device=DEVICE, **options)


def penalised(system: str) -> Spec:
    critic, losses, *_ = SYSTEMS[system]
    text = SPEC.format(critic=critic, losses=losses, objective="judge + penalty")
    return read(text)


def assert_parameters_agree(fused: Trainer, plain: Trainer) -> None:
    """No parameter or buffer of two trainers of one spec differs, except for what rounding alone has moved."""
    started = snapshot(trainer(plain.spec).networks)
    assert worst(d for _, d in parameter_deviations(fused, plain.networks, started, still=STILL)) <= EXACT
    for name, network in plain.networks.items():
        mine = dict(fused.networks[name].named_buffers())
        assert all(deviation(mine[path], buffer) <= EXACT for path, buffer in network.named_buffers())


def uses(spec: Spec) -> list[KernelUse]:
    program = compile_phase(check_spec(spec)[0], kernels="auto")
    return [use for lowered in program.segments.values() for use in lowered.kernels]


# ------------------------------------------------------------------------------------------------ under a penalty


@each_system
def test_under_a_penalty_gradients_are_those_of_the_plain_form(system: str) -> None:
    fused, plain = (trainer(penalised(system), kernels=kernels) for kernels in ("on", "off"))
    assert any(not use.fusion.why_not for use in uses(penalised(system)))
    for _ in range(3):
        found, expected = fused.step(), plain.step()
        assert found.keys() == expected.keys()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
    assert_parameters_agree(fused, plain)


@each_system
def test_without_the_routing_the_kernel_raises(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower, "penalties", lambda *_: {})
    unrouted = trainer(penalised(system), kernels="on")
    with pytest.raises(OrderError, match="differentiated twice"):
        unrouted.step()


@each_system
def test_the_plan_says_where_a_kernel_is_not_used_and_why(system: str) -> None:
    _, _, kernel, gradient = SYSTEMS[system]
    text = " ".join(plan_text(compile_phase(check_spec(penalised(system))[0], kernels="auto")).split())
    assert f"D: {kernel} computes" in text
    assert f"under {gradient} it is differentiated twice, and the kernel has order 1" in text


def test_only_calls_inside_of_the_penalty_are_plain() -> None:
    spec = penalised("WGAN-GP with instance norm")
    found = {(use.value, bool(use.fusion.why_not)) for use in uses(spec) if use.fusion.kernel != "patch_loss"}
    values = check_spec(spec)[0].graph.nodes
    assert {values[value].inputs[0] == "mix" for value, refused in found if refused} == {True}
    assert {values[value].inputs[0] == "mix" for value, refused in found if not refused} == {False}


# ---------------------------------------------------------------------------------------------------- in a network


def layered(layers: str, *, more: str = "") -> Spec:
    """A critic of these layers, without a penalty."""
    critic = f"    inputs: x\n{more}    {layers}\n"
    losses = R1.replace("  penalty: 5 * mean(norm(grad(D(x), x)) ** 2)\n", "")
    text = SPEC.format(critic=critic, losses=losses, objective="judge")
    return read(text)


CHAINS = {
    "instance_norm, leaky_relu": ("instance_norm, leaky_relu(0.3)", "instance_norm_leaky_relu", 0.3),
    "a slope by default": ("instance_norm, leaky_relu", "instance_norm_leaky_relu", 0.01),
    "instance_norm, relu": ("instance_norm(eps=0.1), relu", "instance_norm_leaky_relu", 0.0),
    "instance_norm alone": ("instance_norm(affine=true), tanh", "instance_norm_leaky_relu", 1.0),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_of_layers_become_kernels_and_compute_the_same(chain: str) -> None:
    layers, kernel, slope = CHAINS[chain]
    spec = layered(f"layers: conv2d(4, 3), {layers}, flatten, linear(1)")
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    (form,) = {name for name in fused.engine.networks.callable if name == "D_fused"}
    module = fused.engine.networks.callable[form]
    assert isinstance(module, fx.GraphModule)
    (call,) = (node for node in module.graph.nodes if getattr(node.target, "__name__", "") == kernel)
    assert call.kwargs.get("slope", 0.2) == slope
    found, expected = fused.step(), plain.step()
    assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT


EPILOGUES = {
    "all of it": "noise, bias, leaky_relu(0.1)",
    "no noise": "bias, leaky_relu(0.1)",
    "no bias": "noise, leaky_relu(0.1)",
    "the activation alone": "leaky_relu(0.1)",
}


@pytest.mark.parametrize("kind", EPILOGUES)
def test_the_parts_of_a_style_epilogue_become_one_kernel(kind: str) -> None:
    critic = f"""
    inputs: x
    parts:
      conv: conv2d(4, 3, padding=1), {EPILOGUES[kind]}
      scale: linear(4)
      bias: linear(4)
      last: flatten, linear(1)
    values: {{s: mean_pool(x)}}
    output: last(adain(conv(x), scale(s), bias(s), eps=1e-8))
"""
    losses = R1.replace("  penalty: 5 * mean(norm(grad(D(x), x)) ** 2)\n", "")
    text = SPEC.format(critic=critic, losses=losses, objective="judge")
    spec = read(text)
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    for engine in (fused, plain):
        with torch.no_grad():
            for name, parameter in engine.networks["D"].named_parameters():
                if "noise" in name or name.endswith("bias.bias"):
                    parameter.fill_(0.5)
    inside = {use.fusion.kernel for use in uses(spec) if use.fusion.kernel != "patch_loss"}
    assert inside == {"style_epilogue"}
    for _ in range(2):
        found, expected = fused.step(), plain.step()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
    assert_parameters_agree(fused, plain)


def test_a_value_that_is_read_elsewhere_ends_its_chain() -> None:
    parts = '    parts: {one: "conv2d(4, 3), instance_norm", last: "flatten, linear(1)"}\n    values: {h: one(x)}\n'
    spec = layered("output: last(cat(leaky_relu(h, 0.2), h))", more=parts)
    refused = [use.fusion for use in uses(spec) if use.fusion.why_not]
    assert {(each.kernel, each.computes) for each in refused} == {
        ("instance_norm_leaky_relu", ("instance_norm", "leaky_relu"))
    }
    assert {each.why_not for each in refused} == {"'h' is read elsewhere too"}
    placed = {use.fusion.computes for use in uses(spec) if not use.fusion.why_not and use.fusion.kernel != "patch_loss"}
    assert placed == {("instance_norm",)}
    fused, plain = (trainer(spec, kernels=kernels).step() for kernels in ("on", "off"))
    assert worst(deviation(fused[name], plain[name]) for name in plain) <= EXACT


def test_forms_share_every_parameter_and_change_none_of_the_networks() -> None:
    spec = layered("layers: conv2d(4, 3), instance_norm(affine=true), leaky_relu(0.2), flatten, linear(1)")
    fused, plain = trainer(spec, kernels="on"), trainer(spec)
    forms = fused.engine.networks.callable
    assert {name for name in forms if name.endswith("fused")} == {"D_fused", "D_frozen_fused"}
    assert {id(p) for p in forms["D_fused"].parameters()} == {id(p) for p in fused.networks["D"].parameters()}
    frozen = {id(p) for p in fused.engine.networks.frozen["D"].parameters()}
    assert {id(p) for p in forms["D_frozen_fused"].parameters()} == frozen
    assert snapshot(fused.networks).keys() == snapshot(plain.networks).keys()


# ----------------------------------------------------------------------------------------------------- in a segment


VALUES = {
    "gdl": ("gdl(crop(fake, 6, 6), x)", "gdl"),
    "gdl with a norm": ("gdl(crop(fake, 6, 6), x, alpha=2, p=1, weight=0.5)", "gdl"),
    "adain_image": ("mean(adain_image(fake, x) ** 2)", "adain_image"),
    "adain": ("mean(adain(fake, mean_pool(x), mean_pool(fake)) ** 2)", "adain"),
    "bce": ("bce(D(crop(fake, 6, 6)), 0.9)", "patch_loss"),
    "keywords": ("gdl(target=x, prediction=crop(fake, 6, 6), alpha=2)", "gdl"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_ops_of_a_step_become_kernels_and_compute_the_same(kind: str) -> None:
    expression, kernel = VALUES[kind]
    losses = f"  judge: wasserstein.critic(real=D(x), fake=D(crop(fake, 6, 6)))\n  fool: {expression}\n"
    critic = "    inputs: x\n    layers: flatten, linear(1)\n"
    text = SPEC.format(critic=critic, losses=losses, objective="judge")
    spec = read(text)
    assert kernel in {use.fusion.kernel for use in uses(spec) if not use.fusion.why_not}
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    for _ in range(2):
        found, expected = fused.step(), plain.step()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
    assert_parameters_agree(fused, plain)


def test_a_kernels_value_may_be_what_a_penalty_differentiates_by() -> None:
    losses = """
  judge: wasserstein.critic(real=D(x), fake=D(styled))
  penalty: 10 * mean((norm(grad(D(styled), styled)) - 1) ** 2)
  fool: wasserstein.generator(D(crop(fake, 6, 6)))
"""
    text = SPEC.format(critic=NORMED, losses=losses, objective="judge + penalty")
    spec = read(text.replace("values:", "values:\n  styled: adain_image(x, x * x)"))
    assert "adain_image" in {use.fusion.kernel for use in uses(spec) if not use.fusion.why_not}
    fused, plain = (trainer(spec, kernels=kernels) for kernels in ("on", "off"))
    found, expected = fused.step(), plain.step()
    assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
    assert_parameters_agree(fused, plain)


# ------------------------------------------------------------------------------------------------------- switches


def simple() -> Spec:
    return layered("layers: conv2d(4, 3), instance_norm, leaky_relu(0.2), flatten, linear(1)")


def test_auto_uses_kernels_on_cuda_only() -> None:
    expected = "auto" if torch.cuda.is_available() else "off"
    assert Trainer(simple()).kernels == expected


def test_off_is_the_plain_form() -> None:
    engine = trainer(simple(), kernels="off").engine
    assert all(form.body is None for form in engine.program.forms.values())
    assert not any(lowered.kernels for lowered in engine.program.segments.values())


def test_on_where_triton_cannot_run_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "why_not", lambda _: "Triton is not installed")
    with pytest.raises(UsageError, match=r"^kernels cannot be on: Triton is not installed$"):
        trainer(simple(), kernels="on")


def test_an_unknown_choice_is_the_users_error() -> None:
    with pytest.raises(UsageError, match=r"^kernels is auto, on or off, not 'fast'$"):
        trainer(simple(), kernels="fast")


def test_a_resumed_run_keeps_its_kernels_unless_asked(tmp_path: object) -> None:
    first = trainer(simple(), kernels="on")
    first.step()
    folder = first.save(f"{tmp_path}/saved")
    assert Trainer.resume(folder, device=DEVICE).kernels == "on"
    assert Trainer.resume(folder, device=DEVICE, kernels="off").kernels == "off"


def test_segments_with_kernels_compile_as_one_graph() -> None:
    compiled, plain = trainer(simple(), kernels="on"), trainer(simple(), kernels="on")
    for name, module in compiled.engine.modules.items():
        compiled.engine.modules[name] = torch.compile(module, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        found, expected = compiled.step(), plain.step()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
