"""A new key of an update costs one file: a function and its record. Here a plug-in adds `scale_grad`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gangraph.cli.specs import schema
from gangraph.errors import RunError, SpecError
from gangraph.folder.plugins import plugins_of
from gangraph.language.continuation import changes
from gangraph.language.document.schema import UpdateDocument
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.registry import load_plugins
from gangraph.update_keys import KEYS
from gangraph.update_options import UPDATE_OPTIONS, UpdateOption, add_option, function_of, update_option
from gangraph.views.code import code_text
from gangraph.views.diff import compare_specs
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import check_json
from tests.plugin import for_every_test
from tests.support import DRAW_ONCE, copy_parameters, deviation, refused, resumes_to_the_bit, small, trainer

PLUGIN = '''
from gangraph import update_option


@update_option(
    "scale_grad",
    least=0,
    about="the gradient is multiplied by this",
    sentence="The gradient is multiplied by $value.",
    latex=r"\\text{the gradient is multiplied by } $value",
    caption="gradient times $value",
    compared="the factor of the gradient",
)
def scale_grad(parameters, factor):
    """Multiply every gradient by a number."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
'''
X = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
_plugin = for_every_test("scaling", "gangraph_scaling", PLUGIN)


def scaled(written: str = "0.5") -> Spec:
    """Two players; the critic's gradient is scaled, and the result limited."""
    return small(f'{{update: d, minimize: judge, scale_grad: "{written}", clip_grad_value: 0.05}}', DRAW_ONCE[1])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("-1", "error GG225: a number of at least 0 belongs here"),
        ("true", "error GG225: a number of at least 0 belongs here"),
        ("linear(1, -3)", "error GG225: a number of at least 0 belongs here"),
        ("judge", "error GG307: 'judge' is no number over time"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(written: str, said: str) -> None:
    column = 49 + written.find("-3") * ("-3" in written)
    assert f"spec:24:{column}: {said}" in refused(scaled(written))


@pytest.mark.parametrize("key", ["clip_grad_norm", "clip_grad_value"])
def test_a_negative_limit_which_trains_uphill_is_refused(key: str) -> None:
    assert "GG225: a number of at least 0" in refused(small(f"{{update: d, minimize: judge, {key}: -1}}", DRAW_ONCE[1]))


def test_a_number_over_time_is_compared_as_the_run_goes_on() -> None:
    run = trainer(scaled("1 - step"))
    run.train(steps=2)
    with pytest.raises(RunError, match="spec:24:49: scale_grad is -1 at step 2, below 0"):
        run.train(steps=1)


def test_one_that_fails_is_told_with_its_module_and_its_place(tmp_path: Path) -> None:
    def refuse(parameters: Sequence[nn.Parameter], number: float) -> None:
        raise SystemExit("no more")

    load_plugins()
    run = trainer(scaled())
    run.train(steps=1)
    with pytest.MonkeyPatch.context() as patch:
        refuse.__module__ = UPDATE_OPTIONS["scale_grad"].function.__module__
        patch.setitem(UPDATE_OPTIONS, "scale_grad", replace(UPDATE_OPTIONS["scale_grad"], function=refuse))
        with pytest.raises(RunError) as caught:
            run.train(steps=1)
    said = "at step 1, the option 'scale_grad' of the plug-in's module 'gangraph_scaling' fails: SystemExit: no more"
    assert str(caught.value) == f"spec:24:49: {said}"


def test_a_misspelt_key_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="unknown key 'scale_grd'") as caught:
        small("{update: d, minimize: judge, scale_grd: 2}")
    (problem,) = caught.value.problems
    assert problem.fix == "did you mean 'scale_grad'?"
    assert problem.expected.endswith("accumulate, clip_grad_norm, clip_grad_value, scale_grad")


def test_the_key_that_holds_the_options_cannot_be_written() -> None:
    with pytest.raises(SpecError, match="unknown key 'options'"):
        small("{update: d, minimize: judge, options: {scale_grad: 2}}")


def test_nor_can_its_name_inside() -> None:
    for value in ("{scale_grad: 2}", "3", "[1]"):
        with pytest.raises(SpecError, match="GG201: unknown key 'options of an update'"):
            small(f"{{update: d, minimize: judge, scale_grad: 2, options of an update: {value}}}")


def test_editors_learn_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    schema()
    keys = json.loads(capsys.readouterr().out)["$defs"]["UpdateDocument"]["properties"]
    assert keys["scale_grad"]["description"] == "the gradient is multiplied by this"
    assert "clip_grad_norm" in keys
    assert not any(" " in key for key in keys)


def step_by_hand(networks: Mapping[str, nn.Module], factor: float) -> None:
    """What a step of `scaled` does to its networks, on X and Z: the limit comes first, as in the table of options."""
    critic, generator = networks["D"], networks["G"]
    softplus = nn.functional.softplus
    cost = softplus(-critic(X)).mean() + softplus(critic(generator(Z).detach())).mean()
    descend(critic, [grad.clamp(-0.05, 0.05) * factor for grad in gradients(cost, critic)])
    descend(generator, gradients(softplus(-critic(generator(Z))).mean(), generator))


def gradients(cost: Tensor, network: nn.Module) -> Sequence[Tensor]:
    return torch.autograd.grad(cost, list(network.parameters()))


@torch.no_grad()
def descend(network: nn.Module, by: Sequence[Tensor]) -> None:
    """One step of gradient descent at rate 0.1."""
    for parameter, gradient in zip(network.parameters(), by, strict=True):
        parameter -= 0.1 * gradient


def test_it_runs_as_by_hand() -> None:
    run, start = trainer(scaled("linear(0.5, 0, end=10 steps)")), trainer(scaled())
    hand = {name: start.networks[name] for name in ("D", "G")}
    for name, network in hand.items():
        copy_parameters(run.networks[name], network)
    for factor in (0.5, 0.45, 0.4):
        run.step({"x": X, "z": Z})
        step_by_hand(hand, factor)
    for name, network in hand.items():
        for mine, theirs in zip(run.networks[name].parameters(), network.parameters(), strict=True):
            assert deviation(mine.detach(), theirs.detach()) < 1e-12


def test_the_printed_code_runs_alike() -> None:
    mine, theirs = trainer(scaled()), trainer(scaled())
    engine = mine.engine
    text = code_text(engine.program)
    assert "from gangraph_scaling import scale_grad" in text
    assert 'scale_grad(parameters_of("d"), 0.5)' in text
    given = {
        "draw": {"x": X, "z": Z}.get,
        "optimizers": engine.optimizers,
        "parameters_of": engine.parameters.get,
        **engine.networks.callable,
    }
    exec(text, given)
    theirs.step({"x": X, "z": Z})
    for name, network in theirs.networks.items():
        for one, other in zip(mine.networks[name].parameters(), network.parameters(), strict=True):
            assert torch.equal(one, other)


def test_every_view_tells_it() -> None:
    spec = scaled()
    (checked,) = check_spec(spec)
    program = compile_phase(checked)
    assert "    scale_grad: 0.5" in spec_text(spec)
    assert "before its step  each gradient within ±0.05" in plan_text(program)
    assert "                   gradient times 0.5" in plan_text(program)
    assert "The gradient is multiplied by 0.5." in " ".join(explain_text(spec, [program.plan]).split())
    assert r"\text{the gradient is multiplied by } 0.5" in latex_text([checked])
    assert "gradient times 0.5" in draw(checked.graph)
    first, second = check_json(spec, [checked])["updates"]
    assert first["options"] == {"clip_grad_value": "0.05", "scale_grad": "0.5"}
    assert second["options"] == {}


def test_it_is_part_of_what_differs() -> None:
    plain = small("{update: d, minimize: judge, clip_grad_value: 0.05}", DRAW_ONCE[1])
    half, quarter = scaled(), scaled("0.25")
    assert len({fingerprint(each) for each in (plain, half, quarter)}) == 3
    (found,) = compare_specs(half, quarter).differences
    assert (found.what, found.before, found.after) == ("the factor of the gradient in update d", "0.5", "0.25")
    (change,) = changes(half, quarter, 0)
    assert str(change) == "train.step.0.scale_grad: 0.5 -> 0.25"


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    assert resumes_to_the_bit(scaled(), tmp_path)


def test_a_run_remembers_which_plug_in_it_came_from() -> None:
    assert plugins_of(scaled()) == {"scaling": "gangraph-scaling 0.1.0"}


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'clip_grad_norm' of updates is already registered"):
        add_option(UPDATE_OPTIONS["clip_grad_norm"])


TEXTS = {**dict.fromkeys(("sentence", "latex", "caption"), "by $value"), "about": "halved", "compared": "the half"}


def halve(parameters: Sequence[nn.Parameter], number: float) -> None:
    """Not what another function of this name does."""


def namesake() -> Callable[[Sequence[nn.Parameter], float], None]:
    """Another function that calls itself `halve`, in this module."""

    def other(parameters: Sequence[nn.Parameter], number: float) -> None: ...

    other.__name__ = other.__qualname__ = "halve"
    return other


def scale_grad(parameters: Sequence[nn.Parameter], number: float) -> None:
    """Not the plug-in's."""


def test_printed_code_keeps_functions_of_one_name_apart() -> None:
    load_plugins()
    update_option("half", **TEXTS)(scale_grad)
    spec = small("{update: d, minimize: judge, scale_grad: 2, half: 3}", DRAW_ONCE[1])
    text = code_text(compile_phase(check_spec(spec)[0]))
    assert "from gangraph_scaling import scale_grad\n" in text
    assert f"from {__name__} import scale_grad as scale_grad_of\n" in text
    assert 'scale_grad(parameters_of("d"), 2)' in text
    assert 'scale_grad_of(parameters_of("d"), 3)' in text


def test_braces_in_what_is_compared_are_text() -> None:
    update_option("half", **{**TEXTS, "compared": r"the factor a_{x}"})(halve)
    one, other = (small(f"{{update: d, minimize: judge, half: {number}}}", DRAW_ONCE[1]) for number in (1, 2))
    (found,) = compare_specs(one, other).differences
    assert found.what == "the factor a_{x} in update d"


class Holder:
    @staticmethod
    def method(parameters: Sequence[nn.Parameter], number: float) -> None: ...


def test_the_record_holds_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    first = halve
    update_option("half", **TEXTS)(first)
    monkeypatch.setitem(globals(), "halve", namesake())
    assert function_of(UPDATE_OPTIONS["half"]) is first


def test_a_function_that_no_import_finds_is_refused() -> None:
    def local(parameters: Sequence[nn.Parameter], number: float) -> None: ...

    for function in (local, lambda parameters, number: None, partial(halve, number=1.0), Holder.method):
        with pytest.raises(TypeError, match=r"the option 'wrong' of updates cannot be .* it has no name in its module"):
            update_option("wrong", **TEXTS)(function)
    update_option("half", **TEXTS)(halve)
    with pytest.raises(TypeError, match="the option 'wrong' of updates cannot be 'halve': another option's function"):
        update_option("wrong", **TEXTS)(namesake())
    assert "wrong" not in UPDATE_OPTIONS


@pytest.mark.parametrize("name", [*sorted(KEYS), "no name", "1st", ""])
def test_a_name_that_updates_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"an option of updates cannot be called '{name}'"):
        add_option(UpdateOption(name=name, function=halve, **TEXTS))


def test_the_names_that_are_taken_are_those_of_the_document() -> None:
    assert set(UpdateDocument.model_fields) == KEYS


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *((key, text) for key in ("sentence", "latex", "caption") for text in ("$valu", "costs 3$", "${}", 3)),
        *((key, text) for key in ("about", "compared") for text in ("by $value", "by ${value}", 3)),
    ],
)
def test_a_text_that_cannot_be_printed_is_refused_at_once(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' of the option 'half' of updates is {re.escape(repr(text))}"):
        update_option("half", **{**TEXTS, key: text})(halve)
    assert "half" not in UPDATE_OPTIONS
