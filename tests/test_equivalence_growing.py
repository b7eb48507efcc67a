"""Growing and style-based specs train as the loops by hand, before and after a step of growth."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gangraph import Trainer
from tests.reference.growing import GrowingLoop, Parameters, StyleLoop
from tests.support import TINY, deviation, load, trainer, worst

F64 = torch.float64
BATCH, STEPS = 4, 3
PLANS = [(True, True), (False, False)]
IDS = ["as planned", "plain"]


def _stored(engine: Trainer, names: str) -> dict[str, Parameters]:
    """Copies of all parameters of some networks, by their paths."""
    return {name: {path: p.detach().clone() for path, p in engine.networks[name].named_parameters()} for name in names}


def _apart(engine: Trainer, loop: GrowingLoop | StyleLoop) -> dict[str, float]:
    """How far each parameter and each average is from the loop's."""
    found = {}
    for name, mine in (*loop.networks.items(), *((f"{n}s", average) for n, average in loop.averages.items())):
        theirs = dict(engine.networks[name].named_parameters())
        assert theirs.keys() == mine.keys()
        found |= {f"{name}.{path}": deviation(theirs[path].detach(), t.detach()) for path, t in mine.items()}
    return found


def _compare(losses: dict[str, float], expected: dict[str, float]) -> dict[str, float]:
    return {name: deviation(losses[name], value) for name, value in expected.items()}


def _shake(engine: Trainer) -> None:
    """Move what starts at 0 or 1, so that nothing is hidden by it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, network in engine.networks.items():
            for parameter in network.parameters() if not name.endswith("s") else ():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=F64))
        for name, network in engine.networks.items():
            if name.endswith("s"):
                network.load_state_dict(engine.networks[name[:-1]].state_dict())


def _through_growth(
    engine: Trainer,
    loop: GrowingLoop | StyleLoop,
    step: Callable[[int, float | None], dict[str, float]],
) -> dict[str, float]:
    """Deviations over some steps of each of three phases: before, while the new blocks are faded in, after."""
    found: dict[str, float] = {}
    for phase, (size, fade) in enumerate(((4, False), (8, True), (8, False))):
        if phase:
            engine.next_phase()
            loop.grow(_stored(engine, "".join(loop.networks)))
        for index in range(STEPS):
            off = step(size, index / STEPS if fade else None)
            found |= {f"{name} of step {index} at phase {phase}": value for name, value in off.items()}
        found |= {f"{path} after phase {phase}": value for path, value in _apart(engine, loop).items()}
    return found


def _draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=F64)


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=IDS)
def test_a_growing_gan_trains_as_the_loop_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(load("progan"), share=share, merge=merge)
    _shake(engine)
    loop = GrowingLoop(_stored(engine, "GD"), rate=3e-3, decay=0.99, group=4)
    torch.manual_seed(0)

    def step(size: int, alpha: float | None) -> dict[str, float]:
        x, weight = torch.rand(BATCH, 3, 8, 8, dtype=F64) * 2 - 1, torch.rand(BATCH, 1, dtype=F64)
        zs = [_draw(BATCH, 6), _draw(BATCH, 6)]
        losses = engine.step({"reals": x, "z": zs, "mix.uniform": weight})
        small = torch.nn.functional.avg_pool2d(x, 8 // size)
        return _compare(losses, loop.step(small, zs, weight, size, alpha))

    found = _through_growth(engine, loop, step)
    assert {name: off for name, off in found.items() if not off <= 1e-8} == {}, worst(found.values())


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=IDS)
def test_a_style_based_gan_trains_as_the_loop_by_hand(
    share: bool, merge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = trainer(load("stylegan"), share=share, merge=merge)
    _shake(engine)
    loop = StyleLoop(_stored(engine, "MSD"), rate=3e-3, decay=0.99, depth=2)
    torch.manual_seed(0)

    def step(size: int, alpha: float | None) -> dict[str, float]:
        drawn: list[Tensor] = []
        draws = engine.engine.draws
        draw = type(draws).noise

        def noise(*arguments: object) -> Tensor:
            drawn.append(draw(draws, *arguments))  # type: ignore[arg-type]  # passed on as they came
            return drawn[-1]

        monkeypatch.setattr(draws, "noise", noise)
        x = torch.rand(BATCH, 3, 8, 8, dtype=F64) * 2 - 1
        codes = [(_draw(BATCH, 6), _draw(BATCH, 6)) for _ in range(2)]
        layers = 2 * size.bit_length() - 4
        coins = torch.tensor([[1.0], [0.0], [1.0], [1.0]], dtype=F64)
        cuts = [1 + (layers - 1) * torch.rand(BATCH, 1, dtype=F64) for _ in range(2)]
        z, other = ([pair[k] for pair in codes] for k in range(2))
        given = {"reals": x, "z": z, "other": other, "at.bernoulli": [coins, coins], "at.uniform": cuts}
        losses = engine.step(given)
        noises = [drawn[:layers], drawn[layers:]]
        ats = [(layers - coins * cut)[:, 0] for cut in cuts]
        small = torch.nn.functional.avg_pool2d(x, 8 // size)
        off = _compare(losses, loop.step(small, codes, ats, noises, size, alpha))
        centre = engine.networks["M"].get_buffer("track.running_mean.mean")
        return {**off, "the running mean of w": deviation(centre, loop.centre)}

    found = _through_growth(engine, loop, step)
    assert {name: off for name, off in found.items() if not off <= 1e-8} == {}, worst(found.values())


def test_the_tiny_forms_grow_once() -> None:
    assert all(len(load(name).phases) == 3 for name in ("progan", "stylegan"))
    assert {"progan", "stylegan"} <= TINY.keys()
