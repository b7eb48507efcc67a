"""Networks with named outputs beside their main one: `D(x)` and `D(x).features`."""

import pytest
import torch

import gangraph
from gangraph.errors import SpecError
from gangraph.evaluate.evaluation import BoundEvaluation
from gangraph.language.spec import Spec
from gangraph.views.code import code_text
from tests.support import read, trainer

SPEC = """
gangraph: 1
name: outputs
data: {{x: normal(3), z: normal(2)}}
networks:
  G: mlp(widths=[4], outputs=3)
  D:
    inputs: x
    parts: {{body: "linear(5), tanh", score: linear(1), {part}}}
    values: {{h: body(x)}}
    output: score(h)
    outputs: {{features: 2 * h, {output}}}
values: {{fake: G(z)}}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: {fool}
train:
  batch: 4
  length: 3 steps
  optimizers: {{g: "adam(G, lr=0.01)", d: "adam(D, lr=0.01)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
evaluate: {{metrics: {{size: "{size}", same: "mean_absolute_error(D(fake), D(fake).output)"}}}}
"""
DEFAULTS = {"part": "", "output": "", "fool": "logistic.generator(D(fake))", "size": "mean(abs(D(fake).features))"}


def spec(**parts: str) -> Spec:
    return read(SPEC.format(**{**DEFAULTS, **parts}))


def test_training_computes_no_output_that_only_the_evaluation_reads() -> None:
    made = trainer(spec())
    program = made.engine.program
    assert made.checked[0].graph.networks["D"].outputs.keys() == {""}
    assert "features" not in code_text(program)
    assert program.plan.checked.evaluated.keys() == {"D"}
    assert program.evaluation is not None
    assert all(form.body is None for form in program.forms.values())
    evaluated = {
        name: form.plain.name for name, form in program.evaluation.code.networks.items() if form.body is not None
    }
    assert evaluated == {"D_frozen_evaluated": "D_frozen"}


def test_the_evaluation_reads_them_from_the_same_parameters() -> None:
    made = trainer(spec())
    made.train()
    look = made.evaluate()
    assert look is not None
    fakes = BoundEvaluation(made.engine, made.engine.program.evaluation, {})
    z = fakes.draws(8).draw("z", 0)["value"]
    fake = made.networks["G"](z)
    hidden = torch.tanh(made.networks["D"].get_submodule("body.linear")(fake))
    assert look.metrics["size"] == pytest.approx(float((2 * hidden.detach()).abs().mean()), rel=1e-12)
    assert look.metrics["same"] == 0


def test_a_named_output_is_trained_through() -> None:
    made = trainer(spec(fool="l2(D(fake).features, D(x).features)"))
    assert "features" in made.checked[0].graph.networks["D"].outputs
    before = made.networks["G"].get_submodule("layers.linear").weight.clone()
    losses = made.step()
    assert losses["fool"] > 0
    assert not torch.equal(before, made.networks["G"].get_submodule("layers.linear").weight)


def test_an_unread_output_with_layers_of_its_own_keeps_them() -> None:
    made = trainer(spec(part="head: linear(7)", output="more: head(h)"))
    assert "head.linear.weight" in dict(made.networks["D"].named_parameters())


def test_a_part_that_is_not_there_is_told() -> None:
    with pytest.raises(SpecError, match=r"this has no part 'feature'[\s\S]*did you mean 'features'\?"):
        gangraph.check_spec(spec(size="mean(D(fake).feature)"))


def test_an_average_has_the_same_parts() -> None:
    made = trainer(
        spec(
            output="other: h}\n  A: average(D, decay=0.5)\n  unused: {inputs: x, layers: linear(1)",
            size="mean(abs(A(fake).features))",
        )
    )
    look = made.evaluate()
    assert look is not None
    assert look.metrics["size"] > 0


def test_the_main_output_is_one_value_however_it_is_written() -> None:
    graph = gangraph.check_spec(spec())[0].graph.evaluation
    assert graph is not None
    assert sum(node.kind == "output" and node.field == "output" for node in graph.graph.nodes.values()) == 1


def test_a_family_of_outputs_is_read_by_its_index() -> None:
    network = (
        "{inputs: x, parts: {'body[k in 1..2]': 'linear(4), tanh', score: linear(1)}, "
        "values: {'h[1]': 'body[1](x)', 'h[2]': 'body[2](h[1])'}, output: 'score(h[2])', "
        "outputs: {'f[k in 1..2]': 'h[k]'}}"
    )
    text = f"""gangraph: 1
name: family
data: {{x: plane(), z: normal(2)}}
networks:
  G: mlp(widths=[4], outputs=2)
  D: {network}
losses:
  judge: logistic.critic(real=D(x), fake=D(G(z)))
  fool: l1(D(G(z)).f[1], D(x).f[1])
train:
  batch: 4
  length: 2 steps
  optimizers: {{g: "adam(G, lr=1e-3)", d: "adam(D, lr=1e-3)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
"""
    made = trainer(read(text))
    assert made.step()["fool"] > 0


def test_a_network_may_give_back_its_input() -> None:
    """Mutant 6806: a graph without an edge is one too."""
    text = SPEC.format(**DEFAULTS).replace("G: mlp(widths=[4], outputs=3)", "G: {inputs: z, output: z}")
    with pytest.raises(SpecError) as raised:
        trainer(read(text.replace("z: normal(2)", "z: normal(3)")))
    assert {problem.code for problem in raised.value.problems if problem.severity == "error"} == {"GG501"}
