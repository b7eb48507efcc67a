"""`parameters(G)`: all parameters of a network as one vector that is a value like any other."""

import pytest
import torch
from torch import Tensor

import gangraph
from gangraph.language.fingerprint import fingerprint
from gangraph.pipeline import check_spec
from gangraph.run.finite import NotFiniteError
from gangraph.session.run import measure_now
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import step_picture
from gangraph.views.latex import latex_text
from tests.support import small, trainer

MEAN = "  G_mean: average(G, decay=step / (step + 1))"
HISTORY = "total((parameters(G) - parameters(G_mean)) ** 2)"


def _vector(engine: gangraph.Trainer, name: str = "G") -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in engine.networks[name].parameters()])


def test_the_loss_of_the_squared_parameters_is_weight_decay() -> None:
    engine = trainer(small("{update: g, minimize: fool}", fool="0.5 * total(parameters(G) ** 2)"))
    before = _vector(engine)
    assert engine.step()["fool"] == pytest.approx(float(0.5 * before @ before))
    assert torch.allclose(_vector(engine), 0.9 * before, rtol=1e-12)


def test_parameters_of_another_group_are_a_constant() -> None:
    step = "{update: d, minimize: judge}"
    plain = trainer(small(step))
    pulled = trainer(small(step, judge="logistic.critic(real=D(x), fake=D(fake)) + total(parameters(G) ** 2)"))
    before = _vector(pulled)
    difference = pulled.step()["judge"] - plain.step()["judge"]
    assert difference == pytest.approx(float(before @ before))
    assert torch.equal(_vector(pulled), before)
    assert torch.equal(_vector(pulled, "D"), _vector(plain, "D"))


def test_a_uniform_average_is_the_mean_of_the_past_parameters_from_the_first_step_on() -> None:
    fool = f"logistic.generator(D(fake)) + far\n  far: {HISTORY}"
    engine = trainer(small(more_networks=MEAN, fool=fool))
    past: list[Tensor] = []
    for _ in range(6):
        apart = _vector(engine) - torch.stack(past).mean(0) if past else torch.zeros(1, dtype=torch.float64)
        assert engine.step()["far"] == pytest.approx(float(apart @ apart), rel=1e-9)
        past.append(_vector(engine))
        assert torch.allclose(_vector(engine, "G_mean"), torch.stack(past).mean(0), rtol=1e-12, atol=1e-15)
    assert float(apart @ apart) > 0


@pytest.mark.parametrize(("value", "warned"), [("parameters(G)", False), ("z", True)])
def test_held_parameters_are_held_for_something(value: str, warned: bool) -> None:
    steps = ("{update: g, minimize: fool}", "{update: d, minimize: judge}")
    (checked,) = check_spec(small(*steps, fool=f"logistic.generator(D(fake)) + mean(at_first({value}))"))
    assert ("GG612" in {lint.code for lint in checked.lints}) is warned


@pytest.mark.parametrize(("share", "merge"), [(True, True), (False, False)])
def test_an_update_after_that_of_the_network_sees_its_new_parameters(share: bool, merge: bool) -> None:
    judge = "logistic.critic(real=D(x), fake=D(fake)) + decay\n  decay: total(parameters(G) ** 2)"
    steps = ("{update: g, minimize: fool}", "{update: d, minimize: judge}")
    spec = small(*steps, judge=judge, fool="logistic.generator(D(fake)) + decay")
    engine = trainer(spec, share=share, merge=merge)
    for _ in range(3):
        losses = engine.step()
        after = _vector(engine)
        assert losses["decay"] == pytest.approx(float(after @ after))


def test_repeated_updates_take_the_parameters_anew() -> None:
    step = "{update: g, minimize: fool, times: 3}"
    engine = trainer(small(step, fool="0.5 * total(parameters(G) ** 2)"))
    before = _vector(engine)
    engine.step()
    assert torch.allclose(_vector(engine), 0.9**3 * before, rtol=1e-12)


def test_results_read_parameters_once_however_many_batches_there_are() -> None:
    evaluate = (
        f"evaluate:\n  samples: 4\n  result_samples: 20\n  results:\n    far: {HISTORY}\n    score: mean(D(fake))"
    )
    engine = trainer(small(more_networks=MEAN, evaluate=evaluate))
    for _ in range(3):
        engine.step()
    apart = _vector(engine) - _vector(engine, "G_mean")
    found = measure_now(engine)
    assert found["far"].value == pytest.approx(float(apart @ apart), rel=1e-5)
    assert found["far"].protocol["averages"] == ["G_mean"]


def test_an_evaluation_may_look_at_a_network_that_it_does_not_call() -> None:
    evaluate = "evaluate:\n  samples: 4\n  metrics: {length: total(parameters(G_mean) ** 2)}\n  grid: [x]"
    engine = trainer(small(more_networks=MEAN, evaluate=evaluate))
    engine.step()
    look = engine.evaluate()
    mean = _vector(engine, "G_mean")
    assert look is not None
    assert look.metrics["length"] == pytest.approx(float(mean @ mean), rel=1e-6)


@pytest.mark.parametrize(
    ("more", "fool", "named"),
    [
        ("", "total(parameters(G) ** 2)", "parameters(G)"),
        ("", "total(abs(parameters(G) - parameters(G_mean)))", "parameters(G)"),
        ("  theta: parameters(G)", "total(theta ** 2)", "theta"),
        ("", "total(parameters(G) ** 2) + mean(fake)", "G.layers.linear_2.weight"),
    ],
)
def test_what_is_not_finite_is_named_as_the_spec_writes_it(more: str, fool: str, named: str) -> None:
    engine = trainer(small("{update: g, minimize: fool}", more_networks=MEAN, more_values=more, fool=fool))
    with torch.no_grad():
        engine.networks["G"].get_parameter("layers.linear_2.weight")[0, 0] = float("nan")
    with pytest.raises(NotFiniteError) as caught:
        engine.step()
    assert caught.value.value == named


def test_readings_say_parameters() -> None:
    spec = small(more_networks=MEAN, fool=f"logistic.generator(D(fake)) + {HISTORY}")
    engine = trainer(spec)
    program = engine.engine.program
    code = code_text(program)
    assert "G_parameters() gives all parameters of G as one vector." in code
    assert " = G_mean_parameters()" in code
    latex = latex_text(engine.checked)
    assert r"\theta_{G}" in latex
    assert r"\text{: moving average of } G" in latex


def test_the_printed_code_does_what_the_engine_does() -> None:
    mean, fool = "  G_mean: average(G, decay=0.5)", f"logistic.generator(D(fake)) + {HISTORY}"
    mine, theirs = (trainer(small(more_networks=mean, fool=fool)) for _ in range(2))
    engine = mine.engine
    for _ in range(2):
        engine.draws.begin({})
        given = {
            "draw": lambda source: next(iter(engine.draws.draw(source, engine.step_count).values())),
            "optimizers": engine.optimizers,
            "parameters_of": engine.parameters.get,
            **engine.networks.callable,
        }
        exec(code_text(engine.program), given)
        engine.step_count += 1
        theirs.step()
    assert torch.allclose(_vector(mine), _vector(theirs), rtol=1e-12)
    assert torch.allclose(_vector(mine, "G_mean"), _vector(theirs, "G_mean"), rtol=1e-12)
    assert not torch.allclose(_vector(mine, "G_mean"), _vector(mine))


def test_a_difference_of_specs_and_a_drawing_tell_whose_parameters_they_are() -> None:
    first, second = (small(fool=f"logistic.generator(D(fake)) + 0.1 * total(parameters({name}) ** 2)") for name in "GD")
    found = [str(each) for each in differences(first, second)]
    assert found == [
        "a term of fool was 0.1 * total(parameters(G) ** 2), and is now 0.1 * total(parameters(D) ** 2)",
    ]
    assert differences(first, first) == ()
    drawn = step_picture(gangraph.check_spec(first)[0].graph, {}).figures.values()
    assert [figure.tip.partition("\n")[2] for figure in drawn if figure.head == "parameters(G)"] == ["parameters(G)"]


def test_a_fingerprint_tells_whose_parameters_they_are() -> None:
    first, second, third = (
        small(fool=f"logistic.generator(D(fake)) + total(parameters({name}) ** 2)") for name in ("G", "D", "G")
    )
    assert fingerprint(first) == fingerprint(third) != fingerprint(second)
