"""Time the engine's step against the plain PyTorch loop that a good engineer would write, interleaved in one run.

    python benchmarks/step.py                 all three systems
    python benchmarks/step.py cyclegan --rounds 11 --threads 2

The loops are those of tests/reference, which the equivalence tests prove to be the same mathematics. Both sides
take the same batches; each round times a number of steps of one side and then of the other, in changing order.
Printed: the median over rounds of each side and of the ratio engine / loop, with the spread of the ratio.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import gangraph
from tests.reference import loops, networks

Step = Callable[[], object]
_ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}


@dataclass(frozen=True)
class Contest:
    """A system with both of its sides, and how many steps make a round."""

    name: str
    engine: Step
    loop: Step
    steps: int


def trainer(name: str, **settings: object) -> gangraph.Trainer:
    """An engine for a shipped spec in its paper form with some settings."""
    return gangraph.Trainer(gangraph.load(name, profile="paper", set=settings), device=_device())


def mlp_gan() -> Contest:
    """The MLP GAN at its paper's size: 784 pixels, batch 100, simultaneous updates."""
    engine = trainer("gan")
    x, z = torch.rand(100, 1, 28, 28, device=_device()), torch.rand(100, 100, device=_device())
    generator, discriminator = networks.GanGenerator().to(_device()), networks.MaxoutDiscriminator().to(_device())
    loop = loops.GanLoop(generator, discriminator)
    return Contest(
        "gan, MLP, batch 100",
        lambda: engine.step({"digits": {"image": x, "label": torch.zeros(100, dtype=torch.int64)}, "z": z}),
        lambda: loop.step(x.flatten(1), z),
        20,
    )


def pix2pix() -> Contest:
    """64 px, batch 1, 32 filters, six levels: dropout, batch norm and an L1 term."""
    settings = {"size": 64, "filters": 32, "levels": 6, "batch": 1}
    engine = trainer("pix2pix", **_existing("pix2pix", settings))
    x, y = _image(1), _image(1)
    generator = networks.Unet(3, 3, 32, 6, drop_levels=(4, 5, 6)).to(_device())
    loop = loops.Pix2pixLoop(generator, networks.Patchgan(6, 32).to(_device()), **_ADAM)
    return Contest(
        "pix2pix, 64 px, batch 1", lambda: engine.step({"pair": {"a": x, "b": y}}), lambda: loop.step(x, y), 8
    )


def cyclegan() -> Contest:
    """64 px, batch 1, 32 filters, six blocks: identity terms and history buffers of 50."""
    engine = trainer("cyclegan", **_existing("cyclegan", {"size": 64, "load": 72, "filters": 32, "blocks": 6}))
    x, y = _image(1), _image(1)
    generators = [networks.ResnetGenerator(3, 32, 6).to(_device()) for _ in range(2)]
    critics = [networks.Patchgan(3, 32, norm="instance").to(_device()) for _ in range(2)]
    loop = loops.CycleganLoop(*generators, *critics, _decide, **_ADAM)
    return Contest("cyclegan, 64 px, batch 1", lambda: engine.step({"x": x, "y": y}), lambda: loop.step(x, y), 4)


def _existing(name: str, settings: dict[str, object]) -> dict[str, object]:
    params = gangraph.load(name, profile="paper").phases[0].params
    return {
        ("train." + key if key == "batch" else key): value
        for key, value in settings.items()
        if key in params or key == "batch"
    }


def _decide(_: str, count: int) -> tuple[list[bool], list[int]]:
    return (torch.rand(count) < 0.5).tolist(), torch.randint(50, (count,)).tolist()


def _image(batch: int) -> Tensor:
    return torch.rand(batch, 3, 64, 64, device=_device()) * 2 - 1


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def seconds(step: Step, count: int) -> float:
    """Seconds for one step, over `count` of them."""
    begin = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - begin) / count


def compete(contest: Contest, rounds: int) -> None:
    """Warm both sides up, time them in turn, and print the medians."""
    seconds(contest.engine, 3), seconds(contest.loop, 3)
    engine, loop = [], []
    for index in range(rounds):
        sides = [(engine, contest.engine), (loop, contest.loop)]
        for times, step in sides if index % 2 else reversed(sides):
            times.append(seconds(step, contest.steps))
    ratios = [a / b for a, b in zip(engine, loop, strict=True)]
    sides = f"engine {1000 * statistics.median(engine):8.2f} ms   loop {1000 * statistics.median(loop):8.2f} ms"
    spread = f"[{min(ratios):.3f}, {max(ratios):.3f}]"
    print(f"{contest.name:28} {sides}   ratio {statistics.median(ratios):.3f}   {spread}", flush=True)


def main() -> None:
    """Read the command line and run the contests."""
    contests = {"gan": mlp_gan, "pix2pix": pix2pix, "cyclegan": cyclegan}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="gan, pix2pix, cyclegan; default all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    where = f"{_device()}, {platform.machine()}, {arguments.threads} threads"
    print(f"torch {torch.__version__}, {where}, {arguments.rounds} rounds")
    for name in arguments.systems or contests:
        torch.manual_seed(0)
        compete(contests[name](), arguments.rounds)


if __name__ == "__main__":
    main()
