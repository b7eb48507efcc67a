"""A new optimizer costs one file. Here a plug-in adds `signs`, which steps by the signs of gradients."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, autograd
from torch.func import functional_call

import gangraph
from gangraph.errors import CheckpointError, RunError, SpecError
from gangraph.folder.plugins import plugins_of
from gangraph.language.continuation import changes
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.run.saving import tensors_of
from gangraph.views.diff import compare_specs
from gangraph.views.explain import explain_text
from tests.plugin import for_every_test
from tests.support import deviation, normals, same, small, trainer, worst

PLUGIN = '''
import torch

from gangraph import optimizer


@optimizer("signs")
class Signs(torch.optim.Optimizer):
    """Steps of one length: the sign of the gradient times a rate, after a mean of earlier signs."""

    def __init__(self, params, lr: float = 1e-2, decay: float = 0.5) -> None:
        super().__init__(params, {"lr": lr, "decay": decay})

    def direction(self, gradient):
        return gradient.sign()

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = self.direction(parameter.grad)
                if group["decay"]:
                    mean = state["mean"] = state.get("mean", 0.0) * group["decay"] + mean
                parameter.data.add_(mean, alpha=-group["lr"])


def soft_step(value, gradient, state, options):
    mean = state.get("mean", 0.0) * options["decay"] + gradient.tanh()
    return value - options["lr"] * mean, {"mean": mean}


@optimizer("soft_signs", differentiable=soft_step)
class SoftSigns(Signs):
    """The same with the hyperbolic tangent, of which an objective can look ahead."""

    def direction(self, gradient):
        return gradient.tanh()


@optimizer("failing")
class Failing(Signs):
    """The same, which fails: as it is made, with more parameters than the check has, or at a later step."""

    def __init__(self, params, lr: float = 1e-2, early: bool = False, many: bool = False) -> None:
        super().__init__(params, lr)
        if early or (many and len(self.param_groups[0]["params"]) > 1):
            raise AttributeError("no such thing")

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            if group["lr"] > 1:
                raise KeyError("too fast")


def refused_mean(states):
    for index, state in enumerate(states):
        if float(state["mean"].sum()) > 1e6:
            yield index, "mean", "a large one", "a small one"


@optimizer("assuming", keeps={"mean": (-2.0, 2.0)}, refuses_state=refused_mean)
class Assuming(Signs):
    """The same, of which a checkpoint is held to what it says; that fails before the first step."""


@optimizer("empty", keeps={"mean": range(0)})
class Empty(Signs):
    """The same, which says that it keeps no number."""


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


@optimizer("tallying")
class Tallying(Signs):
    """The same, with a count of its own."""

    def __init__(self, params, lr: float = 1e-2) -> None:
        super().__init__(params, lr)
        self.k = 0

    def step(self, closure=None):
        super().step(closure)
        self.k += 1


@optimizer("averaging")
class Averaging(Signs):
    """The same, with a list of tensors of its own, and its parameters, which may change."""

    def __init__(self, params, lr: float = 1e-2) -> None:
        super().__init__(params, lr)
        self.known = list(self.param_groups[0]["params"])
        self.mean = {"slow": [each.detach().clone() for each in self.known]}

    def step(self, closure=None):
        super().step(closure)
        for slow, each in zip(self.mean["slow"], self.known):
            slow.lerp_(each.detach(), 0.1)


@optimizer("dicing")
class Dicing(Signs):
    """The same, with random numbers of its own."""

    def __init__(self, params, lr: float = 1e-2) -> None:
        super().__init__(params, lr)
        self.dice = torch.Generator()

    def step(self, closure=None):
        super().step(closure)
        torch.rand((), generator=self.dice)


@optimizer("starting", shapes_state=("slow",), at_start=("first",))
class Starting(Signs):
    """The same, with what is its own at the start, and parameters and settings that it holds and does not change."""

    def __init__(self, params, lr: float = 1e-2, slow: float = 0.5, first: float = 1.0) -> None:
        super().__init__(params, lr)
        self.known, self.rule, self.sizes = list(self.param_groups[0]["params"]), lambda x: x, {"slow": torch.ones(2)}
'''
_plugin = for_every_test("signs", "gangraph_signs", PLUGIN)


def by_signs(options: str = "lr=0.1") -> Spec:
    return small(optimizer_d=f"signs(D, {options})")


def test_its_steps_are_taken() -> None:
    run = trainer(by_signs())
    before = [parameter.detach().clone() for parameter in run.networks["D"].parameters()]
    run.step()
    for old, new in zip(before, run.networks["D"].parameters(), strict=True):
        step = (old - new).detach()
        assert torch.allclose(step.abs()[step != 0], torch.tensor(0.1, dtype=step.dtype))


def test_one_that_fails_is_told_with_its_module_and_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(small(optimizer_d="failing(D, early=true)"))
    (problem,) = caught.value.problems
    assert (problem.code, problem.reason) == ("GG441", "AttributeError: no such thing")
    assert "the optimizer 'failing' of the plug-in's module 'gangraph_signs' fails" in problem.message
    assert problem.span.excerpt().splitlines()[0].endswith("d: failing(D, early=true)")
    where = r"^spec:\d+:\d+: "
    who = "the optimizer 'failing' of the plug-in's module 'gangraph_signs' fails: "
    with pytest.raises(RunError, match=f"{where}{who}AttributeError: no such thing"):
        trainer(small(optimizer_d="failing(D, many=true)"))
    run = trainer(small(optimizer_d="failing(D, lr=step)"))
    run.train(steps=2)
    with pytest.raises(RunError, match=f"{where}at step 2, {who}KeyError: 'too fast'"):
        run.train(steps=1)


def test_one_that_fails_as_a_checkpoint_is_held_to_it_is_told_likewise(tmp_path: Path) -> None:
    run = trainer(small(optimizer_d="assuming(D)"))
    who = (
        r"small.yaml:\d+:\d+: the optimizer 'assuming' of the plug-in's module 'gangraph_signs' fails: KeyError: 'mean'"
    )
    with pytest.raises(RunError, match=who):
        gangraph.Trainer.resume(run.save(tmp_path / "begun"), device="cpu")
    run.step()
    assert gangraph.Trainer.resume(run.save(tmp_path / "later"), device="cpu").step_count == 1


def test_bounds_that_no_number_keeps_are_not_passed_over(tmp_path: Path) -> None:
    run = trainer(small(optimizer_d="empty(D)"))
    run.step()
    with pytest.raises(CheckpointError, match=r"optimizer/d/0.mean': found .*, expected a count up to -1"):
        gangraph.Trainer.resume(run.save(tmp_path / "later"), device="cpu")


def test_one_that_refuses_a_value_says_so_itself() -> None:
    with pytest.raises(SpecError, match=r"(?s)GG320: 'adafactor' refuses its options.*reason: +Learning rate"):
        check_spec(small(optimizer_d="adafactor(D, lr=-1)"))


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
        ("tallying", "self.k, which a step changes from 0 to 1"),
        ("averaging", "self.mean, which a step changes from {'slow': [tensor("),
        ("dicing", "self.dice, which a step changes within <torch._C.Generator"),
    ],
)
def test_one_that_keeps_what_a_checkpoint_cannot_hold_is_refused(name: str, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(small(optimizer_d=f"{name}(D)"))
    (problem,) = caught.value.problems
    assert problem.code == "GG320"
    assert problem.found.startswith(found)
    assert f"'{name}'" in problem.message
    assert "tensors in state[parameter]" in problem.expected


def test_one_that_holds_what_no_step_changes_is_taken() -> None:
    check_spec(small(optimizer_d="starting(D)"))


@pytest.mark.parametrize(
    ("before", "after", "touches"),
    [
        ("", "slow=0", "trained"),  # the signature says 0.5
        ("slow=0", "slow=0.9", "trained"),
        ("", "slow=0.9", "now"),
        ("slow=0.9", "slow=linear(0.9, 0.1)", "now"),
        ("", "first=2", "trained"),
        ("first=2", "first=3", "trained"),
        ("", "lr=3", "now"),
    ],
)
def test_whether_a_run_goes_on_with_another_option_is_what_the_optimizer_says(
    before: str, after: str, touches: str
) -> None:
    saved, asked = (small(optimizer_d=f"starting(D{', ' * bool(given)}{given})") for given in (before, after))
    (change,) = changes(saved, asked, 0)
    assert change.touches == touches


def test_a_trait_that_names_no_option_is_refused() -> None:
    with pytest.raises(
        TypeError, match="'shapes_state' of the optimizer 'own' names 'momentun', no option; did you mean"
    ):
        gangraph.optimizer("own", shapes_state=("momentun",))(torch.optim.SGD)


def test_it_is_told_compared_and_remembered() -> None:
    spec = by_signs()
    (checked,) = check_spec(spec)
    assert "Signs" in explain_text(spec, [compile_phase(checked).plan])
    (found,) = compare_specs(spec, by_signs("lr=0.1, decay=0.9")).differences
    assert (found.before, found.after) == ("0.5", "0.9")
    assert plugins_of(spec) == {"signs": "gangraph-signs 0.1.0"}


def looking_ahead(group: str) -> Spec:
    """The generator looks three steps of the discriminator's optimizer ahead."""
    unroll = "unroll: {update: d, minimize: judge, steps: 3}"
    steps = (f"{{update: g, minimize: -judge, {unroll}}}", "{update: d, minimize: judge}")
    return small(*steps, optimizer_d=group)


def test_an_objective_looks_ahead_of_its_steps_as_a_loop_by_hand_does() -> None:
    """The second iteration starts from the mean that the first has left."""
    rate, decay = 0.2, 0.5
    run = trainer(looking_ahead(f"soft_signs(D, lr={rate}, decay={decay})"))
    generator, critic = (copy.deepcopy(run.networks[name]) for name in "GD")
    names = [name for name, _ in critic.named_parameters()]
    means = [torch.zeros_like(p) for p in critic.parameters()]

    def judge(weights: list[Tensor]) -> Tensor:
        own = dict(zip(names, weights, strict=True))
        real, fake = (functional_call(critic, own, (value,)) for value in (x, generator(z)))
        return torch.as_tensor(functional.softplus(-real).mean() + functional.softplus(fake).mean())

    def step(weights: list[Tensor], means: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        gradients = autograd.grad(judge(weights), weights, create_graph=True)
        means = [decay * mean + gradient.tanh() for mean, gradient in zip(means, gradients, strict=True)]
        return [weight - rate * mean for weight, mean in zip(weights, means, strict=True)], means

    for x, z in zip(normals(2, 4, 2, seed=1), normals(2, 4, 2, seed=2), strict=True):
        run.step({"x": x, "z": z})
        ahead = list(critic.parameters()), means
        for _ in range(3):
            ahead = step(*ahead)
        gradients = autograd.grad(-judge(ahead[0]), list(generator.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(generator.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        moved, means = step(list(critic.parameters()), means)
        means = [mean.detach() for mean in means]
        with torch.no_grad():
            for parameter, value in zip(critic.parameters(), moved, strict=True):
                parameter.copy_(value)
    for name, network in (("G", generator), ("D", critic)):
        pairs = zip(run.networks[name].parameters(), network.parameters(), strict=True)
        assert worst(deviation(one.detach(), other.detach()) for one, other in pairs) <= 1e-12


def test_one_without_a_differentiable_step_cannot_be_looked_ahead_of() -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(looking_ahead("signs(D)"))
    (problem,) = caught.value.problems
    assert problem.code == "GG511"
    assert "soft_signs" in problem.expected


@pytest.mark.parametrize("group", ["signs(D)", "signs(D, decay=linear(0, 0.5))", "adafactor(D)"])
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_resumed_run_ends_with_the_same_bits(group: str, precision: str, tmp_path: Path) -> None:
    """Signs keep a mean as soon as it decays. Adafactor has a row and a column of a matrix, and a vector's squares."""
    spec = small(optimizer_d=group)
    whole, first = trainer(spec, precision=precision), trainer(spec, precision=precision)
    whole.train(steps=4)
    first.train(steps=2)
    resumed = gangraph.Trainer.resume(first.save(tmp_path / "half"), device="cpu")
    resumed.train(steps=2)
    theirs, own = tensors_of(resumed.engine), tensors_of(whole.engine)
    assert same(theirs, own)
    assert all(theirs[name].dtype == tensor.dtype for name, tensor in own.items())
