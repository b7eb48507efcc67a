"""What the tests of the runtime share: tiny specs, tiny forms of the shipped ones, and comparisons."""

import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gangraph
from gangraph.errors import SpecError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec

# The four plans of a program.
PLANS = pytest.mark.parametrize(
    ("share", "merge"),
    [(True, True), (True, False), (False, True), (False, False)],
    ids=lambda on: "on" if on else "off",
)

# Settings that make a shipped spec small enough to take a step in some milliseconds.
TINY: Mapping[str, Mapping[str, object]] = {
    "gan": {
        "params.size": 8,
        "networks.G.widths": [8, 8],
        "networks.D.widths": [6, 6],
        "networks.D.scale": 0.5,
        "train.batch": 5,
    },
    "autoencoder": {
        "params.size": 8,
        "params.widths": [6],
        "params.up": [6],
        "params.latents": 3,
        "params.rate": 1e-3,
        "params.batch": 5,
    },
    "dcgan": {"params.size": 16, "params.filters": 2, "params.filters_d": 2, "train.batch": 4},
    "wgan": {
        "params.size": 16,
        "params.filters": 2,
        "params.hidden": 8,
        "train.batch": 4,
        "evaluate.metrics.quality": "none",  # which another spec would have to train a network for
    },
    "wgan_gp": {"params.filters": 2, "train.batch": 4},
    "unrolled": {
        "params.z_size": 3,
        "params.widths": [8, 8],
        "params.widths_d": [8],
        "train.batch": 6,
        "evaluate.samples": 6,
    },
    "cogan": {"params.filters": 2, "params.widths": "[2, 3, 4]", "train.batch": 4},
    "pix2pix": {
        "params.size": 16,
        "params.filters": 2,
        "params.levels": 4,
        "params.field": 16,
        "params.widest": 34,
        "train.batch": 2,
    },
    "cyclegan": {
        "params.size": 16,
        "params.filters": 2,
        "params.blocks": 1,
        "params.field": 16,
        "params.pool": 3,
        "train.batch": 2,
    },
    "geometry": {
        "params.size": 16,
        "params.filters": 2,
        "params.blocks": 1,
        "params.pool": 3,
        "train.batch": 2,
    },
    "dance": {
        "params.size": 16,
        "params.filters": 2,
        "params.downs": 1,
        "params.blocks": 1,
        "params.filters_d": 2,
        "params.side": 8,
        "params.filters_f": 2,
        "params.downs_f": 1,
        "params.blocks_f": 1,
        "train.batch": 2,
        "networks.V": "small_vgg(widths=[2, 3, 3, 2], norm=none)",
    },
    "deformation": {
        "params.size": 16,
        "params.filters": 2,
        "params.blocks": 1,
        "params.filters_i": 2,
        "params.levels": 4,
        "params.filters_d": 2,
        "params.field": 16,
        "params.batch": 2,
        "params.pool": 3,
        "networks.T": "affine_net(widths=[3, 4], kernels=[5, 3], last=1)",
    },
    "dualgan": {
        "params.size": 16,
        "params.filters": 2,
        "params.levels": 4,
        "params.field": 16,
        "train.batch": 2,
    },
    "inpainting": {
        "params.size": 16,
        "params.overlap": 1,
        "params.first": 2,
        "params.down": [4],
        "params.code": 5,
        "params.start": 4,
        "params.up": [],
        "params.first_d": 2,
        "params.down_d": [],
        "train.batch": 4,
    },
    "cut": {
        "params.size": 16,
        "params.filters": 2,
        "params.blocks": 1,
        "params.field": 16,
        "params.width": 4,
        "params.patches": 5,
        "params.norm": "instance_norm",
        "train.batch": 2,
    },
    "minibatch": {
        "params.filters": 2,
        "params.filters_d": 2,
        "params.batch": 4,
        "params.coupling": "minibatch_discrimination(3, 2)",
    },
    "bigan": {"params.width": 6, "params.codes": 3, "train.batch": 5},
    "cgan": {
        "params.size": 8,
        "networks.G.width": 6,
        "networks.G.width_condition": 6,
        "networks.G.width_joint": 8,
        "networks.D.width": 6,
        "networks.D.width_condition": 4,
        "networks.D.width_joint": 6,
        "networks.D.scale": 0.5,
        "train.batch": 5,
        "evaluate.results.asked": "none",
    },
    "lapgan": {
        "params.sizes": [4, 10, 16],
        "params.lengths": "[2 steps, 2 steps, 2 steps]",
        "params.filters": 2,
        "params.widths": [6],
        "params.widths_d": [5],
        "train.batch": 4,
        "evaluate.results.distance": "none",
        "evaluate.results.distance_before": "none",
        "evaluate.results.distance_blurred": "none",
        "evaluate.results.distance_again": "none",
        "evaluate.results.asked": "none",
    },
    "deepsim": {
        "params.size": 16,
        "params.batch": 4,
        "networks.C": "feature_discriminator(widths=[2, 3, 3, 2], hidden=2, norm=none)",
        "networks.G": "feature_inverter(hidden=[6, 32], first=2, widths=[3], mixes=[4], last=0)",
        "networks.D": "feature_critic(widths=[2, 3], kernels=[3, 3], strides=[2, 1], last=1, code=[4, 3], hidden=5)",
        "values.code": "flatten(layers.features)",
        "values.target": "layers.score",
        "values.reached": "C(rec).score",
        "evaluate.values.code_again": "flatten(C(rec).features)",
    },
    "lsgan": {
        "params.size": 16,
        "params.filters": 2,
        "params.filters_d": 2,
        "train.batch": 4,
        "evaluate.results.quality": "none",
    },
    "infogan": {
        "params.size": 8,
        "params.filters": 2,
        "params.hidden": 8,
        "train.batch": 4,
    },
    "acgan": {
        "params.size": 16,
        "params.filters": 2,
        "params.filters_d": 2,
        "train.batch": 4,
        "evaluate.results.quality": "none",
    },
    "progan": {
        "params.full": 8,
        "params.latents": 6,
        "params.base": 32,
        "params.widest": 8,
        "train.batch": 4,
        "params.stretch": "3 steps",
    },
    "stylegan": {
        "params.full": 8,
        "params.first": 4,
        "params.gamma": 10,
        "params.features": 6,
        "params.depth": 2,
        "params.base": 32,
        "params.widest": 8,
        "train.batch": 4,
        "params.stretch": "3 steps",
        "params.last": "3 steps",
    },
    "stylegan2": {
        "params.size": 8,
        "params.features": 6,
        "params.base": 64,
        "params.widest": 8,
        "params.batch": 4,
        "params.every_path": 2,
        "params.every_R1": 3,
    },
    "pixelcnn": {
        "params.size": 6,
        "params.filters": 2,
        "params.blocks": 2,
        "params.head": 3,
        "train.batch": 4,
        "evaluate.samples": 3,
    },
    "pixelrnn": {
        "params.size": 6,
        "params.filters": 2,
        "params.layers": 1,
        "params.head": 3,
        "train.batch": 4,
        "evaluate.samples": 3,
    },
    "vae": {"params.size": 8, "params.hidden": 6, "params.latents": 3, "train.batch": 5},
    "beta_vae": {
        "params.size": 8,
        "params.widths": [4],
        "params.hidden": [6],
        "params.hidden_up": [6],
        "params.up": [],
        "params.first": 4,
        "params.latents": 3,
        "train.batch": 4,
    },
    "cvae": {"params.size": 8, "params.hidden": 6, "train.batch": 5},
    "began": {
        "params.size": 16,
        "params.filters": 2,
        "params.code": 3,
        "train.batch": 4,
    },
    "r3gan": {
        "params.size": 8,
        "params.latent": 3,
        "params.base": 64,
        "params.widest": 8,
        "params.group": 4,
        "params.batch": 4,
    },
    "srresnet": {"params.size": 16, "params.shown": 32, "params.filters": 2, "params.blocks": 1, "train.batch": 3},
    "srgan": {
        "params.size": 16,
        "params.shown": 32,
        "params.filters": 2,
        "params.blocks": 1,
        "params.filters_d": 2,
        "params.hidden": 5,
        "params.first": 3,
        "params.later": 3,
        "train.batch": 3,
        "networks.V": "small_vgg(widths=[2, 3, 3, 2], norm=none)",
        "evaluate.results.quality": "none",
    },
    "vae_gan": {
        "params.size": 16,
        "params.latents": 3,
        "params.encoder": "[2, 3, 4]",
        "params.decoder": "[4, 3, 3, 2]",
        "params.critic": "[2, 3, 4, 4]",
        "params.hidden": 6,
        "params.hidden_d": 5,
        "train.batch": 4,
    },
    "adain_style": {
        "params.size": 16,
        "params.layers": 4,
        **{f"values.known[{n}]": f"V(x).relu{n}_1" for n in (3, 4)},
        **{f"values.model[{n}]": f"V(style).relu{n}_1" for n in (3, 4)},
        **{f"values.told[{n}]": f"V(y).relu{n}_1" for n in (3, 4)},
        **{f"evaluate.values.blend[{n}]": f"V(half).relu{n}_1" for n in (3, 4)},
        **{f"evaluate.values.tinted[{n}]": f"V(recoloured).relu{n}_1" for n in (3, 4)},
        "params.widths": [4, 4, 3, 3, 2, 2],
        "params.doubled": [0, 2, 4],
        "train.batch": 3,
        "networks.V": 'small_vgg(widths=[2, 3, 4, 5], norm=none, borders="reflect")',
    },
    "johnson": {
        "params.size": 16,
        "params.filters": 2,
        "params.filters_sr": 2,
        "params.blocks": 1,
        "params.widths": [2, 3, 3, 2],
        "params.rate": 1e-3,
        "networks.V": "small_vgg(widths=widths, norm=none)",
        "train.batch": 2,
    },
    "cin": {
        "params.size": 16,
        "params.filters": 2,
        "params.blocks": 1,
        "params.rate": 1e-3,
        "networks.V": "small_vgg(widths=[2, 3, 3, 2], norm=none)",
        "train.batch": 2,
    },
    "igan": {
        "params.size": 16,
        "params.codes": 4,
        "params.cell": 4,
        "params.batch": 3,
        "networks.G": "code_decoder(widths=[2, 2, 2, 2], size=size, norm=none)",
        "networks.P": "mlp(widths=[], outputs=codes, final=tanh)",
        "networks.C": "small_vgg(widths=[2, 3, 3, 2], norm=none)",
    },
    "pgn": {
        "params.size": 8,
        "params.least": 3,
        "params.most": 5,
        "params.widths": [2, 3],
        "params.units": 4,
        "params.hidden": [5],
        "params.batch": 3,
        "evaluate.samples": 4,
    },
    "mathieu": {
        "params.size": 32,
        "params.shown": 32,
        "params.batch": 3,
        "params.widths": [[2], [2], [2, 3], [2, 3]],
        "params.kernels": [[3, 3], [5, 3], [3, 3, 3], [5, 3, 3]],
        "params.widths_d": [[2], [2, 3], [2, 3], [2, 3]],
        "params.kernels_d": [[3], [3, 3], [5, 3], [5, 5]],
        "params.hidden": [[4], [4], [3, 4], [4]],
        "evaluate.samples": 4,
    },
    "vqgan": {
        "params.size": 8,
        "params.filters": 4,
        "params.multipliers": [1, 2],
        "params.groups": 2,
        "params.features": 3,
        "params.codes": 5,
        "params.reach": 0.2,
        "params.filters_d": 2,
        "params.batch": 3,
        "params.start": 2,
        "networks.V": "feature_discriminator(widths=[2, 3, 3, 2], hidden=2, norm=none)",
        "evaluate.results.quality": "none",
    },
    "gatys": {
        "params.size": "[16, 24]",
        "networks.V": "small_vgg(widths=[2, 3, 4, 5], norm=none)",
        "train.optimizers.painter": "lbfgs(picture, max_iter=5)",
    },
    "inversion": {"params.size": "[16, 24]", "networks.V": "small_vgg(widths=[2, 3, 4, 5], norm=none)"},
    "mgan": {
        "params.size": 56,
        "params.crop": 48,
        "params.apart": 8,
        "params.batch": 3,
        "params.filters": 2,
        "params.filters_p": 4,
        "params.filters_d": 4,
        "params.lengths": "[2 steps, 2000 steps]",
        "networks.V": "small_vgg(widths=[2, 3, 4, 5], norm=none)",
    },
}

SMALL = """
gangraph: 1
name: small
data:
  x: plane(std=0.3)
  z: normal(2)
networks:
  G: {networks_g}
  D: {networks_d}
{more_networks}
values:
  fake: G(z)
{more_values}
losses:
  judge: {judge}
  fool: {fool}
train:
  batch: {batch}
{length}
  optimizers:
    g: {optimizer_g}
    d: {optimizer_d}
{step}
{evaluate}
"""
DEFAULTS = {
    "networks_g": "mlp(widths=[4], outputs=2, activation=tanh)",
    "networks_d": "mlp(widths=[4], activation=tanh)",
    "more_networks": "",
    "more_values": "",
    "judge": "logistic.critic(real=D(x), fake=D(fake))",
    "fool": "logistic.generator(D(fake))",
    "batch": "4",
    "length": "  length: 100 steps",
    "optimizer_g": "sgd(G, lr=0.1)",
    "optimizer_d": "sgd(D, lr=0.1)",
    "evaluate": "",
}
DRAW_ONCE = ("{update: d, minimize: judge}", "{update: g, minimize: fool}")


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # where kernels run, on the CPU under the interpreter


def load(name: str, *, variant: str | None = None, **settings: object) -> Spec:
    """A shipped spec in its tiny form; `settings` have `__` for dots."""
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    return gangraph.load(name, profile="quick", variant=variant, set={**TINY[name], **changes})


def small(*step: str, **parts: str) -> Spec:
    """A GAN of two small MLPs on points of the plane, with parts of its text replaced."""
    chosen = {**DEFAULTS, **parts}
    chosen["step"] = "\n".join(["  step:", *(f"    - {entry}" for entry in step or DRAW_ONCE)])
    return read(SMALL.format(**chosen))


def read(text: str) -> Spec:
    """A spec from its text."""
    return resolve(parse_text(text), Choice())


def trainer(spec: Spec, **options: Any) -> gangraph.Trainer:
    """A trainer in float64 on the CPU."""
    return gangraph.Trainer(spec, **{"device": "cpu", "precision": "fp64", **options})


def refused(spec: Spec) -> str:
    """What a check says of a spec that it refuses."""
    with pytest.raises(SpecError) as caught:
        check_spec(spec)
    return str(caught.value)


def resumes_to_the_bit(spec: Spec, folder: Path) -> bool:
    """Whether a run of four steps ends as one that was saved after two and resumed."""
    whole, first = trainer(spec), trainer(spec)
    whole.train(steps=4)
    first.train(steps=2)
    resumed = gangraph.Trainer.resume(first.save(folder / "half"), device="cpu")
    resumed.train(steps=2)
    one, other = (read_checkpoint(each.save(folder / n)) for each, n in ((whole, "whole"), (resumed, "resumed")))
    return same(one.tensors, other.tensors)


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Give a module the parameters of another, by their order."""
    theirs, mine = list(source.parameters()), list(target.parameters())
    assert [p.shape for p in theirs] == [p.shape for p in mine]
    with torch.no_grad():
        for parameter, value in zip(mine, theirs, strict=True):
            parameter.copy_(value)


def deviation(found: Tensor | float, expected: Tensor | float) -> float:
    """The largest difference, relative to the largest of the expected numbers."""
    found, expected = torch.as_tensor(found, dtype=torch.float64), torch.as_tensor(expected, dtype=torch.float64)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def parameter_deviations(
    engine: gangraph.Trainer, networks: Mapping[str, nn.Module], started: Mapping[str, Tensor], *, still: float
) -> Iterator[tuple[str, float]]:
    """Each parameter of the networks by its name, and how far the engine's is from that by hand.

    One that neither has moved by `still` since it `started` counts as equal: rounding moves a parameter whose gradient
    is 0, such as a bias before a normalisation, and Adam makes steps of that.
    """
    for name, network in networks.items():
        theirs = engine.networks[name].named_parameters()
        for (path, parameter), (own, mine) in zip(theirs, network.named_parameters(), strict=True):
            moves = [float((p.detach() - started[f"{name}.{own}"]).abs().max()) for p in (parameter, mine)]
            yield f"{name}.{path}", 0.0 if max(moves) < still else deviation(parameter.detach(), mine.detach())


def snapshot(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {f"{name}.{path}": t.clone() for name, module in modules.items() for path, t in module.state_dict().items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def changed(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> set[str]:
    """The networks of which any tensor differs between two snapshots."""
    return {name.partition(".")[0] for name in first if not torch.equal(first[name], second[name])}


def normals(count: int, *shape: int, seed: int = 0) -> list[Tensor]:
    """Some Gaussian tensors in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def move(loss: Tensor, optimizer: torch.optim.Adam) -> None:
    """One step of an optimizer by the gradients of its own parameters, and of no others."""
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def worst(deviations: Iterable[float]) -> float:
    """The largest of some deviations; NaN counts as infinite."""
    return max((float("inf") if d != d else d for d in deviations), default=0.0)


def random_spec(seed: int) -> Spec:
    """A GAN with random losses, updates in random order, and everything that a plan has to get right.

    Raises:
        SpecError: an update of this one does not reach what it trains.
    """
    pick = random.Random(seed)
    conditional = pick.random() < 0.5
    noisy = [
        "linear(4), tanh",
        "linear(4), tanh, dropout(0.5)",
        "linear(4), batch_norm, tanh",
        "linear(4), layer_norm, tanh",
    ]
    at = pick.choice(["mix", "fake", "x"])
    pasts = ["history(fake, 6)", "detach(fake)"] if conditional else ["at_first(fake)", "history(at_first(fake), 6)"]

    def judge() -> str:
        real, fake = pick.choice(["x", "mix", "H(x)", "G(H(x))"]), pick.choice(["fake", "back", "G(z2)", *pasts])
        more = [" + 0.1 * mean((slope - 1) ** 2)", f" + 0.1 * l2(H({pick.choice(pasts)}), z)", "", ""]
        return f"logistic.critic(real=D({real}), fake=D({fake})){pick.choice(more)}{pick.choice(more)}"

    def fool() -> str:
        more = [" + l1(back, x)", " + 0.1 * mean(slope)", " + l2(H(fake), z)", ""]
        fake = pick.choice(["fake", "back", "G(z2)", "G(H(x))"])
        return f"logistic.generator(D({fake})){pick.choice(more)}{pick.choice(more)}"

    def update() -> str:
        both = "{d: {minimize: judge}, g: {minimize: fool}}"
        entries = [f"update: {both}", *(f"update: {u}" for u in UPDATES)]
        entry = pick.choice(entries) + pick.choice(["", "", ", draw: all", ", draw: z", ", draw: x", ", draw: [z, z2]"])
        often = [", times: 2", ", accumulate: 2"]
        if conditional:
            often += [", times: 0 if step == 1 else 1", ", every: 2", ", when: step != 1"]
        return f"    - {{{entry}{pick.choice([*often, '', '', ''])}}}\n"

    layers = [pick.choice(noisy) for _ in "GDH"]
    return read(
        RANDOM.format(
            *layers,
            at=at,
            back=pick.choice(["G(H(fake))", "H(G(z2))", "E(z)", "G(E(H(x)))"]),
            judge=judge(),
            judge_again=judge(),
            fool=fool(),
            helper=pick.choice(["adam(H, lr=1e-2)", "adam([H, G], lr=1e-2)"]),
            step="".join(update() for _ in range(pick.randint(2, 4))),
        )
    )


UPDATES = ("d, minimize: judge", "g, minimize: fool", "h, minimize: aux", "d, minimize: judge_again")
RANDOM = """
gangraph: 1
name: random
data:
  x: plane(std=0.3)
  z: normal(2)
  z2: normal(2)
networks:
  G: {{inputs: z, layers: '{0}, linear(2)'}}
  D: {{inputs: x, layers: '{1}, linear(1)'}}
  H: {{inputs: x, layers: '{2}, linear(2)'}}
  E: average(G, decay=0.9)
values:
  fake: G(z)
  back: {back}
  mix: lerp(x, fake, uniform(1))
  slope: norm(grad(D({at}), {at}))
losses:
  judge: {judge}
  judge_again: {judge_again}
  fool: {fool}
  aux: l2(H(fake), z) + l1(G(H(x)), x)
train:
  batch: 4
  length: 100 steps
  optimizers:
    g: adam(G, lr=1e-2)
    d: adam(D, lr=1e-2)
    h: {helper}
  step:
{step}"""
