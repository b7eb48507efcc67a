"""A kind of node costs one file: a plug-in adds one, and every stage and every view knows it."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gangraph import Trainer
from gangraph.check.phase import Checked
from gangraph.cli import main
from gangraph.errors import SpecError
from gangraph.graph.arguments import Ref
from gangraph.graph.kinds import NodeKind, kinds
from gangraph.language.expression.model import Expression, Literal, Name, unparse
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.registry import load_plugins
from gangraph.views.code import code_text
from gangraph.views.decompile import over_values
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.printers.text import formula
from gangraph.views.text import shapes_text
from tests.plugin import fail, installed
from tests.support import DEFAULTS, SMALL, deviation, read, same, small, snapshot, trainer, worst

TOLERANCE = 1e-12

# The whole of it: what the value and its type are, how it is written as code, and how a spec spells it.
PLUGIN = '''
"""A value through which the gradient passes with the opposite sign (Ganin and Lempitsky 2015)."""

from torch import Tensor

from gangraph.graph.kinds import Form, NodeKind, Ref, kinds


def reversed_gradient(value: Tensor) -> Tensor:
    """x, and minus the gradient that comes to it."""
    return 2 * value.detach() - value


kinds.add(
    NodeKind(
        name="reversed_gradient",
        arguments=(Ref,),
        same=True,
        like=0,
        infer=lambda inference, node: inference.types[node.inputs[0]],
        write=lambda writer, node: writer.function(node, reversed_gradient),
        form=Form("reversed_gradient(value)", hint="reversed"),
    )
)
'''
STEP = "{update: {d: {minimize: judge}, g: {minimize: judge}}}"
VALUES = "  flow: reversed_gradient(fake)"
JUDGE = "logistic.critic(real=D(x), fake=D(flow))"


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> Iterator[None]:
    """The plug-in as if it were installed. Afterwards its kind is gone."""
    with installed("reversal", "reversal", PLUGIN, tmp_path):
        assert "reversal" in load_plugins()
        yield


def text(**parts: str) -> str:
    """A GAN of one loss: the generator makes it larger since its gradient is reversed on the way."""
    own = {"more_values": VALUES, "judge": JUDGE, "fool": "mean(D(flow))", "step": f"  step: [{STEP}]"}
    return SMALL.format(**{**DEFAULTS, **own, **parts})


def spec(**parts: str) -> Spec:
    return read(text(**parts))


def test_it_has_the_type_of_its_value() -> None:
    checked = check_phase(spec(), spec().phases[0])
    assert checked.types.nodes["flow"] == checked.types.nodes["fake"]
    assert "flow   [4, 2]" in shapes_text(checked)


@pytest.mark.parametrize(
    ("call", "code"),
    [("reversed_gradient(1.5)", "GG313"), ("reversed_gradient(fake, x)", "GG312"), ("reversd_gradient(fake)", "GG310")],
)
def test_misuse_is_told(call: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        made = spec(more_values=f"  flow: {call}")
        check_phase(made, made.phases[0])
    (problem,) = (each for each in caught.value.problems if each.severity == "error")
    assert problem.code == code
    assert "reversed_gradient" in str(problem)


@pytest.mark.parametrize(
    ("asked", "when", "show"),
    [
        ("build", "a call of it is built", shapes_text),
        ("infer", "the type of a value is inferred", shapes_text),
        ("stops", "gradients are followed", shapes_text),
        ("write", "code is written for it", compile_phase),
        ("spelled", "it is printed", lambda checked: latex_text([checked])),
    ],
)
def test_one_that_fails_is_told_with_its_module_and_its_place(
    asked: str, when: str, show: Callable[[Checked], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kinds["reversed_gradient"]
    assert kind.form is not None
    broken = {"form": replace(kind.form, build=fail)} if asked == "build" else {asked: fail}
    monkeypatch.setitem(kinds._records, kind.name, replace(kind, **broken))
    made = spec()
    with pytest.raises(SpecError) as caught:
        show(check_phase(made, made.phases[0]))
    (problem,) = caught.value.problems
    assert (problem.code, problem.reason) == ("GG441", "RuntimeError: not today")
    assert problem.message == f"the kind of node '{kind.name}' of the plug-in's module 'tests.plugin' fails as {when}"
    assert problem.span.text.content[problem.span.start : problem.span.end] == "reversed_gradient(fake)"


@pytest.mark.parametrize(
    ("asked", "said"),
    [("infer", "it gives (4, 2), expected a TensorType"), ("write", "it writes no code for this node")],
)
def test_one_that_answers_wrongly_is_told(asked: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, made = kinds["reversed_gradient"], spec()
    monkeypatch.setitem(kinds._records, kind.name, replace(kind, **{asked: lambda _, __: (4, 2)}))
    with pytest.raises(SpecError) as caught:
        compile_phase(check_phase(made, made.phases[0]))
    assert said in caught.value.problems[0].reason


def test_a_fault_of_gangraph_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*_: object) -> None:
        raise RuntimeError("a mistake")

    own.__module__ = kinds["at_first"].infer.__module__
    monkeypatch.setitem(kinds._records, "at_first", replace(kinds["at_first"], infer=own))
    made = spec(more_values=VALUES + "\n  past: at_first(flow)")
    with pytest.raises(RuntimeError, match="a mistake"):
        check_phase(made, made.phases[0])


def test_it_is_planned_and_written_as_code() -> None:
    program = compile_phase(check_phase(spec(), spec().phases[0]))
    assert "flow = reversed_gradient(fake)" in code_text(program)
    assert "flow" in plan_text(program)


def by_hand(run: Trainer, batches: list[tuple[Tensor, Tensor]]) -> dict[str, nn.Module]:
    """The networks after a step of gradient descent on each batch: the critic downwards, the generator upwards."""
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    for x, z in batches:
        loss = (softplus(-d(x)) + softplus(d(g(z)))).mean()
        down = torch.autograd.grad(loss, list(d.parameters()), retain_graph=True)
        up = torch.autograd.grad(loss, list(g.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(d.parameters(), down, strict=True):
                weight -= 0.1 * gradient
            for weight, gradient in zip(g.parameters(), up, strict=True):
                weight += 0.1 * gradient
    return {"G": g, "D": d}


@pytest.mark.parametrize("share", [True, False])
def test_it_trains_as_the_loop_by_hand(share: bool) -> None:
    run = trainer(spec(), share=share)
    generator = torch.Generator().manual_seed(1)
    draws = [torch.randn(4, 2, generator=generator, dtype=torch.float64) for _ in range(10)]
    batches = list(zip(draws[::2], draws[1::2], strict=True))
    expected = by_hand(run, batches)
    for x, z in batches:
        run.step({"x": x, "z": z})
    found = (
        deviation(mine.detach(), theirs.detach())
        for name, network in expected.items()
        for mine, theirs in zip(run.networks[name].parameters(), network.parameters(), strict=True)
    )
    assert worst(found) < TOLERANCE


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, first = trainer(spec()), trainer(spec())
    whole.train(steps=4)
    first.train(steps=2)
    first.save(tmp_path / "run")
    second = Trainer.resume(tmp_path / "run", device="cpu")
    second.train(steps=2)
    assert same(snapshot(whole.networks), snapshot(second.networks))


def test_a_spec_with_it_is_another_one() -> None:
    plain = spec(more_values="  flow: 1 * fake")
    assert fingerprint(plain) != fingerprint(spec())
    assert any("reversed_gradient(fake)" in str(each) for each in differences(plain, spec()))
    assert differences(spec(), spec()) == ()


def test_it_is_explained_and_drawn() -> None:
    checked = check_phase(spec(), spec().phases[0])
    assert "reversed_gradient(fake)" in explain_text(spec(), [compile_phase(checked).plan])
    assert "reversed_gradient" in draw(checked.graph)


def test_it_is_printed_as_latex() -> None:
    checked = check_phase(spec(), spec().phases[0])
    assert r"\mathrm{reversed\ gradient}" in latex_text([checked])


def test_it_is_spelled_as_it_was_written() -> None:
    """Every node of a step turns back into the expression that a spec would write."""
    made = spec(more_values=VALUES + "\n  past: history(at_first(-flow), 5)\n  slope: grad(D(x) * 2, x)\n")
    nodes = check_phase(made, made.phases[0]).graph.nodes

    def spelled(argument: object) -> Expression:
        if not isinstance(argument, Ref):
            assert isinstance(argument, int | float | str | None)
            return Literal(argument, made.phases[0].span)
        node = nodes[argument.id]
        return Name(node.id, node.span) if node.is_source else kinds[node.kind].spelled(node, spelled)

    found = {name: unparse(spelled(Ref(name))) for name in ("flow", "past", "slope", "judge")}
    assert found == {
        "flow": "reversed_gradient(G(z))",
        "past": "history(at_first(-reversed_gradient(G(z))), 5)",
        "slope": "grad(D(x) * 2, x)",
        "judge": "logistic.critic(real=D(x), fake=D(reversed_gradient(G(z))))",
    }


def test_the_command_line_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "reversal.yaml"
    path.write_text(text())
    assert main(["check", str(path)]) == 0
    assert "no errors" in capsys.readouterr().out


@pytest.mark.parametrize(("known", "other"), [("detach", "arrest"), ("at_first", "original"), ("history", "archive")])
def test_a_kind_with_the_record_of_another_is_treated_as_that_everywhere(
    known: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage and no view asks for the name: of two kinds that differ in it alone, all that is said is the same."""
    form = kinds[known].form
    assert form is not None
    usage = form.usage.replace(known, other)
    made = replace(kinds[known], name=other, form=replace(form, usage=usage, hint=form.hint or known))
    monkeypatch.setitem(kinds._records, other, made)
    one, two = (told_of(name) for name in (known, other))
    assert {what: re.sub(rf"\b{other}\b", known, text) for what, text in two.items()} == one
    assert "GG602" in one["lints"] and "GG604" in one["lints"]


def told_of(kind: str) -> dict[str, str]:
    """All that is said of a spec in which values of a kind are trained on, drawn, shown and linted."""

    def form(value: str) -> str:
        return f"{kind}({value}, 5)" if kind in ("history", "archive") else f"{kind}({value})"

    values = {"past": "fake", "twice": "past * 2", "plain": "x", "odds": "sigmoid(D(x))"}
    written = small(
        more_values="\n".join(f"  {name}: {form(value)}" for name, value in values.items()),
        judge=f'"mean({form("D(x)")}) - mean(D(past)) + mean({form("twice")}) + mean(plain)"',
        fool='"logistic.critic(real=odds, fake=D(fake)) + mean(past ** 2)"',
        evaluate="evaluate:\n  samples: 8\n  metrics: {distance: mean(past)}\n",
    )
    (phase,) = written.phases
    checked = check_phase(written, phase)
    program = compile_phase(checked)
    return {
        "lints": "\n".join(map(str, checked.lints)),
        "shapes": shapes_text(checked),
        "plan": plan_text(program),
        "code": code_text(program),
        "story": explain_text(written, [program.plan]),
        "latex": latex_text([checked]),
        "drawing": draw(checked.graph),
        "formula": formula(over_values(checked.graph).definition(checked.graph.losses["judge"])),
    }


@pytest.mark.parametrize("like", [0, None])
def test_its_samples_are_known_with_or_without_saying_whose_shape_it_has(
    like: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kinds._records, "reversed_gradient", replace(kinds["reversed_gradient"], like=like))
    checked = check_phase(spec(), spec().phases[0])
    called = {node.id for node in checked.graph.nodes.values() if node.is_call and "flow" in node.inputs}
    assert called
    assert checked.types.batched >= {"fake", "flow", *called}


def test_what_is_computed_over_all_samples_is_an_op_or_the_same() -> None:
    with pytest.raises(ValueError, match="'doubled' is computed over all samples: it has to be the same as"):
        kinds.add(NodeKind(name="doubled", whole=True, infer=lambda _, __: None, write=lambda _, __: None))
    assert "doubled" not in kinds


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="there is already a kind of node called 'reversed_gradient'"):
        kinds.add(NodeKind(name="reversed_gradient", infer=lambda _, __: None, write=lambda _, __: None))
