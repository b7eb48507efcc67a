"""What a gradient reaches: an objective is refused where none comes to what it trains, and only there."""

import pytest

from gangraph.errors import SpecError
from gangraph.pipeline import check_spec
from tests.support import read, trainer

SPEC = """
gangraph: 1
name: reach
data: {{x: normal(2), z: normal(2)}}
networks:
  G: {{inputs: z, parts: {{p: linear(2), q: linear(2)}}, output: q(p(z))}}
  N:
    inputs: x
    parts: {{body: "linear(4), tanh", head: linear(3), act: tanh}}
    values: {{h: body(x), c: "one_hot(argmax(h), 4) * 1.0"}}
    outputs: {{a: head(h), b: 2 * h, c: c, d: act(c)}}
  P: {{inputs: [x, y], parts: {{head: linear(2)}}, output: "head(x) * one_hot(argmax(y), 2)"}}
  A: {{inputs: x, parts: {{p: "linear(2), tanh", q: linear(1)}}, output: q(p(x))}}
  B: {{inputs: x, parts: {{p: "linear(2), tanh", q: linear(1)}}, outputs: {{o: q(p(x)), r: q(x)}}, share: A.p}}
  E: average(N, decay=0.5)
values: {{fake: G(z)}}
losses: {{n: "mean(N(x).a)", p: "mean(P(x, x))"}}
train:
  batch: 4
  length: 3 steps
  optimizers: {{n: "sgd(N, lr=0.1)", p: "sgd(P, lr=0.1)", own: "sgd({trained}, lr=0.1)"}}
  step:
    - {{update: n, minimize: n}}
    - {{update: p, minimize: p}}
    - {{update: own, minimize: "{loss}"{more}}}
"""
STEPS = ", unroll: {{steps: 2, update: p, minimize: 'mean(P({}) ** 2)'}}"


def written(trained: str, loss: str, more: str = "") -> str:
    return SPEC.format(trained=trained, loss=loss, more=more)


@pytest.mark.parametrize(
    ("trained", "loss", "more", "code"),
    [
        ("N", "mean(N(x).c)", "", "GG501"),  # an output behind what stops gradients
        ("N", "mean(N(x).d)", "", "GG501"),  # the only layer before it has no parameters
        ("G", "mean(N(fake).d)", "", "GG501"),  # which lets no gradient through to the input either
        ("G", "mean(P(x, fake))", "", "GG501"),  # an input
        ("G", "mean(P(x, x))", STEPS.format("x, fake"), "GG501"),  # the same in the steps ahead
        ("N.head", "mean(N(x).b) + mean(E(x).a)", "", "GG501"),  # an average is not trained
        ("A", "mean(B(x).r)", "", "GG501"),  # its tied part is in another output
        ("A.p", "mean(B(x).o)", "", "GG501"),  # nothing calls it, so it has no parameters
        ("G", "mean(fake) + mean(grad(mean(N(fake).c), fake) ** 2)", "", "GG503"),
        ("G", "mean(fake) + mean(grad(mean(P(x, fake)), fake) ** 2)", "", "GG503"),
        ("G", "mean(fake) + total(grad(mean(N(fake).d), parameters(N)) ** 2)", "", "GG503"),
    ],
)
def test_what_no_gradient_reaches_is_refused(trained: str, loss: str, more: str, code: str) -> None:
    with pytest.raises(SpecError) as error:
        check_spec(read(written(trained, loss, more)))
    assert [each.code for each in error.value.problems if each.severity == "error"] == [code]


@pytest.mark.parametrize(
    ("trained", "loss", "more"),
    [
        ("N", "mean(N(x).b)", ""),
        ("G", "mean(N(fake).a)", ""),
        ("G", "mean(P(fake, x))", ""),
        ("A.p", "mean(A(x) * B(x).o)", ""),
        ("G", "mean(P(x, x) ** 2)", STEPS.format("fake, x")),  # through the steps alone
        ("[G.p(lr=0.2), G]", "mean(P(x, x) ** 2)", STEPS.format("fake, x")),
        ("G", "mean(fake) + total(grad(mean(B(fake).o), parameters(A.p)) ** 2) + mean(A(x))", ""),  # called later
    ],
)
def test_what_a_gradient_reaches_is_trained(trained: str, loss: str, more: str) -> None:
    run = trainer(read(written(trained, loss, more)))
    network = run.networks[trained.strip("[").partition(".")[0].partition(",")[0]]
    before = [parameter.detach().clone() for parameter in network.parameters()]
    run.step()
    assert any(not (old == new).all() for old, new in zip(before, network.parameters(), strict=True))
