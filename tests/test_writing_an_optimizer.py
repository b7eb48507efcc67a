"""A new optimizer costs one file. Here a plug-in adds `signs`, which steps by the signs of gradients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import gangraph
from gangraph.errors import SpecError
from gangraph.folder.plugins import plugins_of
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run.saving import tensors_of
from gangraph.views.diff import compare
from gangraph.views.explain import explain_text
from tests.plugin import installed
from tests.support import same, small, trainer

PLUGIN = '''
import torch

from gangraph import optimizer


@optimizer("signs", differentiable=True)
class Signs(torch.optim.Optimizer):
    """Steps of one length: the sign of the gradient times a rate, after a mean of earlier signs."""

    def __init__(self, params, lr: float = 1e-2, decay: float = 0.5, differentiable: bool = False) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "differentiable": differentiable})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["mean"] = torch.zeros_like(parameter)
                state["mean"] = state["mean"] * group["decay"] + parameter.grad.sign()
                parameter.data.add_(state["mean"], alpha=-group["lr"])


optimizer("adafactor")(torch.optim.Adafactor)


@optimizer("counting")
class Counting(Signs):
    """The same, with a number for each parameter that is no tensor."""

    def step(self, closure=None):
        super().step(closure)
        for state in self.state.values():
            state["count"] = state.get("count", 0) + 1


@optimizer("ticking")
class Ticking(Signs):
    """The same, with a count in its group."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1


@optimizer("warming")
class Warming(Signs):
    """The same, with a rate that each step makes larger."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["lr"] *= 2


@optimizer("sharing")
class Sharing(Signs):
    """The same, with a tensor that belongs to no parameter."""

    def step(self, closure=None):
        super().step(closure)
        self.state["all"]["count"] = torch.ones(())
'''


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> Iterator[None]:
    with installed("signs", "gangraph_signs", PLUGIN, tmp_path):
        yield


def by_signs(options: str = "lr=0.1") -> Spec:
    return small(optimizer_d=f"signs(D, {options})")


def test_its_steps_are_taken() -> None:
    run = trainer(by_signs())
    before = [parameter.detach().clone() for parameter in run.networks["D"].parameters()]
    run.step()
    for old, new in zip(before, run.networks["D"].parameters(), strict=True):
        step = (old - new).detach()
        assert torch.allclose(step.abs()[step != 0], torch.tensor(0.1, dtype=step.dtype))


def test_its_options_are_checked_against_its_signature() -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(by_signs("lr=0.1, dekay=0.9"))
    assert "'signs' has no option 'dekay'" in str(caught.value)
    assert "did you mean 'decay'?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("counting", "state[parameter]['count'] of type int"),
        ("ticking", "group['k'], which a step changes from nothing to 1"),
        ("warming", "group['lr'], which a step changes from 0.01 to 0.02"),
        ("sharing", "state['all'], which belongs to no parameter"),
    ],
)
def test_one_that_keeps_what_a_checkpoint_cannot_hold_is_refused(name: str, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(small(optimizer_d=f"{name}(D)"))
    (problem,) = caught.value.problems
    assert (problem.code, problem.found) == ("GG320", found)
    assert "tensors in state[parameter]" in problem.expected


def test_it_is_told_compared_and_remembered() -> None:
    spec = by_signs()
    (checked,) = check_spec(spec)
    assert "Signs" in explain_text(spec, [compile_phase(checked).plan])
    (found,) = compare(spec, by_signs("lr=0.1, decay=0.9")).differences
    assert (found.before, found.after) == ("0.5", "0.9")
    assert plugins_of(spec) == {"signs": "gangraph-signs 0.1.0"}


@pytest.mark.parametrize("group", ["signs(D, lr=0.1)", "adafactor(D)"])
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_resumed_run_ends_with_the_same_bits(group: str, precision: str, tmp_path: Path) -> None:
    """Adafactor keeps a row and a column for each matrix, and all squares of a vector."""
    spec = small(optimizer_d=group)
    whole, first = trainer(spec, precision=precision), trainer(spec, precision=precision)
    whole.train(steps=4)
    first.train(steps=2)
    resumed = gangraph.Trainer.resume(first.save(tmp_path / "half"), device="cpu")
    resumed.train(steps=2)
    theirs, own = tensors_of(resumed.engine), tensors_of(whole.engine)
    assert same(theirs, own)
    assert all(theirs[name].dtype == tensor.dtype for name, tensor in own.items())
